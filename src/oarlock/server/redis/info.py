"""INFO: what this replica knows by itself, at any time and without asking anyone."""

import sys
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from oarlock import __compiled__, __version__
from oarlock.server.redis.service import REDIS_VERSION, Service

Lines: TypeAlias = Iterable[tuple[str, object]]


def info(service: Service, sections: Iterable[bytes]) -> bytes:
    """The named sections, or all of them if none is named, as lines ``name:value`` that end in CRLF."""
    wanted = {name.lower().decode("ascii", "replace") for name in sections}
    everything = not wanted or not wanted.isdisjoint(("all", "default", "everything"))
    texts = [
        "".join((f"# {name.capitalize()}\r\n", *(f"{field}:{value}\r\n" for field, value in section(service))))
        for name, section in _SECTIONS.items()
        if everything or name in wanted
    ]
    return "\r\n".join(texts).encode()


class Client(Protocol):
    """What is told of a client."""

    service: Service
    client_id: int
    name: bytes
    resp3: bool
    addresses: tuple[str, ...]
    since_s: float


def client_line(client: Client) -> bytes:
    """The client as ``CLIENT INFO`` tells of it while it asks: clients look for all of these fields, known or not."""
    peer, own = client.addresses
    age_s = int(client.service.now() - client.since_s)
    fields: dict[str, object] = {
        "id": client.client_id, "addr": peer, "laddr": own, "fd": -1, "name": client.name.decode("ascii"),
        "age": age_s, "idle": 0, "flags": "N", "db": 0, "sub": 0, "psub": 0, "ssub": 0, "multi": -1, "qbuf": 0,
        "qbuf-free": 0, "argv-mem": 0, "multi-mem": 0, "rbs": 0, "rbp": 0, "obl": 0, "oll": 0, "omem": 0, "tot-mem": 0,
        "events": "r", "cmd": "client", "user": "default", "redir": -1, "resp": 3 if client.resp3 else 2,
    }  # fmt: skip
    return " ".join(f"{name}={value}" for name, value in fields.items()).encode() + b"\n"


def _server(service: Service) -> Lines:
    yield "redis_version", REDIS_VERSION.decode()
    yield "redis_mode", "standalone"
    yield "oarlock_version", __version__
    yield "oarlock_compiled", int(__compiled__)
    yield "python_version", ".".join(map(str, sys.version_info[:3]))
    yield "tcp_port", service.port
    yield "uptime_in_seconds", int(service.uptime_s())


def _clients(service: Service) -> Lines:
    yield "connected_clients", service.clients


def _stats(service: Service) -> Lines:
    yield "total_connections_received", service.clients_ever
    yield "total_commands_processed", service.commands


def _raft(service: Service) -> Lines:
    status = service.replica.status()
    yield "replica_id", status.replica_id
    yield "role", status.role
    yield "term", status.term
    yield "leader_id", status.leader_id
    yield "leader_redis", status.leader_redis
    yield "commit_index", status.commit_index
    yield "applied_index", status.applied_index
    yield "last_index", status.last_index
    yield "voters", ",".join(map(str, status.voters))
    for field, role in (("learners", "learner"), ("joining", "joining")):
        yield field, ",".join(str(one.replica_id) for one in status.members if one.role == role)
    yield "joint", int(status.joint)
    yield "configuration_index", status.configuration_index
    yield "durable_index", status.durable_index
    yield "snapshot_index", status.snapshot_index
    yield "snapshot_bytes", status.snapshot_bytes
    yield "log_bytes", status.log_bytes
    yield "disk_latency_ms", f"{1000 * status.disk_latency_s:.3f}"


def _keyspace(service: Service) -> Lines:
    keys = len(service.machine)
    if keys:
        yield "db0", f"keys={keys},expires={service.machine.expiring},avg_ttl=0"


_SECTIONS: Final[dict[str, Callable[[Service], Lines]]] = {
    "server": _server,
    "clients": _clients,
    "stats": _stats,
    "raft": _raft,
    "keyspace": _keyspace,
}
