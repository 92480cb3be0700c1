"""Three etcd servers as processes of this machine, with etcd's defaults; started, filled, checked and ended."""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from load import KEYS, VALUE, key_name
from servers import START_TIMEOUT_S, Server, free_port

SERVERS = 3
PUTS_PER_TRANSACTION = 100
"""While filling; etcd takes up to 128."""
REQUEST_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class EtcdServer(Server):
    """The cluster, seen at its leader."""

    def __init__(self, pids: list[int], ports: list[int]) -> None:
        super().__init__("etcd", pids, lambda: _leader_port(ports))

    def fill(self) -> None:
        """Give every key its value, so that every get finds one."""
        port = self.port
        for start in range(0, KEYS, PUTS_PER_TRANSACTION):
            numbers = range(start, start + PUTS_PER_TRANSACTION)
            puts = [{"requestPut": {"key": _base64(key_name(number)), "value": _base64(VALUE)}} for number in numbers]
            if not _ask(port, "kv/txn", success=puts).get("succeeded"):
                sys.exit("etcd did not take the keys")

    def verify(self) -> None:
        """That all keys are there and no others; their values were looked at by every get."""
        size = int(_ask(self.port, "kv/range", key=_base64("\0"), range_end=_base64("\0"), count_only=True)["count"])
        if size != KEYS:
            sys.exit(f"etcd holds {size} keys after the benchmark, not {KEYS}: its numbers mean nothing")


@contextmanager
def etcd_cluster(directory: Path) -> Iterator[EtcdServer]:
    """Three servers that agree on a leader. Whatever happens, they have ended afterwards."""
    directory.mkdir()
    first = free_port(2 * SERVERS)
    ports = list(range(first, first + SERVERS))
    with ExitStack() as running:
        processes = [
            running.enter_context(_server(directory, number, ports[number], first + SERVERS))
            for number in range(SERVERS)
        ]
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_ready(ports):
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                logs = "".join(path.read_text() for path in sorted(directory.glob("*.log")))
                sys.exit(f"etcd did not start:\n{logs}")
            time.sleep(0.05)
        yield EtcdServer([process.pid for process in processes], ports)


@contextmanager
def _server(directory: Path, number: int, port: int, first_peer_port: int) -> Iterator[subprocess.Popen[bytes]]:
    peers = [f"http://127.0.0.1:{first_peer_port + peer}" for peer in range(SERVERS)]
    options = {
        "name": f"etcd-{number}",
        "data-dir": str(directory / f"etcd-{number}"),
        "listen-client-urls": f"http://127.0.0.1:{port}",
        "advertise-client-urls": f"http://127.0.0.1:{port}",
        "listen-peer-urls": peers[number],
        "initial-advertise-peer-urls": peers[number],
        "initial-cluster": ",".join(f"etcd-{peer}={url}" for peer, url in enumerate(peers)),
        "logger": "zap",
        "log-level": "error",
    }
    # etcd takes options from the environment as well, and what is measured here are its defaults.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
    command = ["etcd", *(f"--{option}={value}" for option, value in options.items())]
    with (directory / f"etcd-{number}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(ports: list[int]) -> bool:
    """Whether all servers answer and follow one leader."""
    try:
        leaders = {_ask(port, "maintenance/status").get("leader", "0") for port in ports}
    except (OSError, http.client.HTTPException, RuntimeError):
        return False
    return len(leaders) == 1 and leaders != {"0"}


def _leader_port(ports: list[int]) -> int:
    for port in ports:
        status = _ask(port, "maintenance/status")
        if status.get("leader") == status["header"]["member_id"]:
            return port
    sys.exit("etcd has no leader")


def _ask(port: int, what: str, **body: Any) -> dict[str, Any]:
    """A request to the JSON form of etcd's protocol.

    :raises RuntimeError: with what etcd answered, if that is an error.
    """
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)) as connection:
        connection.request("POST", f"/v3/{what}", json.dumps(body))
        response = connection.getresponse()
        answer = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"etcd: {answer.decode()}")
    return dict(json.loads(answer))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
