"""``oarlock serve`` as a process: what it refuses, what it says, and how it ends."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from oarlock.cli.parameters import size
from oarlock.cli.probe import raft_info
from oarlock.node.snapshots import DEFAULT_SNAPSHOT_AFTER_BYTES
from tests.cli.conftest import DEADLINE_S, oarlock, until
from tests.ports import free_ports


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
def single(tmp_path: Path) -> Iterator[Single]:
    it = Single(tmp_path / "data", free_ports(3))
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


@pytest.mark.long
def test_a_port_in_use_is_refused_by_name(single: Single) -> None:
    host, port = single.redis.split(":")
    with socket.create_server((host, int(port))):
        assert_refused(oarlock(*single.arguments), single.redis)


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


def test_a_disk_that_fails_ends_it_with_1_and_the_reason(single: Single) -> None:
    process = single.start()
    until(single.serves, "serves")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))  # any write further into a file fails
    with single.client() as client, pytest.raises(redis.RedisError):
        client.set("lost", "yes")
    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1, log
    assert "File too large" in log.splitlines()[-1]


def test_more_clients_than_files_do_not_stop_it(single: Single) -> None:
    process = single.start()
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, 100))  # long before it looks
    until(single.serves, "serves")
    address = ("127.0.0.1", int(single.redis.rpartition(":")[2]))
    with single.client() as client:
        client.ping()
        crowd = [socket.create_connection(address, timeout=DEADLINE_S) for _ in range(120)]
        assert b"max number of clients" in crowd[-1].recv(100)
        for number in range(40):  # more than a segment, so that the log needs the next file
            client.set("k", bytes([number]) * 1024 * 1024)
    for connection in crowd:
        connection.close()
    assert process.poll() is None
    until(single.serves, "serves others again")


@pytest.fixture
def without_majority(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Replica 1 of 3, the others never started: the process, and the port at which it answers."""
    first = free_ports(6)
    members = ",".join(f"{replica}=127.0.0.1:{first + replica}" for replica in (1, 2, 3))
    made = oarlock("init", "--data-dir", str(tmp_path / "1"), "--id", "1", "--members", members)
    assert made.returncode == 0, made.stderr
    command = [sys.executable, "-m", "oarlock", "serve", "--data-dir", str(tmp_path / "1")]
    command += ["--redis", f"127.0.0.1:{first}", "--http", f"127.0.0.1:{first + 5}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def answers() -> bool:
        try:
            return bool(raft_info(f"127.0.0.1:{first}", timeout_s=1.0)["leader_id"] == "0")
        except OSError:
            return False

    try:
        until(answers, "answers INFO without a leader")
        yield process, first
    finally:
        process.kill()
        process.communicate()


def waiting_write(port: int) -> socket.socket:
    """A connection whose write the replica has read and cannot execute: it came with a PING that is answered."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    connection.sendall(b"PING\r\nSET k v\r\n")
    assert connection.recv(7, socket.MSG_WAITALL) == b"+PONG\r\n"
    return connection


def test_stopping_answers_what_waits_and_says_that_it_was_not_executed(without_majority) -> None:
    process, port = without_majority
    with waiting_write(port) as connection, connection.makefile("rb") as replies:
        process.send_signal(signal.SIGTERM)
        answer = replies.read()
    assert answer.startswith((b"-TRYAGAIN ", b"-CLUSTERDOWN ")) and answer.count(b"\r\n") == 1
    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, log


def test_a_second_signal_ends_it_at_once(without_majority) -> None:
    process, port = without_majority
    assert process.stderr is not None
    with waiting_write(port):
        process.send_signal(signal.SIGTERM)
        while "SIGTERM: stopping" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert log.rstrip().endswith("SIGTERM again: exiting at once")


def test_a_snapshot_is_taken_whenever_so_much_has_been_written(single: Single) -> None:
    single.arguments += ["--snapshot-after", "64KiB"]
    single.start()
    until(single.serves, "it serves")
    with single.client() as client:
        for n in range(2):
            before = int(raft_info(single.redis, timeout_s=DEADLINE_S)["snapshot_index"])
            client.set(f"k{n}", b"x" * 65536)
            until(
                lambda: int(raft_info(single.redis, timeout_s=DEADLINE_S)["snapshot_index"]) > before,  # noqa: B023
                "there is a snapshot",
            )


def test_the_help_says_when_a_snapshot_is_taken_by_default() -> None:
    (said,) = re.findall(r"--snapshot-after SIZE .*?\[default:\s+(\w+)\]", oarlock("serve", "--help").stdout, re.DOTALL)
    assert size(said) == DEFAULT_SNAPSHOT_AFTER_BYTES
