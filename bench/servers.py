"""The two systems under comparison, as processes of this machine on free ports: a cluster and one Redis."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

import oarlock

BUILD = "compiled" if oarlock.__compiled__ else "interpreted"
"""How the package runs that is measured: no figure means anything without."""

START_TIMEOUT_S = 60.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """Something that answers at a port, and the processes that it takes to answer there."""

    def __init__(self, name: str, pids: list[int], locate: Callable[[], int]) -> None:
        self.name = name
        self._pids = pids
        self._locate = locate

    @property
    def port(self) -> int:
        """Where clients should talk to now; asked anew each time, for leaders change."""
        return self._locate()

    def cpu_s(self) -> float:
        """Seconds of processor time, user and system, that all its processes have used."""
        return sum(map(cpu_s, self._pids))


class RedisServer(Server):
    """One that clients of Redis can talk to."""

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=30)


@contextmanager
def cluster(
    directory: Path,
    at: str,
    name: str = "oarlock",
    options: Sequence[str] = (),
    package: Path | None = None,
) -> Iterator[RedisServer]:
    """Three replicas under ``oarlock local``; clients talk to the ``leader`` or to a ``follower``.

    ``options`` are further ones of ``oarlock local``; ``package`` is where the package lies that is measured, if it is
    another than this program's own."""
    environment = os.environ | ({"PYTHONPATH": str(package)} if package is not None else {})
    command = [sys.executable, "-m", "oarlock", "local", "--data-dir", str(directory), *options]
    for option in ("--redis-port", "--raft-port", "--http-port"):
        command += [option, str(free_port(3))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    patience = threading.Timer(START_TIMEOUT_S, process.terminate)
    patience.start()
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            if line == "ready\n":
                break
            lines.append(line)
        else:
            sys.exit("the cluster did not start:\n" + "".join(lines))
        patience.cancel()
        replicas: list[dict[str, Any]] = json.loads((directory / "cluster.json").read_text())["replicas"]
        ports = {replica["id"]: int(replica["redis"].rpartition(":")[2]) for replica in replicas}

        def locate() -> int:
            with redis.Redis(port=ports[1], socket_timeout=30) as client:
                leader = dict(client.info("raft"))["leader_id"]
            return ports[leader if at == "leader" else next(replica for replica in ports if replica != leader)]

        yield RedisServer(name, [replica["pid"] for replica in replicas], locate)
    finally:
        patience.cancel()
        process.terminate()
        process.communicate()


@contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """One ``redis-server`` that makes every write durable before it answers, and takes no snapshots meanwhile."""
    port = free_port(1)
    directory.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        server = RedisServer("redis", [process.pid], lambda: port)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with server.client() as client:
                    client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > deadline or process.poll() is not None:
                    sys.exit("redis-server did not start")
                time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait()


def require(*programs: str) -> None:
    """Exit with a sentence if one of the programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed; it comes with Redis (Debian: apt-get install redis-server)")


def free_port(in_a_row: int) -> int:
    """First port of a free range, below those that the system hands to clients."""
    while True:
        base = random.randrange(20000, 32000)
        if all(_is_free(port) for port in range(base, base + in_a_row)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def cpu_s(pid: int) -> float:
    """Seconds of processor time, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
