"""``oarlock serve`` as a process: what it refuses, what it says, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.cli.conftest import DEADLINE_S, oarlock, until


class Single:
    """A cluster of one: the directory of its only replica, and how to run it."""

    def __init__(self, directory: Path, first_port: int) -> None:
        self.directory = directory
        self.raft, self.redis, self.http = (f"127.0.0.1:{first_port + offset}" for offset in range(3))
        made = oarlock("init", "--data-dir", str(directory), "--id", "1", "--members", f"1={self.raft}")
        assert made.returncode == 0, made.stderr
        self.arguments = ["serve", "--data-dir", str(directory), "--redis", self.redis, "--http", self.http]
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "oarlock", *self.arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def client(self) -> redis.Redis:
        return redis.Redis(port=int(self.redis.rpartition(":")[2]), socket_timeout=10)

    def serves(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.exists("nothing") == 0)
        except redis.RedisError:
            return False


@pytest.fixture
def single(tmp_path: Path, ports: Callable[[int], int]) -> Iterator[Single]:
    it = Single(tmp_path / "data", ports(3))
    yield it
    for process in it.processes:
        process.kill()
        process.communicate()


def assert_refused(result: subprocess.CompletedProcess[str], saying: str) -> None:
    assert result.returncode == 2, result.stderr
    assert saying in result.stderr.splitlines()[-1], result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_that_was_never_initialised_is_refused_and_left_alone(tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "data"
    if there:
        directory.mkdir()
    result = oarlock("serve", "--data-dir", str(directory))
    assert_refused(result, "`oarlock init`")
    assert result.stderr.count("\n") == 1
    assert directory.exists() == there
    assert not there or list(directory.iterdir()) == []


def test_sigterm_ends_it_with_0_and_its_data_is_there_again(single: Single) -> None:
    for boot in (1, 2):
        process = single.start()
        until(single.serves, "serves")
        with single.client() as client:
            assert client.incr("boots") == boot
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
        assert "SIGTERM: stopping" in log and log.rstrip().endswith("stopped")


def test_ctrl_c_ends_it_like_sigterm(single: Single) -> None:
    process = single.start()
    until(single.serves, "serves")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log
    assert "Traceback" not in log


def test_a_second_process_on_the_directory_is_refused(single: Single) -> None:
    single.start()
    until(single.serves, "serves")
    assert_refused(oarlock(*single.arguments), "another process is using")


@pytest.mark.parametrize("which", ["raft", "redis"])
def test_a_port_in_use_is_refused_by_name(single: Single, which: str) -> None:
    address = getattr(single, which)
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        assert_refused(oarlock(*single.arguments), address)


def test_a_replica_that_is_being_replaced_is_waited_for(single: Single) -> None:
    first = single.start()
    until(single.serves, "serves")
    second = single.start()  # finds the directory locked and the ports in use
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(single.serves, "the second serves")
    assert second.poll() is None


def test_a_damaged_identity_is_refused(single: Single) -> None:
    path = single.directory / "identity.json"
    path.write_text(path.read_text().replace('"replica": 1', '"replica": 2'))
    assert_refused(oarlock(*single.arguments), str(path))


def test_a_cluster_without_a_majority_still_stops_when_told(tmp_path: Path, ports: Callable[[int], int]) -> None:
    first = ports(6)
    members = ",".join(f"{replica}=127.0.0.1:{first + replica}" for replica in (1, 2, 3))
    made = oarlock("init", "--data-dir", str(tmp_path / "1"), "--id", "1", "--members", members)
    assert made.returncode == 0, made.stderr
    command = [sys.executable, "-m", "oarlock", "serve", "--data-dir", str(tmp_path / "1")]
    command += ["--redis", f"127.0.0.1:{first}", "--http", f"127.0.0.1:{first + 5}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        with redis.Redis(port=first, socket_timeout=10) as client:

            def knows_no_leader() -> bool:
                try:
                    return bool(client.info("raft")["leader_id"] == 0)
                except redis.ConnectionError:
                    return False

            until(knows_no_leader, "answers INFO without a leader")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
    finally:
        process.kill()
        process.communicate()
