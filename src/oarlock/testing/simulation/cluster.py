"""A simulated cluster of the key-value store with its clients, and everyone who watches it."""

from __future__ import annotations

from collections.abc import Hashable
from random import Random
from typing import cast
from zlib import crc32

from oarlock.core.config import Config
from oarlock.errors import InvariantViolated, ReplicaRefused, StartupError
from oarlock.kv import KeyValue
from oarlock.node.node import Node
from oarlock.server.redis import RedisServer
from oarlock.state_machine import StateMachine
from oarlock.testing.simulation.applied import History
from oarlock.testing.simulation.clients import Client, markers
from oarlock.testing.simulation.host import CLIENT_PORT, RAFT_PORT, Host, Served, address
from oarlock.testing.simulation.loop import VirtualLoop
from oarlock.testing.simulation.network import Wires
from oarlock.testing.simulation.record import Record
from oarlock.testing.simulation.safety import Safety
from oarlock.testing.simulation.trace import Trace
from oarlock.types import ReplicaId


class Cluster:
    """Replicas, their network, their clients, and what was seen of them."""

    def __init__(self, replicas: int, random: Random, trace: Trace, clients: int) -> None:
        self.trace = trace
        self.loop = VirtualLoop(Random(random.getrandbits(64)), trace)  # type: ignore[abstract]  # all that replicas use
        self.wires = Wires(self.loop, Random(random.getrandbits(64)))
        self.record = Record()
        self.history = History(self.record, markers, digest)
        self.safety = Safety()
        self.violations: list[str] = []
        self._random = random
        members = {ReplicaId(id): f"{address(id)}:{RAFT_PORT}" for id in range(1, replicas + 1)}
        self.hosts = [
            Host(id, members, self.wires, Random(random.getrandbits(64)), Config(), _serve, self) for id in members
        ]
        self.clients: list[Client] = []
        for host in self.hosts:
            host.start()
        self.more_clients(clients)

    def tell(self, what: str) -> None:
        """A line of the story, by nobody in particular."""
        self.trace.tell(self.loop.now, "·", what)

    def bite(self, kind: str) -> None:
        """A fault hit somebody."""
        self.wires.bite(kind)

    def leader(self) -> Host | None:
        """A host whose replica says that it leads, in the highest term of such."""
        leading = [
            (host.node._raft.term, host)
            for host in self.hosts
            if host.node is not None and host.node._raft.leader == host.id
        ]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    def more_clients(self, count: int) -> list[Client]:
        """Start more clients."""
        more = []
        for _ in range(count):
            number = len(self.clients) + 1
            client = Client(
                number, self.loop, self.wires, self.record, Random(self._random.getrandbits(64)), self.hosts
            )
            self.clients.append(client)
            more.append(client)
            client.start()
        return more

    def violated(self, what: str) -> None:
        """Something happened that must never happen."""
        self.violations.append(what)
        self.tell(f"VIOLATION: {what}")

    # A Watcher of hosts

    def machine(self, host: Host) -> StateMachine:
        return self.history.observed(KeyValue(), f"replica {host.id} (life {host.lives})")

    def began(self, host: Host, node: Node) -> None:
        pass

    def stepped(self, host: Host) -> None:
        try:
            self.safety.stepped(host)
        except InvariantViolated as broken:
            self.violated(str(broken))

    def failed(self, host: Host, error: BaseException) -> None:
        text = str(error)
        of_disk = "disk" in text or "writing the log" in text
        allowed = (host.disk_failed and of_disk) or (
            host.damaged and (of_disk or isinstance(error, StartupError | ReplicaRefused))
        )
        if not allowed:
            self.violated(f"replica {host.id} must not have stopped: {text}")

    # Afterwards

    def digest_now(self, host: Host) -> Hashable:
        """Of the state of a replica that runs."""
        assert host.node is not None
        return digest(host.node._applier._machine)


class _Server:
    """The Redis server in a replica's process."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def close(self) -> None:
        await self._server.close(1.0)


async def _serve(node: Node, machine: StateMachine, host: Host) -> Served:
    network = host.network
    assert network is not None
    server = RedisServer(
        node, cast(KeyValue, machine), listen=network.listen_for_clients, now=host.clock.monotonic_s,
        wall_ms=host.clock.wall_ms,
    )  # fmt: skip
    await server.start(host.address, CLIENT_PORT)
    return _Server(server)


def digest(machine: object) -> Hashable:
    """Of everything that a key-value machine holds."""
    data = getattr(machine, "_data")  # noqa: B009 - of the watched one, too
    keys = sorted(item for shard in data.shards if shard for item in shard.items())
    lifetimes = data.lifetimes
    content = (keys, sorted(lifetimes.deadlines.items()), data.change, lifetimes.now_ms)
    return repr(content), crc32(data.versions)
