"""How a client of a user's program reaches the state machine in a simulated cluster, and what such a client is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown, Unavailable
from oarlock.node.intake import is_command
from oarlock.node.node import Node
from oarlock.testing.simulation.host import Host
from oarlock.testing.simulation.loop import Process, VirtualLoop
from oarlock.testing.simulation.record import Call
from oarlock.testing.simulation.subject import PATIENCE_S, Patience
from oarlock.types import Command

if TYPE_CHECKING:
    from oarlock.testing.simulation.cluster import Cluster

Use: TypeAlias = "Callable[[Session, Random], Awaitable[None]]"
"""One thing that a client does: it proposes and reads, a few times at most, and returns."""

PAUSES_S = (0.2, 0.5, 1.5)
"""How long clients wait on average between two uses; each has one of these for its own."""
HURRY = 0.1
"""How often a client goes on at once instead, so that there are moments with much to do."""


def marked(command: Command, mark: bytes) -> Command:
    """The command as it stands in the log: with what its call can be told by before it."""
    return (b"bytes " + mark, command) if isinstance(command, bytes) else (b"tuple " + mark, *command)


def unmarked(logged: Command) -> Command:
    """The command as its client proposed it."""
    assert isinstance(logged, tuple)
    return logged[1] if logged[0].startswith(b"bytes") else logged[1:]


def said(error: Exception) -> str:
    """An error in one line. An assertion speaks for itself; what a test runner adds to it stands below its first."""
    words = str(error).splitlines()
    return words[0] if isinstance(error, AssertionError) and words else repr(error)


class Session:
    """How a client reaches the state machine: at one replica after another, as each is there."""

    def __init__(self, number: int, cluster: Cluster, random: Random, process: Process) -> None:
        self._number = number
        self._cluster = cluster
        self._random = random
        self._process = process
        self._source = cluster.wires.new_source()
        self._host = random.choice(cluster.hosts)
        self._calls = 0

    async def propose(self, command: Command) -> Any:
        """As :meth:`oarlock.Node.propose`, at some replica.

        :raises NotExecuted: it was not executed and never will be; safe to retry.
        :raises OutcomeUnknown: nobody knows, the replica's process may have ended meanwhile.
        :raises TypeError: it is no command.
        """
        if not is_command(command):
            raise TypeError(f"a command is bytes or a tuple of bytes, not {command!r:.80}")
        self._calls += 1
        logged = marked(command, b"%d.%d" % (self._number, self._calls))
        return await self._ask(lambda node: node.propose(logged), command, None, logged[0])

    async def read(self, query: Any) -> Any:
        """As :meth:`oarlock.Node.read`, at some replica.

        :raises OarlockError: nothing was read; safe to retry.
        """
        return await self._ask(lambda node: node.read(query), query, query, None)

    async def _ask(self, ask: Callable[[Node], Awaitable[Any]], shown: Any, query: Any, marker: Any) -> Any:
        host = await self._reachable()
        record, loop = self._cluster.record, self._cluster.loop
        call = record.begin(Call(self._number, host.id, shown, record.tick(), loop.now, query, marker))
        answer: asyncio.Future[Any] = loop.create_future()
        try:
            _Errand(self, host, answer).send(ask)
            result = await self._patiently(answer, host, call)
        except asyncio.CancelledError:
            record.end(call, "unknown", None, loop.now)
            raise
        except OarlockError as error:
            record.end(call, "failed" if isinstance(error, NotExecuted) else "unknown", repr(error), loop.now)
            if self._random.random() < 0.5:
                self._host = self._random.choice(self._cluster.hosts)
            raise
        record.end(call, "ok", self._cluster.subject.told(result), loop.now)
        return result

    async def _patiently(self, answer: asyncio.Future[Any], host: Host, call: Call) -> Any:
        patience = Patience(host)
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await asyncio.shield(answer)
            except TimeoutError:
                if patience.is_over():
                    raise AssertionError(f"no answer after {PATIENCE_S:g} s: {call}") from None

    async def _reachable(self) -> Host:
        for _ in range(100):
            if self._host.node is not None and self._host.process is not None:
                return self._host
            self._host = self._random.choice(self._cluster.hosts)
            await asyncio.sleep(self._random.uniform(0, 0.1))
        raise Unavailable("no replica can be reached")

    @property
    def loop(self) -> VirtualLoop:
        """The world's."""
        return self._cluster.loop

    def latency_s(self) -> float:
        """Of one way to a replica."""
        return self._random.uniform(*self._cluster.wires.latency_s)

    def answered(self, answer: asyncio.Future[Any], result: Any, error: OarlockError | None) -> None:
        """The answer is on its way."""

        def arrives() -> None:
            if not answer.done():
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(result)

        self.loop.after(self.latency_s(), self._process.post, self._source, arrives)


class _Errand:
    """One question, to the replica and back."""

    def __init__(self, session: Session, host: Host, answer: asyncio.Future[Any]) -> None:
        self._session = session
        self._answer = answer
        assert host.process is not None
        assert host.node is not None
        self._process, self._node = host.process, host.node

    def send(self, ask: Callable[[Node], Awaitable[Any]]) -> None:
        self._process.on_death.append(self._lost)
        self._session.loop.after(self._session.latency_s(), self._arrive, ask)

    def _arrive(self, ask: Callable[[Node], Awaitable[Any]]) -> None:
        if self._process.alive:
            self._process.start(self._carry_out(ask))

    async def _carry_out(self, ask: Callable[[Node], Awaitable[Any]]) -> None:
        try:
            self._session.answered(self._answer, await ask(self._node), None)
        except OarlockError as error:
            self._session.answered(self._answer, None, error)
        self._process.on_death.remove(self._lost)

    def _lost(self) -> None:
        self._session.answered(self._answer, None, OutcomeUnknown("the replica's process ended"))


class Person:
    """A client: a :class:`~oarlock.testing.simulation.subject.Participant`."""

    complaints = ()

    def __init__(
        self, number: int, cluster: Cluster, random: Random, use: Use, raised: Callable[[Exception], None]
    ) -> None:
        """``raised`` is told what ``use`` raises that no client need expect; the run is over then."""
        self.process = cluster.loop.process(f"client {number}")
        self.stopping = False
        self._cluster = cluster
        self._random = random
        self._pause_s = random.choice(PAUSES_S)
        self._session = Session(number, cluster, random, self.process)
        self._use = use
        self._raised = raised
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def done(self) -> bool:
        return self._task is not None and self._task.done()

    def start(self) -> None:
        self._task = self.process.start(self._run())

    async def _run(self) -> None:
        random = self._random
        while not self.stopping:
            try:
                await self._use(self._session, random)
            except OarlockError:
                pass  # it gave up; what it was told is on record
            except Exception as error:
                self._raised(error)
                self._cluster.violated(f"{self.name}: {said(error)}")
                return
            if random.random() >= HURRY:
                await asyncio.sleep(random.expovariate(1 / self._pause_s))
            else:
                await asyncio.sleep(0)  # a use that never waits must not stop the world
