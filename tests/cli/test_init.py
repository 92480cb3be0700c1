"""``oarlock init``, and how the command line refuses: one sentence, the right exit status, nothing made."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import oarlock

MEMBERS = "1=127.0.0.1:7401,2=127.0.0.1:7402,3=127.0.0.1:7403"


def init(directory: Path, replica: int = 1, members: str = MEMBERS, cluster: str = "orders"):
    return oarlock(
        "init", "--data-dir", str(directory), "--id", str(replica), "--members", members, "--cluster", cluster
    )


def cluster_id(directory: Path) -> str:
    return str(json.loads((directory / "identity.json").read_text())["cluster_id"])


def assert_refused(result, saying: str) -> None:
    assert result.returncode == 2, result.stderr
    assert saying in result.stderr
    assert result.stderr.startswith("oarlock") and result.stderr.count("\n") == 1, result.stderr
    assert not result.stdout


def test_says_what_it_made_and_how_to_go_on(tmp_path: Path) -> None:
    result = init(tmp_path / "a")
    assert result.returncode == 0, result.stderr
    assert f"cluster orders ({cluster_id(tmp_path / 'a')})" in result.stdout
    assert f"oarlock serve --data-dir {tmp_path / 'a'}" in result.stdout


def test_the_same_name_and_members_make_the_same_cluster_in_any_order(tmp_path: Path) -> None:
    backwards = ",".join(reversed(MEMBERS.split(",")))
    assert init(tmp_path / "1", 1).returncode == 0
    assert init(tmp_path / "2", 2, backwards).returncode == 0
    assert init(tmp_path / "other", 1, cluster="else").returncode == 0
    assert init(tmp_path / "moved", 1, MEMBERS.replace("7403", "7409")).returncode == 0
    assert cluster_id(tmp_path / "1") == cluster_id(tmp_path / "2")
    assert len({cluster_id(tmp_path / name) for name in ("1", "other", "moved")}) == 3


def test_two_initialisations_of_one_replica_are_two_incarnations(tmp_path: Path) -> None:
    incarnations = []
    for name in ("a", "b"):
        assert init(tmp_path / name).returncode == 0
        incarnations.append(json.loads((tmp_path / name / "identity.json").read_text())["incarnation"])
    assert incarnations[0] != incarnations[1]


def test_a_directory_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("draft")
    assert_refused(init(tmp_path), "is not empty")
    assert (tmp_path / "thesis.txt").read_text() == "draft"
    assert not (tmp_path / "identity.json").exists()


def test_a_replica_is_initialised_only_once(tmp_path: Path) -> None:
    assert init(tmp_path / "a").returncode == 0
    before = (tmp_path / "a" / "identity.json").read_bytes()
    assert_refused(init(tmp_path / "a"), "is not empty")
    assert (tmp_path / "a" / "identity.json").read_bytes() == before


def test_an_id_that_is_no_member_is_refused(tmp_path: Path) -> None:
    assert_refused(init(tmp_path / "a", replica=4), "replica 4 is not among the members")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("members", "saying"),
    [
        ("1=127.0.0.1", "has no port"),
        ("1=127.0.0.1:7401,1=127.0.0.1:7402", "replica 1 is listed twice"),
        ("1=127.0.0.1:7401,2=127.0.0.1:7401", "two replicas have the address"),
        ("nonsense", "is not ID=HOST:PORT"),
    ],
)
def test_bad_members_are_refused(tmp_path: Path, members: str, saying: str) -> None:
    assert_refused(init(tmp_path / "a", members=members), saying)
    assert not (tmp_path / "a").exists()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(init(tmp_path / "file"), "is a file")
    assert_refused(init(tmp_path / "file" / "below"), "cannot be initialised")


def test_without_its_options_it_says_which_is_missing() -> None:
    assert_refused(oarlock("init"), "Missing option '--data-dir'")


LIVE = ("add", "backup", "members", "move", "rejoin", "remove", "replace", "snapshot", "status", "transfer")
"""What is asked of a cluster that runs."""
OFFLINE = ("inspect", "recover", "restore")
"""What is done to files."""


@pytest.mark.parametrize("command", [(), ("init",), ("serve",), ("local",), *((name,) for name in LIVE + OFFLINE)])
def test_help_explains_with_an_example(command: tuple[str, ...]) -> None:
    result = oarlock(*command, "--help")
    assert result.returncode == 0
    example = " ".join(("    oarlock", *command))
    assert example in result.stdout, result.stdout


def test_version() -> None:
    result = oarlock("--version")
    assert result.returncode == 0 and result.stdout.startswith("oarlock 0.")


def test_an_unknown_command_is_refused() -> None:
    assert_refused(oarlock("sevre"), "No such command 'sevre'")
