"""A simulated machine: one disk, one clock, and the lives of one replica, one process after another."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol, TypeAlias

from oarlock.core.config import Config
from oarlock.errors import OarlockError, ReplicaRefused, StartupError
from oarlock.node.node import Node
from oarlock.state_machine import StateMachine
from oarlock.storage.identity import Identity, initialise, write_identity
from oarlock.testing.simulation.disk import SimulatedDisk
from oarlock.testing.simulation.loop import Process, VirtualLoop
from oarlock.testing.simulation.network import HostNetwork, Wires
from oarlock.types import ReplicaId

RAFT_PORT = 7400
CLIENT_PORT = 6379
DIRECTORY = "/data"
SEGMENT_BYTES = 64 * 1024
"""Of the log's files: small, so that the log goes from one to the next in every run."""
ANSWER_S = 3.0
"""How long a replica that is asked to stop goes on as usual with what was asked before."""
RESTART_S = (0.05, 1.5)
"""How long whoever watches over a replica takes to start it again after it has ended by itself."""


def address(replica: int) -> str:
    """Of a replica's host."""
    return f"10.0.0.{replica}"


class HostClock:
    """A clock of its own for each host: it may run fast or slow, and its time of day may jump."""

    def __init__(self, loop: VirtualLoop, origin_s: float, wall_ms: int) -> None:
        self._loop = loop
        self._rate = 1.0
        self._at, self._then = origin_s, loop.now
        self.wall_offset_ms = wall_ms

    def set_rate(self, rate: float) -> None:
        """Seconds of this clock in a second, from now on."""
        self._at, self._then, self._rate = self.monotonic_s(), self._loop.now, rate

    def jump(self, seconds: float) -> None:
        """Go ahead at once, as the clock of a virtual machine does that was moved."""
        self._at += seconds

    def monotonic_s(self) -> float:
        return self._at + (self._loop.now - self._then) * self._rate

    def wall_ms(self) -> int:
        return self.wall_offset_ms + int(self._loop.now * 1000)


class Served(Protocol):
    """What runs beside a node in a replica's process."""

    async def close(self) -> None:
        """Stop in good order, before the node does."""
        ...


Serve: TypeAlias = "Callable[[Node, StateMachine, Host], Awaitable[Served | None]]"
"""Starts what a replica's process runs besides the node: a server, or the program of a library's user."""


class Watcher(Protocol):
    """Who wants to know what happens on hosts."""

    def machine(self, host: Host) -> StateMachine:
        """The state machine for a new life."""
        ...

    def stepped(self, host: Host) -> None:
        """The replica's process has taken an iteration."""
        ...

    def failed(self, host: Host, error: BaseException) -> None:
        """The replica has ended by itself, or could not start."""
        ...


class Host:
    """One machine of the cluster."""

    def __init__(
        self, replica: int, members: dict[ReplicaId, str], wires: Wires, random: Random, config: Config, serve: Serve,
        watcher: Watcher, snapshot_after_bytes: int,
    ) -> None:  # fmt: skip
        self.id = replica
        self.name = f"replica {replica}"
        self.address = address(replica)
        self.loop = wires.loop
        self.random = random
        self.disk = SimulatedDisk(Random(random.random()), self.loop, wires.bite)
        self.disk.lose_power_now = self.lose_power
        self.clock = HostClock(self.loop, random.uniform(0, 1e6), random.randrange(1 << 42))
        self.process: Process | None = None
        self.node: Node | None = None
        self.network: HostNetwork | None = None
        self.lives = 0
        self.powered = True
        self.damaged = False
        """Something on its disk was spoilt: it may refuse to start."""
        self.incarnation = random.randrange(1, 1 << 62)
        """Of its data directory."""
        self.wiped = False
        """Its disk was replaced by an empty one, and it has not become a voter since."""
        self.disk_failed = False
        """Its disk has failed in this life: it may stop."""
        self.broken: str = ""
        """Why it will not be started again."""
        self.paused_s = 0.0
        self._paused_at = 0.0
        self._source = wires.new_source()
        self._members = members
        self._joins: Identity | None = None
        self._snapshot_after_bytes = snapshot_after_bytes
        self._wires = wires
        self._config = config
        self._serve = serve
        self._watcher = watcher
        self._served: Served | None = None
        self._initialised = False

    def join(self, identity: Identity) -> None:
        """Begin with an empty disk as a replica that is about to join the cluster."""
        self._end(silently=False)
        self.disk = self.disk.wiped()
        self._joins, self._initialised = identity, False
        self.incarnation = identity.incarnation
        self.broken = ""
        self.start()

    # Lives

    @property
    def running(self) -> bool:
        """Whether its process runs, or is paused."""
        return self.process is not None

    @property
    def paused(self) -> bool:
        return self.process is not None and self.process.paused

    def start(self) -> None:
        """Start the replica, unless it runs or cannot."""
        if self.process is not None or self.broken or not self.powered:
            return
        self.lives += 1
        process = self.process = self.loop.process(self.name)
        self.disk.attach(process, self._source)
        self.disk_failed = False
        self.network = HostNetwork(self._wires, process, self.address)
        process.after_iteration = self._stepped
        process.start(self._live(process))

    async def _live(self, process: Process) -> None:
        try:
            if not self._initialised and self._joins is not None:
                await write_identity(self.disk, DIRECTORY, self._joins)
                self._initialised = True
            elif not self._initialised:
                await initialise(
                    self.disk, DIRECTORY, replica=ReplicaId(self.id), members=self._members, cluster_name="simulated",
                    incarnation=self.incarnation,
                )  # fmt: skip
                self._initialised = True
            machine = self._watcher.machine(self)
            node = await Node.open(
                DIRECTORY,
                machine,
                config=self._config,
                disk=self.disk,
                network=self.network,
                rng=Random(self.random.random()),
                clock=self.clock,
                segment_bytes=SEGMENT_BYTES,
                snapshot_after_bytes=self._snapshot_after_bytes,
                redis_address=f"{self.address}:{CLIENT_PORT}",
            )
            self.node = node
            self._served = await self._serve(node, machine, self)
            error: BaseException = await node.failed
        except (OarlockError, OSError) as failure:
            error = failure
        self.loop.at(self.loop.now, self._ended, process, error)

    def _ended(self, process: Process, error: BaseException) -> None:
        """The process ends by itself."""
        if process is not self.process:
            return
        self.loop.trace.tell(self.loop.now, self.name, f"ends: {error}")
        self._watcher.failed(self, error)
        self.crash(tell=False)
        if isinstance(error, ReplicaRefused) or (isinstance(error, StartupError) and not _is_full(error)):
            self.broken = str(error)
        else:
            self.loop.after(self.random.uniform(*RESTART_S), self.start)

    def crash(self, tell: bool = True) -> None:
        """End the process at once, as ``kill -9`` does."""
        process = self._end(silently=False)
        if process is not None:
            self.disk = self.disk.kill()
            if tell:
                self.loop.trace.tell(self.loop.now, self.name, "is killed")

    def lose_power(self) -> None:
        """The machine is off at once, and what was not synced may be gone."""
        self.loop.trace.tell(self.loop.now, self.name, "loses power")
        self._end(silently=True)
        self.powered = False
        self._wires.power(self.address, on=False)
        self.disk = self.disk.lose_power()

    def restore_power(self) -> None:
        """The machine is back; the replica starts."""
        if not self.powered:
            self.powered = True
            self._wires.power(self.address, on=True)
            self.loop.trace.tell(self.loop.now, self.name, "has power again")
            self.start()

    def _end(self, silently: bool) -> Process | None:
        process, self.process = self.process, None
        if process is not None:
            self._count_pause()
            process.kill()
            self._wires.abandon(process, silently)
            self.node, self.network, self._served = None, None, None
        return process

    def stop(self) -> None:
        """Ask the process to end in good order, as SIGTERM does."""
        if self.process is not None and self.node is not None:
            self.loop.trace.tell(self.loop.now, self.name, "is asked to stop")
            self.process.start(self._stop(self.process, self.node, self._served))

    async def _stop(self, process: Process, node: Node, served: Served | None) -> None:
        """As ``oarlock serve`` does: answer what was asked already in the usual way, if that is soon; then end the
        node, which answers the rest."""
        closing = asyncio.ensure_future(served.close()) if served is not None else None
        if closing is not None:
            await asyncio.wait((closing, node.failed), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        await node.close()
        if closing is not None:
            await closing
        self.loop.at(self.loop.now, self._stopped, process)

    def _stopped(self, process: Process) -> None:
        if process is self.process:
            self.loop.trace.tell(self.loop.now, self.name, "has stopped")
            self.crash(tell=False)
            self.loop.after(self.random.uniform(*RESTART_S), self.start)

    def pause(self) -> None:
        """SIGSTOP."""
        if self.process is not None and not self.process.paused:
            self._paused_at = self.loop.now
            self.process.pause()
            self.loop.trace.tell(self.loop.now, self.name, "is paused")

    def resume(self) -> None:
        """SIGCONT."""
        if self.process is not None and self.process.paused:
            self._count_pause()
            self.process.resume()
            self.loop.trace.tell(self.loop.now, self.name, "goes on")

    def _count_pause(self) -> None:
        if self.process is not None and self.process.paused:
            self.paused_s += self.loop.now - self._paused_at

    def _stepped(self) -> None:
        if self.node is not None:
            self._watcher.stepped(self)

    def source(self) -> int:
        """A source of events of its own."""
        return self._wires.new_source()


def _is_full(error: BaseException) -> bool:
    cause: Any = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return True
        cause = cause.__cause__
    return "there is no room" in str(error)
