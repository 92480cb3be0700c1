"""``oarlock local`` with real replicas, through nothing but what it promises: stdout, cluster.json and signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.cli.conftest import DEADLINE_S, is_running, oarlock, until
from tests.ports import free_ports


class Local:
    """A running ``oarlock local``."""

    def __init__(self, directory: Path, first_port: int, nodes: int = 3) -> None:
        self.directory = directory
        self.nodes = nodes
        self.arguments = ["local", "--data-dir", str(directory), "--nodes", str(nodes)]
        for offset, option in enumerate(("--redis-port", "--raft-port", "--http-port")):
            self.arguments += [option, str(first_port + offset * nodes)]
        self.process: subprocess.Popen[str] | None = None
        self.by_hand: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns once it has said that it is ready."""
        command = [sys.executable, "-m", "oarlock", *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = []
        impatient = threading.Timer(DEADLINE_S, self.process.kill)
        impatient.start()
        try:
            for line in self.process.stdout:
                said.append(line)
                if line == "ready\n":
                    return
        finally:
            impatient.cancel()
        pytest.fail("".join(said) + self.process.communicate()[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode

    def replicas(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads((self.directory / "cluster.json").read_text())["replicas"]
        return entries

    def client(self, replica: int) -> redis.Redis:
        address = self.replicas()[replica - 1]["redis"]
        return redis.Redis(port=int(address.rpartition(":")[2]), socket_timeout=10, decode_responses=True)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[int], Local]]:
    made: list[Local] = []

    def make(nodes: int = 3) -> Local:
        made.append(Local(tmp_path / "cluster", free_ports(3 * nodes), nodes))
        return made[-1]

    yield make
    for local in made:
        processes: list[subprocess.Popen[Any]] = [*local.by_hand]
        if local.process is not None:
            processes.append(local.process)
        for process in processes:
            process.kill()
            process.communicate()


def test_a_cluster_lives_through_a_kill_a_restart_by_hand_and_a_restart_of_all(make: Callable[..., Local]) -> None:
    local = make()
    local.start()
    replicas = local.replicas()
    assert [replica["id"] for replica in replicas] == [1, 2, 3]
    assert set(replicas[0]) == {"id", "pid", "command", "raft", "redis", "http", "data_dir"}
    with local.client(1) as one, local.client(3) as three:
        assert one.set("greeting", "hello")
        assert three.get("greeting") == "hello"
        leader = one.info("raft")["leader_id"]

    victim = replicas[leader - 1]
    os.kill(victim["pid"], signal.SIGKILL)
    survivor = leader % 3 + 1
    with local.client(survivor) as client:
        assert client.set("greeting", "again")  # rides through the failover
    assert local.replicas() == replicas, "the dead one's entry stays, and it is not restarted"

    local.by_hand.append(subprocess.Popen(victim["command"], stderr=subprocess.DEVNULL))
    until(lambda: answers(local, leader, "again"), "the dead replica is back with what it missed")

    assert local.stop() == 0
    local.by_hand[0].terminate()
    assert local.by_hand[0].wait(DEADLINE_S) == 0
    assert not any(is_running(replica["pid"]) for replica in replicas)

    local.start()
    for replica in (1, 2, 3):
        assert answers(local, replica, "again")
    assert local.stop(signal.SIGINT) == 0


def answers(local: Local, replica: int, value: str) -> bool:
    try:
        with local.client(replica) as client:
            return bool(client.get("greeting") == value)
    except redis.RedisError:
        return False


def test_a_killed_local_takes_its_replicas_with_it(make: Callable[..., Local]) -> None:
    local = make(1)
    local.start()
    pid = local.replicas()[0]["pid"]
    assert local.process is not None
    local.process.kill()
    until(lambda: not is_running(pid), "replica gone", 5.0)


def test_a_taken_port_is_refused_by_name(make: Callable[..., Local]) -> None:
    local = make(1)
    taken = int(local.arguments[-1])
    with socket.create_server(("127.0.0.1", taken)):
        result = oarlock(*local.arguments)
    assert result.returncode == 2
    assert f"127.0.0.1:{taken} is taken" in result.stderr and result.stderr.count("\n") == 1


def test_a_replica_that_cannot_start_is_shown_with_its_reason(make: Callable[..., Local]) -> None:
    local = make(1)
    local.start()
    assert local.stop() == 0
    (local.directory / "replica-1" / "refused.txt").write_text("its past is missing")
    result = oarlock(*local.arguments)
    assert result.returncode == 2
    assert "replica 1 exited with status 2; it is not restarted" in result.stdout
    assert "its past is missing" in result.stdout
    assert "too few replicas are left" in result.stderr
