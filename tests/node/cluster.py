"""Clusters of real nodes in one event loop: real TCP over loopback, disks in memory, faults by name."""

import asyncio
import functools
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any

import msgspec
import uvloop

from oarlock.core.change import Change
from oarlock.core.config import Config
from oarlock.node.clock import Clock
from oarlock.node.invitation import Invitation
from oarlock.node.node import Node
from oarlock.node.snapshots import DEFAULT_SNAPSHOT_AFTER_BYTES
from oarlock.state_machine import Position
from oarlock.storage.disk import Disk
from oarlock.storage.identity import initialise, write_identity
from oarlock.storage.segment import DEFAULT_SEGMENT_BYTES
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Command, Member, ReplicaId

from .slow_disk import SlowDisk
from .wire import Wire

QUICK = Config(heartbeat_s=0.03, election_min_s=0.15, election_max_s=0.3)
SCENARIO_S = 30

Test = Callable[..., Coroutine[Any, Any, None]]


def scenario(test: Test) -> Callable[..., None]:
    """Run an async test on asyncio's loop; fail if it leaves a task or an unhandled exception behind."""
    return _played(test, asyncio.new_event_loop)


def uvloop_scenario(test: Test) -> Callable[..., None]:
    """The same on uvloop."""
    return _played(test, uvloop.new_event_loop)


def _played(test: Test, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Callable[..., None]:
    async def whole(*args: Any, **kwargs: Any) -> None:
        troubles: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        async with asyncio.timeout(SCENARIO_S):
            await test(*args, **kwargs)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        assert not troubles, troubles

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(whole(*args, **kwargs))

    return run


async def eventually(condition: Callable[[], object], what: str = "", within_s: float = 10) -> None:
    """Return as soon as the condition holds; fail if it does not within the time."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"never happened: {what or condition}") from None


class Store:
    """A state machine for tests: ``name=value`` sets, ``name+`` increments and answers the new value."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.applied: list[Command] = []

    def apply(self, commands: Sequence[Command], at: Position) -> list[Any]:
        return [self._execute(command) for command in commands]

    def query(self, queries: Sequence[Any], at: Position) -> list[Any]:
        return [self.values.get(query) for query in queries]

    def snapshot(self) -> Iterator[bytes]:
        return iter([msgspec.msgpack.encode([item]) for item in self.values.items()])

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        self.values = dict([tuple(item) async for piece in pieces for item in msgspec.msgpack.decode(piece)])

    def _execute(self, command: Command) -> Any:
        self.applied.append(command)
        assert isinstance(command, bytes)
        if command.endswith(b"+"):
            self.values[command[:-1]] = value = self.values.get(command[:-1], 0) + 1
            return value
        name, _, value = command.partition(b"=")
        self.values[name] = value
        return value


class Recorder:
    """A sink that keeps what it was told, and complains when told twice."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.results: list[Any] | None = None
        self.error: Exception | None = None
        self.times_told = 0
        """For a test that wants to be sure: whoever tells it twice may keep the complaint to himself."""
        self._then = then
        self.abandoned = False

    @property
    def told(self) -> bool:
        return self.results is not None or self.error is not None

    def resolved(self, results: Sequence[Any]) -> None:
        self.times_told += 1
        assert not self.told, "told twice"
        self.results = list(results)
        self._then()

    def failed(self, error: Exception) -> None:
        self.times_told += 1
        assert not self.told, "told twice"
        self.error = error
        self._then()


class Cluster:
    """Replicas 1 to ``size``. Entering it initialises and opens all but those ``absent``; leaving it closes all."""

    def __init__(
        self,
        size: int,
        *,
        absent: Sequence[int] = (),
        machine: Callable[[], Any] = Store,
        disk: Callable[[], Disk] | None = None,
        config: Config = QUICK,
        clock: Callable[[int], Clock | None] = lambda replica: None,
        seed: int = 1,
        snapshot_after_bytes: int = DEFAULT_SNAPSHOT_AFTER_BYTES,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> None:
        self.ids = list(range(1, size + 1))
        self.wire = Wire()
        self.rng = random.Random(seed)
        self.nodes: dict[int, Node] = {}
        self.machines: dict[int, Any] = {}
        self.disks: dict[int, SlowDisk] = {}
        self.directory = "/data"
        self._absent = absent
        self._machine = machine
        self._disk = disk or (lambda: MemoryDisk(random.Random(self.rng.random())))
        self._config = config
        self._clock = clock
        self._snapshot_after_bytes = snapshot_after_bytes
        self._segment_bytes = segment_bytes
        self.members: dict[ReplicaId, str] = {}

    async def __aenter__(self) -> "Cluster":
        sockets = [socket.socket() for _ in self.ids]
        for replica, sock in zip(self.ids, sockets, strict=True):
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            self.wire.owner_of_port[port] = replica
            self.members[ReplicaId(replica)] = f"127.0.0.1:{port}"
        for sock in sockets:  # all at once, or the kernel might hand out one of them again
            sock.close()
        for replica in self.ids:
            await self.initialise(replica)
            if replica not in self._absent:
                await self.start(replica)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.wire.heal()
        for disk in self.disks.values():
            disk.release()
        await asyncio.gather(*(node.close(timeout_s=0) for node in self.nodes.values()))

    async def initialise(self, replica: int) -> None:
        """A fresh data directory for the replica, on a fresh disk."""
        disk = self.disks[replica] = SlowDisk(self._disk())
        await initialise(
            disk,
            self.directory,
            replica=ReplicaId(replica),
            members=self.members,
            cluster_name="test",
            incarnation=self.rng.randrange(1, 1 << 62),
        )

    async def start(self, replica: int) -> Node:
        """Open the replica's node on what its disk holds."""
        self.machines[replica] = self._machine()
        node = self.nodes[replica] = await Node.open(
            self.directory,
            self.machines[replica],
            config=self._config,
            disk=self.disks[replica],
            network=self.wire.at(replica),
            rng=random.Random(self.rng.random()),
            clock=self._clock(replica),
            snapshot_after_bytes=self._snapshot_after_bytes,
            segment_bytes=self._segment_bytes,
        )
        return node

    def plug_in(self, replica: int) -> Member:
        """A place for a replica that is to join: its address, and the number of a new directory."""
        if ReplicaId(replica) not in self.members:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                port = sock.getsockname()[1]
            self.wire.owner_of_port[port] = replica
            self.members[ReplicaId(replica)] = f"127.0.0.1:{port}"
        return Member(ReplicaId(replica), self.members[ReplicaId(replica)], self.rng.randrange(1, 1 << 62))

    async def join(self, replica: int, leader: Node, change: Change) -> Node:
        """Start the replica, which the change names, on an empty disk, and have the leader take it in."""
        disk = self.disks[replica] = SlowDisk(self._disk())
        identity = Invitation.decode(leader.invitation()).identity_by(change, ReplicaId(replica))
        await write_identity(disk, self.directory, identity)
        self.wire.heal()
        node = await self.start(replica)
        await leader.change(change)
        return node

    async def stop(self, replica: int) -> None:
        """Close it as a person would."""
        await self.nodes.pop(replica).close()

    async def crash(self, replica: int) -> None:
        """End it without a word: nothing that it would still say arrives anywhere."""
        self.wire.unplug(replica)
        await self.nodes.pop(replica)._stop()

    async def leader(self, *among: int) -> Node:
        """Wait until one of these (all by default) leads, all of these follow it, and can serve at once."""
        found: list[Node] = []

        def agreed() -> bool:
            nodes = [self.nodes[replica] for replica in among or self.nodes]
            states = [node.status() for node in nodes]
            found[:] = [node for node, state in zip(nodes, states, strict=True) if state.role == "leader"]
            return (
                len({(state.term, state.leader_id) for state in states}) == 1
                and len(found) == 1
                and all(state.ready for state in states)
            )

        await eventually(agreed, "a leader that all follow")
        return found[0]

    async def followers(self) -> list[Node]:
        """All but the leader."""
        leader = await self.leader()
        return [node for node in self.nodes.values() if node is not leader]
