"""An empty world for tests of its parts: a loop, wires, processes; and protocols that write down what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

from oarlock.testing.simulation.loop import Process, VirtualLoop
from oarlock.testing.simulation.network import HostNetwork, Wires
from oarlock.testing.simulation.trace import Trace


class World:
    """A world of processes that do as the test says."""

    def __init__(self, seed: int = 1) -> None:
        self.trace = Trace(keep=True)
        self.loop = VirtualLoop(Random(seed), self.trace)  # type: ignore[abstract]
        self.wires = Wires(self.loop, Random(seed))
        self.processes: dict[str, Process] = {}

    def process(self, name: str = "a") -> Process:
        """The process of this name; its host is called the same."""
        if name not in self.processes or not self.processes[name].alive:
            self.processes[name] = self.loop.process(name)
        return self.processes[name]

    def network(self, name: str) -> HostNetwork:
        return HostNetwork(self.wires, self.process(name), name)

    def go(self, until: float = 60.0) -> None:
        """Let it go on to a time."""
        self.loop.run(until)

    def result(self, coroutine: Coroutine[Any, Any, Any], name: str = "a", until: float = 60.0) -> Any:
        """What a coroutine in a process comes to."""
        task = self.process(name).start(coroutine)
        assert self.loop.run(until, task.done), "it does not end"
        return task.result()


class Notes(asyncio.Protocol):
    """Writes down what its transport tells it, and when."""

    transport: asyncio.Transport

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.told: list[Any] = []
        self.at: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self._note(data)

    def eof_received(self) -> None:
        self._note("end")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note(("lost", type(exc)))

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    @property
    def data(self) -> bytes:
        """All bytes that have come."""
        return b"".join(told for told in self.told if isinstance(told, bytes))

    @property
    def events(self) -> list[Any]:
        """All else."""
        return [told for told in self.told if not isinstance(told, bytes)]

    def _note(self, what: Any) -> None:
        self.told.append(what)
        self.at.append(self.loop.now)


class Pair:
    """A stream from host a to host b, and what its ends are told."""

    def __init__(self, world: World, *, clients: bool = True) -> None:
        self.world = world
        self.a, self.b = Notes(world.loop), Notes(world.loop)
        network = world.network("b")
        listen = (
            network.listen_for_clients(lambda: self.b, "b", 1) if clients else network.listen("b", 1, lambda: self.b)
        )
        self.listener = world.result(listen, "b")
        world.result(world.network("a").dial("b", 1, lambda: self.a))
        world.go(world.loop.now + 0.1)
        assert (self.a.told, self.b.told) == (["made"], ["made"])

    def send(self, data: bytes, frm: str = "a") -> None:
        """Write at one end."""
        notes = self.a if frm == "a" else self.b
        self.do(frm, lambda: notes.transport.write(data))

    def do(self, name: str, action: Any) -> None:
        """Let a process do something, at once."""
        done: list[Any] = []
        self.world.processes[name].post(1, lambda: done.append(action()))
        assert self.world.loop.run(self.world.loop.now + 1, lambda: done)

    def go(self, seconds: float = 1.0) -> None:
        self.world.go(self.world.loop.now + seconds)
