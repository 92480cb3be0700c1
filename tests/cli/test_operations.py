"""The commands that look after a cluster, on replicas that do as they are told."""

import fcntl
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import oarlock.cli.backup as backup_command
from oarlock.cli import remote
from oarlock.cli.command import run
from oarlock.core.change import Change
from oarlock.errors import ChangeRefused, OutcomeUnknown, Overloaded
from oarlock.storage.identity import decode_identity
from oarlock.types import Configuration, Index, Joining, Member, ReplicaId, Term
from tests.cli.conftest import oarlock as another_oarlock
from tests.cli.operated import Operated, snapshot_file

ONE, TWO, THREE, FOUR = (ReplicaId(n) for n in (1, 2, 3, 4))
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cluster() -> Iterator[Operated]:
    cluster = Operated()
    yield cluster
    cluster.close()


@pytest.fixture
def oarlock(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; exit status, output, complaints."""

    def command(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def refused(outcome: tuple[int, str, str], status: int, saying: str) -> None:
    code, out, err = outcome
    assert code == status, (out, err)
    assert saying in err and err.startswith("oarlock") and err.count("\n") == 1, err
    assert not out


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_shows_each_replica_by_its_own_word(cluster: Operated, oarlock: Command) -> None:
    cluster.nodes[3].become(applied_index=Index(7), term=Term(6), snapshot_index=Index(0))
    cluster.stop(1)
    status, out, _ = oarlock("status", "--at", cluster.at(3))
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "Cluster oarlock (fake): replica 2 leads in term 7."
    assert lines[1].split() == (
        ["id", "role", "term", "applied", "lag", "last", "contact", "disk", "beat", "snapshot", "address"]
    )
    assert lines[2].split() == ["1", "unreachable", "-", "-", "3", "0.2", "s", "-", "1.5", "ms", "-", "127.0.0.1:7401"]
    assert lines[3].split()[:5] == ["2", "leader", "7", "11", "1"]
    assert lines[4].split() == [
        "3", "follower", "6", "7", "5", "0.2", "s", "2.0", "ms", "1.5", "ms", "-", "127.0.0.1:7403"
    ]  # fmt: skip
    assert lines[5].startswith(f"Replica 1 could not be asked: nobody listens at {cluster.at(1)}")


def test_status_without_a_leader_fails(cluster: Operated, oarlock: Command) -> None:
    cluster.without_leader()
    status, out, _ = oarlock("status", "--at", cluster.at(1))
    assert status == 1 and "no leader is known in term 7" in out
    status, out, _ = oarlock("status", "--at", cluster.at(1), "--json")
    assert status == 1 and json.loads(out)["leader_id"] == 0


def test_status_does_not_take_one_replica_for_another(cluster: Operated, oarlock: Command) -> None:
    """Who listens on the loopback interface tells the others an address that means themselves."""
    cluster.ports[1] = cluster.ports[3]
    cluster.introduce()
    status, out, _ = oarlock("status", "--at", cluster.at(2), "--json")
    first = json.loads(out)["members"][0]
    assert (status, first["role"], first["status"]) == (0, "unreachable", None)
    assert "replica 3 answers at" in first["error"]


def test_members_lists_what_they_are(cluster: Operated, oarlock: Command) -> None:
    old = cluster.configuration
    cluster.configuration = type(old)(
        (*old.members, Member(FOUR, "10.0.0.4:7401", 104)),
        (ONE, TWO),
        (ONE, TWO, THREE),
        (FOUR,),
        (Joining(FOUR, THREE),),
        (ReplicaId(9),),
    )
    status, out, _ = oarlock("members", "--at", cluster.at(1))
    rows = [line.split() for line in out.splitlines()]
    assert status == 0
    assert [row[:2] for row in rows[2:6]] == [["1", "voter"], ["2", "voter"], ["3", "leaving"], ["4", "joining,"]]
    assert rows[6] == ["Left", "for", "good:", "9"]
    _, out, _ = oarlock("members", "--at", cluster.at(1), "--json")
    assert json.loads(out)["joining"] == [{"id": 4, "replaces": 3}]


# ── who answers ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_there_is_said_so(cluster: Operated, oarlock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.stop(1)
    refused(oarlock("status", "--at", cluster.at(1)), 1, "nobody listens at")
    monkeypatch.setenv("OARLOCK_AT", cluster.at(1))
    refused(oarlock("members"), 1, cluster.at(1))
    refused(oarlock("members", "--at", "here"), 2, "has no port")


@pytest.mark.parametrize(
    ("answer", "saying"),
    [
        (b"+PONG\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", "is no Oarlock"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "is no Oarlock, or another version"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "broke off"),
        (b"", "without an answer"),
    ],
)
def test_somebody_else_is_said_so(oarlock: Command, answer: bytes, saying: str) -> None:
    with stranger(answer) as address:
        refused(oarlock("members", "--at", address), 1, saying)


def test_one_that_does_not_answer_is_not_waited_for(oarlock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.ask, "__kwdefaults__", {"timeout_s": 0.05})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(oarlock("members", "--at", f"127.0.0.1:{silent.getsockname()[1]}"), 1, "within 0.05 s")


def test_a_request_whose_answer_is_lost_may_have_been_done(oarlock: Command) -> None:
    with stranger(b"") as address:
        refused(oarlock("remove", "--id", "3", "--at", address), 1, "it may have been done")


class stranger:
    """Takes one connection, and gives one answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


# ── the leader ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_goes_on_to_the_leader(cluster: Operated, oarlock: Command) -> None:
    assert oarlock("transfer", "--to", "1", "--at", cluster.at(3)) == (0, "Replica 1 leads.\n", "")
    assert cluster.nodes[2].asked == [("transfer", 1)]
    assert oarlock("transfer", "--at", cluster.at(2), "--json")[1] == '{"leader_id":3}\n'


def test_an_election_is_waited_for(cluster: Operated, oarlock: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.without_leader()

    def elect(_: float) -> None:
        cluster.leader = THREE
        cluster.introduce()

    monkeypatch.setattr(remote.time, "sleep", elect)
    assert oarlock("transfer", "--to", "1", "--at", cluster.at(1))[0] == 0
    cluster.without_leader()
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    monkeypatch.setattr(remote, "ELECTION_S", 0.05)
    refused(oarlock("transfer", "--at", cluster.at(1)), 1, "no leader is known at")


def test_an_address_that_means_another_is_not_followed_for_ever(cluster: Operated, oarlock: Command) -> None:
    cluster.nodes[1].become(leader_http=cluster.at(3))
    cluster.nodes[3].become(leader_http=cluster.at(1))
    refused(oarlock("transfer", "--at", cluster.at(1)), 1, "is said to lead")
    cluster.nodes[1].become(leader_http=cluster.at(1))
    refused(oarlock("transfer", "--at", cluster.at(1)), 1, "is said to lead")


@pytest.mark.parametrize(
    ("trouble", "saying"),
    [
        (ChangeRefused("the last voter cannot leave"), "the last voter cannot leave."),
        (Overloaded("there is no room"), "there is no room."),
        (OutcomeUnknown(), "it may have been done, or may yet be"),
    ],
)
def test_what_the_leader_says_is_passed_on(
    cluster: Operated, oarlock: Command, trouble: Exception, saying: str
) -> None:
    cluster.nodes[2].trouble = trouble
    refused(oarlock("remove", "--id", "1", "--at", cluster.at(1)), 1, saying)


# ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_remove_takes_several_at_once_and_warns_of_force(cluster: Operated, oarlock: Command) -> None:
    status, out, err = oarlock("remove", "--id", "1", "--id", "3", "--force", "--at", cluster.at(2))
    assert status == 0 and out.startswith("Without replica 1 and replica 3 ")
    assert err.startswith("--force: ")
    assert cluster.nodes[2].asked == [("change", Change(remove=(ONE, THREE)), True)]
    assert oarlock("remove", "--id", "1", "--at", cluster.at(2))[2] == "", "it is said only of what is forced"


def test_move_changes_an_address(cluster: Operated, oarlock: Command) -> None:
    status, out, _ = oarlock("move", "--id", "3", "--raft", "10.0.0.3:7401", "--at", cluster.at(2))
    assert status == 0 and "Replica 3 is reached at 10.0.0.3:7401" in out
    assert cluster.nodes[2].asked == [("change", Change(move=((THREE, "10.0.0.3:7401"),)), False)]
    oarlock("move", "--id", "3", "--raft", "10.0.0.3:7402", "--force", "--at", cluster.at(2))
    assert cluster.nodes[2].asked[1:] == [("change", Change(move=((THREE, "10.0.0.3:7402"),)), True)]


def test_snapshot_is_of_the_replica_that_is_asked(cluster: Operated, oarlock: Command) -> None:
    status, out, _ = oarlock("snapshot", "--at", cluster.at(3))
    assert status == 0 and out == f"The replica at {cluster.at(3)} has a snapshot of the state at index 11.\n"
    assert cluster.nodes[3].asked == [("snapshot",)]


# ── bringing in ──────────────────────────────────────────────────────────────────────────────────────────────────


def adding(cluster: Operated, directory: Path, *more: str, **changes: str) -> list[str]:
    options = {"data-dir": str(directory), "id": "4", "raft": "10.0.0.4:7401", "at": cluster.at(1), **changes}
    return ["add", *(word for name, value in options.items() for word in (f"--{name}", value)), *more]


def identity(directory: Path) -> Any:
    return decode_identity((directory / "identity.json").read_bytes(), "identity.json")


def test_add_makes_a_directory_and_asks_for_the_replica_in_it(
    cluster: Operated, oarlock: Command, tmp_path: Path
) -> None:
    status, out, _ = oarlock(*adding(cluster, tmp_path / "new"))
    made = identity(tmp_path / "new")
    member = Member(FOUR, "10.0.0.4:7401", made.incarnation)
    assert status == 0 and f"Start it with: oarlock serve --data-dir {tmp_path / 'new'}" in out
    assert cluster.nodes[2].asked == [("change", Change(add=(member,)), False)]
    assert (made.cluster_id, made.cluster_name, made.replica) == ("fake", "oarlock", FOUR)
    assert made.configuration == cluster.configuration
    assert made.configuration.joining == (Joining(FOUR),) and FOUR not in made.configuration.voters


def test_add_as_a_learner(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    status, out, _ = oarlock(*adding(cluster, tmp_path / "new", "--learner"))
    assert status == 0 and "never votes" in out
    assert identity(tmp_path / "new").configuration.joining == cluster.configuration.joining == ()


def test_add_can_be_repeated_after_any_failure(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    cluster.nodes[2].trouble = OutcomeUnknown()
    refused(oarlock(*adding(cluster, tmp_path / "new")), 1, "may have been done")
    first = identity(tmp_path / "new").incarnation
    cluster.nodes[2].trouble = None
    for _ in range(2):
        assert oarlock(*adding(cluster, tmp_path / "new"))[0] == 0
    assert identity(tmp_path / "new").incarnation == first
    assert cluster.configuration.member(FOUR) == Member(FOUR, "10.0.0.4:7401", first)


@pytest.mark.parametrize(
    ("changes", "status", "saying"),
    [
        ({"id": "2"}, 1, "there is a replica 2 already"),
        ({"raft": "127.0.0.1:7402"}, 1, "cannot share the address"),
        ({"raft": "nowhere"}, 2, "has no port"),
    ],
)
def test_add_makes_nothing_that_the_cluster_would_refuse(
    cluster: Operated, oarlock: Command, tmp_path: Path, changes: dict[str, str], status: int, saying: str
) -> None:
    refused(oarlock(*adding(cluster, tmp_path / "new", **changes)), status, saying)
    assert not (tmp_path / "new").exists()
    assert cluster.nodes[2].asked == []


def test_add_waits_for_a_cluster_that_has_not_formed(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    cluster.configuration = type(cluster.configuration)((Member(ONE, "a:1"), Member(TWO, "b:1")), (ONE, TWO))
    refused(oarlock(*adding(cluster, tmp_path / "new")), 2, "has not formed yet")


def test_add_leaves_the_directory_of_another_alone(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    assert oarlock(*adding(cluster, tmp_path / "new"))[0] == 0
    for changes in ({"id": "5"}, {"raft": "10.0.0.5:7401"}):
        refused(oarlock(*adding(cluster, tmp_path / "new", **changes)), 2, "is that of replica 4 at 10.0.0.4:7401")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    refused(oarlock(*adding(cluster, tmp_path / "full", id="6", raft="10.0.0.6:7401")), 2, "is not empty")


def test_replace_names_both(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    arguments = ["--data-dir", str(tmp_path / "new"), "--raft", "10.0.0.4:7401", "--at", cluster.at(1)]
    status, out, _ = oarlock("replace", "--id", "3", "--by", "4", *arguments)
    assert status == 0 and "takes the place of replica 3" in out
    made = identity(tmp_path / "new")
    member = Member(FOUR, "10.0.0.4:7401", made.incarnation)
    assert cluster.nodes[2].asked == [("change", Change(replace=((THREE, member),)), False)]
    assert made.configuration.joining == (Joining(FOUR, THREE),)
    refused(oarlock("replace", "--id", "3", "--by", "3", *arguments), 2, "`oarlock rejoin`")


def directory_of_three(cluster: Operated, oarlock: Command, tmp_path: Path) -> Path:
    """A directory whose replica has run, and whose number the cluster knows under its incarnation."""
    directory = tmp_path / "data"
    assert oarlock(*adding(cluster, directory))[0] == 0
    (directory / "wal" / f"{2:016d}.wal").write_bytes(b"damaged")
    cluster.nodes[2].asked.clear()
    return directory


def test_rejoin_says_what_it_would_do(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    before = identity(directory)
    status, out, _ = oarlock("rejoin", "--data-dir", str(directory), "--at", cluster.at(1))
    assert status == 2 and f"would be moved to {directory}.damaged-1" in out and "say --yes" in out
    assert identity(directory) == before and cluster.nodes[2].asked == []


def test_rejoin_keeps_what_was_there_and_begins_anew(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    before = identity(directory)
    (directory / "refused.txt").write_text("replica 2 refused this one")
    arguments = ["rejoin", "--data-dir", str(directory), "--at", cluster.at(1), "--yes"]
    status, out, _ = oarlock(*arguments)
    after = identity(directory)
    aside = tmp_path / "data.damaged-1"
    assert status == 0 and str(aside) in out
    assert identity(aside) == before and (aside / "wal" / f"{2:016d}.wal").read_bytes() == b"damaged"
    assert after.incarnation != before.incarnation and after.replica == FOUR
    member = Member(FOUR, "10.0.0.4:7401", after.incarnation, generation=1)
    assert cluster.nodes[2].asked == [("change", Change(replace=((FOUR, member),)), False)]
    # Again, as if nobody knew how it ended: what was made is used, and nothing more is moved.
    assert oarlock(*arguments)[0] == 0
    assert identity(directory) == after and not (tmp_path / "data.damaged-2").exists()
    # And once it has run and is damaged again, it is moved beside the first.
    (directory / "wal" / f"{2:016d}.wal").touch()
    assert oarlock(*arguments)[0] == 0
    assert (tmp_path / "data.damaged-2").exists()


def test_rejoin_makes_anew_what_another_rejoin_has_overtaken(
    cluster: Operated, oarlock: Command, tmp_path: Path
) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    here = ["rejoin", "--data-dir", str(directory), "--at", cluster.at(1), "--yes"]
    assert oarlock(*here)[0] == 0
    overtaken = identity(directory)
    for name in ("elsewhere", "here"):
        arguments = here if name == "here" else [*here[:2], str(tmp_path / name), *here[3:], "--id", "4"]
        assert oarlock(*arguments)[0] == 0
        back = cluster.configuration.member(FOUR)
        made = identity(directory if name == "here" else tmp_path / name)
        assert back and back.incarnation == made.incarnation != overtaken.incarnation
    assert identity(tmp_path / "data.damaged-2") == overtaken


def test_rejoin_goes_on_where_it_was_killed(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    directory.rename(tmp_path / "data.damaged-1")
    status, _, _ = oarlock("rejoin", "--data-dir", str(directory), "--at", cluster.at(1), "--yes")
    assert status == 0 and identity(directory).replica == FOUR


def test_rejoin_of_a_lost_disk_needs_the_number(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    arguments = ["rejoin", "--data-dir", str(tmp_path / "data"), "--at", cluster.at(1), "--yes"]
    refused(oarlock(*arguments), 2, "say so with --id")
    refused(oarlock(*arguments, "--id", "7"), 2, "has no replica 7 any more")
    assert oarlock(*arguments, "--id", "3", "--raft", "10.0.0.33:7401")[0] == 0
    assert cluster.configuration.voters == (ONE, TWO)
    back = cluster.configuration.member(THREE)
    assert back and (back.address, back.incarnation) == ("10.0.0.33:7401", identity(tmp_path / "data").incarnation)


def test_rejoin_moves_nothing_if_the_cluster_could_not_take_the_replica_back(
    cluster: Operated, oarlock: Command, tmp_path: Path
) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    two = tuple(member for member in cluster.configuration.members if member.id in (ONE, FOUR))
    cluster.configuration = Configuration(two, (ONE, FOUR))  # without 4 there is no majority of them
    before = identity(directory)
    arguments = ["rejoin", "--data-dir", str(directory), "--at", cluster.at(1)]
    for yes in ([], ["--yes"]):
        refused(oarlock(*arguments, *yes), 1, "without the replicas that lost their disks there is no majority")
    assert identity(directory) == before and cluster.nodes[2].asked == []
    assert not (tmp_path / "data.damaged-1").exists()


def test_a_rejoin_that_the_leader_refuses_tells_where_the_data_is(
    cluster: Operated, oarlock: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)

    async def change(*_: object, **__: object) -> None:
        raise ChangeRefused("not now")

    monkeypatch.setattr(cluster.nodes[2], "change", change)
    arguments = ["rejoin", "--data-dir", str(directory), "--at", cluster.at(2), "--yes"]
    refused(oarlock(*arguments), 1, f"is in {directory}.damaged-1")
    monkeypatch.undo()
    assert oarlock(*arguments)[0] == 0


def test_an_address_that_stands_for_all_of_a_machines_own_is_nobody_elses(
    cluster: Operated, oarlock: Command, tmp_path: Path
) -> None:
    data_dir = ["--data-dir", str(tmp_path / "data")]
    at = ["--at", cluster.at(2)]
    for command in (
        ["move", "--id", "3", "--raft", "0.0.0.0:7401", *at],
        ["add", "--id", "4", "--raft", "[::]:7401", *data_dir, *at],
        ["init", "--id", "1", "--members", "1=0.0.0.0:7401", *data_dir],
    ):
        refused(oarlock(*command), 2, "is no address that others could reach")
    assert cluster.nodes[2].asked == []


def test_rejoin_touches_nothing_that_is_in_use_or_another_clusters_or_while_nobody_leads(
    cluster: Operated, oarlock: Command, tmp_path: Path
) -> None:
    directory = directory_of_three(cluster, oarlock, tmp_path)
    arguments = ["rejoin", "--data-dir", str(directory), "--at", cluster.at(1), "--yes"]
    with (directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(oarlock(*arguments), 2, "another process is using")
    refused(oarlock(*arguments, "--id", "3"), 2, "not of replica 3")
    cluster.without_leader()
    refused(oarlock(*arguments), 1, "nothing was done")
    cluster.leader = TWO
    cluster.introduce(cluster_id="other")
    refused(oarlock(*arguments), 2, "belongs to cluster fake")
    assert (directory / "wal" / f"{2:016d}.wal").exists()


# ── backups ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_checked_before_it_has_its_name(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    whole = snapshot_file([b"one", b"two" * 100_000])
    cluster.backup = [whole[:100], whole[100:]]
    target = tmp_path / "kept"
    status, out, _ = oarlock("backup", "--to", str(target), "--at", cluster.at(1))
    assert status == 0 and "at index 1,234" in out and "sha256" in out
    assert target.read_bytes() == whole and list(tmp_path.iterdir()) == [target]
    refused(oarlock("backup", "--to", str(target), "--at", cluster.at(1)), 2, "exists")
    cluster.backup = [snapshot_file([b"later"])]
    status, out, _ = oarlock("backup", "--to", str(target), "--at", cluster.at(1), "--force", "--json")
    assert status == 0 and json.loads(out)["size_bytes"] == len(target.read_bytes()) != len(whole)


@pytest.mark.parametrize("how", ["broken off", "cut short", "damaged", "nothing", "refused"])
def test_a_backup_that_is_not_whole_is_not_kept(cluster: Operated, oarlock: Command, tmp_path: Path, how: str) -> None:
    whole = snapshot_file([b"one" * 100_000])
    cases: dict[str, tuple[list[bytes | Exception], str]] = {
        "broken off": ([whole[:5000], OSError(5, "the disk")], "broke off before its end"),
        "cut short": ([whole[:-30]], "is no whole backup"),
        "damaged": ([whole[:5000] + b"!" + whole[5001:]], "is no whole backup"),
        "nothing": ([], "is no whole backup"),
        "refused": ([Overloaded("too much is going on")], "too much is going on"),
    }
    cluster.backup, saying = cases[how]
    (tmp_path / "kept").write_bytes(b"yesterday's")
    refused(oarlock("backup", "--to", str(tmp_path / "kept"), "--at", cluster.at(1), "--force"), 1, saying)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"yesterday's"]


def test_two_backups_to_one_name_at_a_time_do_not_mix(
    cluster: Operated, oarlock: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = str(tmp_path / "kept")
    ours, theirs = snapshot_file([b"ours" * 1000]), snapshot_file([b"theirs"])
    receive = backup_command._receive

    def receive_and_let_another_come(at: str, draft: Path) -> tuple[int, str]:
        received = receive(at, draft)
        cluster.backup = [theirs]
        assert another_oarlock("backup", "--to", target, "--at", at).returncode == 0
        assert Path(target).read_bytes() == theirs
        return received

    monkeypatch.setattr(backup_command, "_receive", receive_and_let_another_come)
    cluster.backup = [ours]
    status, _, err = oarlock("backup", "--to", target, "--at", cluster.at(1))
    assert status == 0, err
    assert Path(target).read_bytes() == ours and len(list(tmp_path.iterdir())) == 1


def test_a_backup_to_nowhere(cluster: Operated, oarlock: Command, tmp_path: Path) -> None:
    refused(oarlock("backup", "--to", str(tmp_path / "no" / "where"), "--at", cluster.at(1)), 1, "cannot be written")
