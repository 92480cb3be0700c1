"""What ``oarlock local`` is made of: ports, directories, and what of it is new."""

import socket
from pathlib import Path

import pytest

from oarlock.cli.layout import initialise, plan, uninitialised, wait_for_ports
from oarlock.errors import StartupError
from tests.ports import free_ports


def test_ports_are_consecutive_and_the_command_restarts_the_replica(tmp_path: Path) -> None:
    replicas = plan(tmp_path, 3, 6401, 7401, 8401)
    second = replicas[1]
    assert [replica.id for replica in replicas] == [1, 2, 3]
    assert (second.redis, second.raft, second.http) == ("127.0.0.1:6402", "127.0.0.1:7402", "127.0.0.1:8402")
    assert second.data_dir == str(tmp_path / "replica-2")
    assert second.command[1:4] == ["-m", "oarlock", "serve"]
    for option in ("data_dir", "raft", "redis", "http"):
        at = second.command.index("--" + option.replace("_", "-"))
        assert second.command[at + 1] == getattr(second, option)


def test_the_command_says_when_to_take_snapshots_if_that_was_said(tmp_path: Path) -> None:
    assert "--snapshot-after" not in plan(tmp_path, 1, 6401, 7401, 8401)[0].command
    assert plan(tmp_path, 1, 6401, 7401, 8401, 65536)[0].command[-2:] == ["--snapshot-after", "65536"]


@pytest.mark.parametrize(("ports", "saying"), [((6401, 6403, 8401), "overlap"), ((65535, 7401, 8401), "65537")])
def test_ports_that_cannot_be_are_refused(tmp_path: Path, ports: tuple[int, int, int], saying: str) -> None:
    with pytest.raises(StartupError, match=saying):
        plan(tmp_path, 3, *ports)


def test_a_taken_port_is_refused_by_name(tmp_path: Path) -> None:
    first = free_ports(9)
    replicas = plan(tmp_path, 3, first, first + 3, first + 6)
    wait_for_ports(replicas, patience_s=0.0)
    refusal = pytest.raises(StartupError, match=f"127.0.0.1:{first + 4} is taken; .* another --raft-port")
    with socket.create_server(("127.0.0.1", first + 4)), refusal:
        wait_for_ports(replicas, patience_s=0.0)


def test_only_what_is_new_is_initialised(tmp_path: Path) -> None:
    replicas = plan(tmp_path, 3, 6401, 7401, 8401)
    assert uninitialised(replicas) == replicas
    initialise(replicas[:2], replicas)
    assert uninitialised(replicas) == replicas[2:]
    initialise(replicas[2:], replicas)
    assert uninitialised(replicas) == []


def test_another_cluster_in_the_directory_is_refused_with_the_way_out(tmp_path: Path) -> None:
    replicas = plan(tmp_path, 3, 6401, 7401, 8401)
    initialise(replicas, replicas)
    with pytest.raises(StartupError, match="say --nodes 3"):
        uninitialised(plan(tmp_path, 5, 6401, 7401, 8401))
    with pytest.raises(StartupError, match="say --raft-port 7401"):
        uninitialised(plan(tmp_path, 3, 6401, 9401, 8401))


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    replicas = plan(tmp_path, 1, 6401, 7401, 8401)
    (tmp_path / "replica-1").mkdir()
    (tmp_path / "replica-1" / "thesis.txt").touch()
    with pytest.raises(StartupError, match="is not empty"):
        initialise(uninitialised(replicas), replicas)
