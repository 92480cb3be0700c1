"""What a local cluster is made of: its ports, its directories, and the initialising of what is new."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from oarlock.cli.children import how_it_ended
from oarlock.cli.cluster import ReplicaProcess
from oarlock.errors import StartupError
from oarlock.network.address import parse_address
from oarlock.storage.identity import IDENTITY_NAME, decode_identity
from oarlock.types import ReplicaId

HOST = "127.0.0.1"
CLUSTER_NAME = "local"
PORT_PATIENCE_S = 3.0
"""How long to wait for the ports of a cluster that is just being stopped."""


def plan(
    directory: Path,
    nodes: int,
    redis_port: int,
    raft_port: int,
    http_port: int,
    snapshot_after_bytes: int | None = None,
) -> list[ReplicaProcess]:
    """The replicas as they will run. :raises StartupError: the ports overlap or do not exist."""
    ports = [base + offset for base in (redis_port, raft_port, http_port) for offset in range(nodes)]
    if max(ports) > 65535:
        raise StartupError(f"port {max(ports)} would be needed but ports end at 65535; choose lower ones")
    if len(set(ports)) < len(ports):
        raise StartupError(
            f"the ports overlap: each of --redis-port, --raft-port and --http-port needs {nodes} in a row"
        )
    replicas = []
    for offset in range(nodes):
        raft, redis, http = (f"{HOST}:{base + offset}" for base in (raft_port, redis_port, http_port))
        data_dir = str(directory / f"replica-{offset + 1}")
        command = [sys.executable, "-m", "oarlock", "serve", "--data-dir", data_dir]
        command += ["--raft", raft, "--redis", redis, "--http", http]
        if snapshot_after_bytes is not None:
            command += ["--snapshot-after", str(snapshot_after_bytes)]
        replicas.append(ReplicaProcess(ReplicaId(offset + 1), 0, command, raft, redis, http, data_dir))
    return replicas


def wait_for_ports(replicas: list[ReplicaProcess], patience_s: float = PORT_PATIENCE_S) -> None:
    """Return once every port is free. :raises StartupError: one stays taken."""
    deadline = time.monotonic() + patience_s
    options = {"--redis-port": [r.redis for r in replicas], "--raft-port": [r.raft for r in replicas]}
    options["--http-port"] = [r.http for r in replicas]
    for option, addresses in options.items():
        for address in addresses:
            while not _is_free(address):
                if time.monotonic() > deadline:
                    raise StartupError(f"port {address} is taken; stop what uses it or choose another {option}")
                time.sleep(0.1)


def _is_free(address: str) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(parse_address(address))
        except OSError:
            return False
        return True


def uninitialised(replicas: list[ReplicaProcess]) -> list[ReplicaProcess]:
    """Those without data yet. :raises StartupError: a replica's directory holds data of another cluster"""
    members = {replica.id: replica.raft for replica in replicas}
    return [replica for replica in replicas if not _is_initialised(replica, members)]


def initialise(new: list[ReplicaProcess], replicas: list[ReplicaProcess]) -> None:
    """Run ``oarlock init`` for each new one of the replicas. :raises StartupError: what it complained of

    In processes of their own, because this one must stay single-threaded (see children.py).
    """
    members = ",".join(f"{replica.id}={replica.raft}" for replica in replicas)
    running = []
    for replica in new:
        command = [sys.executable, "-m", "oarlock", "init", "--data-dir", replica.data_dir]
        command += ["--id", str(replica.id), "--members", members, "--cluster", CLUSTER_NAME]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    complaints = [process.communicate()[1].strip().removeprefix("oarlock: ") for process in running]
    for process, complaint in zip(running, complaints, strict=True):
        if process.returncode != 0:
            raise StartupError(complaint or f"oarlock init {how_it_ended(process.returncode)}")


def _is_initialised(replica: ReplicaProcess, members: dict[ReplicaId, str]) -> bool:
    """Whether the replica has data, of this very cluster. :raises StartupError: it has data of another."""
    path = Path(replica.data_dir) / IDENTITY_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    known = {member.id: member.address for member in decode_identity(text, str(path)).configuration.members}
    if len(known) != len(members):
        raise StartupError(
            f"{path.parent} is one of {len(known)} replicas; say --nodes {len(known)}, or name another --data-dir"
        )
    if known != members:
        first = parse_address(known[min(known)])
        raise StartupError(
            f"{path.parent} belongs to a cluster at other addresses; say --raft-port {first.port}, or name another "
            "--data-dir"
        )
    return True
