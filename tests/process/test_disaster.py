"""The worst days: what `docs/operations.md` says to do when everything, or most of it, is gone. Its own commands."""

import re
import shlex
from pathlib import Path

import pytest

from oarlock.cli.command import run
from tests.process.conftest import ClusterOf
from tests.process.load import Load
from tests.process.replicas import Process, Processes, until

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Shell:
    """Runs the commands of a section, with the paths and addresses of this test in place of those in the text."""

    def __init__(self, section: str, capsys: pytest.CaptureFixture[str]) -> None:
        text = OPERATIONS.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
        blocks = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        self.commands = [line for line in lines if not line.startswith("oarlock serve")]  # which the test starts itself
        self._capsys = capsys

    def run(self, number: int, places: dict[str, str], status: int = 0) -> str:
        """Run a command, and see how it ends; what it prints."""
        command = self.commands[number].partition(" #")[0]
        for written, meant in places.items():
            command = command.replace(written, meant)
        assert run(shlex.split(command)[1:]) == status, (command, self._capsys.readouterr())
        said = self._capsys.readouterr().out
        print(f"$ {command}\n{said}")
        return str(said)


def keys_of(replica: Process) -> dict[str, str]:
    client = replica.client()
    keys = client.keys("*")
    return dict(zip(keys, client.mget(keys), strict=True))


def places(cluster: Processes, host: str = "10.0.0") -> dict[str, str]:
    """The addresses of the text, and what they mean here."""
    found = {}
    for replica in cluster.all:
        found[f"{host}.{replica.number}:7401"] = replica.raft
        found[f"{host}.{replica.number}:8401"] = replica.http
    return found


def put_back(cluster: Processes) -> None:
    """Clear the way for new directories at the same places."""
    for replica in cluster.all:
        replica.directory.rename(replica.directory.with_suffix(".old"))


@pytest.mark.long
def test_a_backup_under_load_becomes_a_new_cluster(
    cluster_of: ClusterOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = cluster_of(3)
    shell = Shell("Backup and restore", capsys)
    here = {**places(cluster), "/backups": str(tmp_path)}
    with Load(lambda: cluster.living, clients=4) as load:
        until(lambda: len(load.acknowledged) > 200, "it is under way")
        before = dict(load.acknowledged)
        said = shell.run(0, here | {"10.0.0.3:8401": cluster.followers()[0].http})
        until(lambda: len(load.acknowledged) > len(before) + 200, "it goes on")
    cluster.caught_up()
    after = keys_of(cluster[1])
    index = int(re.search(r"at index ([\d,]+)", said)[1].replace(",", ""))  # type: ignore[index]
    for replica in cluster.all:
        assert replica.end() == 0
    put_back(cluster)

    shown = shell.run(1, here | {"monday.oarlock": "monday.oarlock --keys"})
    assert f"up to index {index:,} of term" in shown and "whole." in shown
    for replica in cluster.all:
        mine = {"--id 1 ": f"--id {replica.number} ", "/var/lib/oarlock": str(replica.directory)}
        assert f"at index {index:,} of term" in shell.run(2, mine | here)
    for replica in cluster.all[:2]:
        replica.start()
    for replica in cluster.all[:2]:
        until(lambda replica=replica: replica.info()["role"] in ("follower", "candidate"), "it waits for the third")
        assert not replica.knows_a_leader, "a cluster forms when all of its initial members run"
    cluster.all[2].start()
    cluster.leader()
    restored = keys_of(cluster[3])
    assert set(before) <= set(restored), "what was acknowledged before is in it"
    assert all(after.get(key) is not None for key in restored)
    assert len(restored) < len(after), "and what came later is not"
    assert all(restored[key] == value for key, value in before.items() if after[key] == value)
    assert [key for key in restored if f"\n{key} = {restored[key]}\n" not in shown] == []
    assert int(cluster[1].info()["applied_index"]) > index
    assert cluster.leader().client().set("after", "the restore")


@pytest.mark.long
def test_a_survivor_becomes_a_cluster_that_grows_again_and_the_old_ones_stay_out(
    cluster_of: ClusterOf, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = cluster_of(3)
    client = cluster.leader().client()
    for n in range(100):
        client.set(f"k:{n}", "v")
    cluster.caught_up()
    survivor, gone = cluster[2], [cluster[1], cluster[3]]
    for replica in cluster.all:
        replica.kill()
    shell = Shell("The worst day", capsys)
    here = {**places(cluster), "/var/lib/oarlock": str(survivor.directory)}
    assert "replica 2 of cluster oarlock" in shell.run(0, here)
    assert "say --yes" in shell.run(1, here, status=2)
    assert "a new cluster and its only replica" in shell.run(2, here)
    survivor.start()
    until(lambda: survivor.info()["role"] == "leader", "it leads alone")
    assert keys_of(survivor) == {f"k:{n}": "v" for n in range(100)}
    assert survivor.client().set("after", "the worst day")

    # The old ones come back after all: they are a majority of the old cluster, and no part of the new one.
    for replica in gone:
        replica.start()
    until(lambda: all(replica.knows_a_leader for replica in gone), "the old cluster goes on without it")
    for replica in gone:
        assert replica.client().get("after") is None
        replica.client().set("k:0", "of the old cluster")
    assert survivor.client().mget("k:0", "after") == ["v", "the worst day"]
    assert survivor.info()["voters"] == "2"
    for replica in gone:
        assert replica.end() == 0

    new = gone[1]
    new.directory.rename(new.directory.with_suffix(".old"))
    shell.run(3, places(cluster) | {"/var/lib/oarlock": str(new.directory)})
    new.start()
    until(lambda: survivor.info()["voters"] == "2,3" == new.info()["voters"], "the cluster has grown")
    assert keys_of(new) == keys_of(survivor) and new.client().get("after") == "the worst day"
