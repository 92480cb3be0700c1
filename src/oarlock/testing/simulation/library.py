"""A user's own state machine as the subject of a simulation: proposed to and read from through the library.

    def test_counter() -> None:
        simulate(Counter, use_counter)

Nothing needs to be said about what is right: every replica must come to the same results and the same states, every
result must be that of one copy that executes one command after another, and errors must tell the truth.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown, Unavailable
from oarlock.node.node import Node
from oarlock.state_machine import StateMachine
from oarlock.testing.simulation.host import Host, Served
from oarlock.testing.simulation.loop import Process
from oarlock.testing.simulation.record import Call
from oarlock.testing.simulation.run import Plan, Verdict, run
from oarlock.testing.simulation.shrink import shrunk
from oarlock.testing.simulation.subject import PATIENCE_S
from oarlock.types import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oarlock.testing.simulation.cluster import Cluster

Use: TypeAlias = "Callable[[Session, Random], Awaitable[None]]"
"""One thing that a client does: it proposes and reads, a few times at most, and returns."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes)


class SimulationFailed(AssertionError):
    """A run went wrong. The message says what, under which seed, and with which faults."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


def simulate(
    machine: Callable[[], StateMachine],
    use: Use,
    *,
    seeds: Iterable[int] = range(20),
    replicas: int = 3,
    profile: str = "mixed",
    seconds: float = 10.0,
    clients: int = 4,
    state: Callable[[Any], object] | None = None,
    invariant: Callable[[Any], None] | None = None,
    another_hash_seed: bool = True,
) -> list[Verdict]:
    """Replicate ``machine()`` in a simulated world of faults, let clients ``use`` it, and judge what became of it.

    ``profile`` names a mix of faults (:data:`~oarlock.testing.simulation.faults.PROFILES`), ``seconds`` are virtual.
    ``state`` gives what must be equal on replicas that applied the same, by default everything that the machine's
    attributes hold; ``invariant`` is called with a machine now and then, and raises AssertionError where it is broken.
    ``another_hash_seed``: carry out the first run once more in a process in which strings hash differently, which finds
    what depends on the order of a set; ``machine`` and ``use`` must then stand at the top of a module.

    :raises SimulationFailed: with the seed, and the fewest faults with which it still fails.
    """
    subject = Library(machine, use, state, invariant)
    verdicts: list[Verdict] = []
    for seed in seeds:
        plan = Plan(seed, profile, replicas, seconds, clients)
        verdict = run(plan, subject)
        if not verdict.ok:
            raise _failure(plan, verdict, subject)
        if another_hash_seed and not verdicts:
            other = _run_elsewhere(plan, subject)
            if other.trace_hash != verdict.trace_hash:
                raise SimulationFailed(
                    f"seed {seed} went differently in a process in which strings hash differently: something depends "
                    "on the order of a set, on id(), or on the process in another way",
                    other,
                )
        verdicts.append(verdict)
    return verdicts


def _failure(plan: Plan, verdict: Verdict, subject: Library) -> SimulationFailed:
    if verdict.vacuous and not verdict.violations:
        return SimulationFailed(f"seed {plan.seed} proves too little: {verdict.vacuous}", verdict)
    fewest = shrunk(plan, verdict, subject)
    last = run(fewest, subject, keep_story=True)
    lines = [
        f"seed {plan.seed}: {last.violations[0]}",
        f"It fails with {len(last.schedule)} of {len(verdict.schedule)} faults:",
        *(f"  {fault}" for fault in last.schedule),
        "The end of the story:",
        *(f"  {line}" for line in last.story[-20:]),
    ]
    return SimulationFailed("\n".join(lines), last)


def _run_elsewhere(plan: Plan, subject: Library) -> Verdict:
    with _hash_seed("1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"):
        pool = multiprocessing.get_context("spawn").Pool(1)
    with pool:
        return pool.apply(run, (plan, subject))


@contextmanager
def _hash_seed(seed: str) -> Iterator[None]:
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = seed
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


class Library:
    """A :class:`~oarlock.testing.simulation.subject.Subject`: a state machine, and what its clients do."""

    def __init__(
        self,
        machine: Callable[[], StateMachine],
        use: Use,
        state: Callable[[Any], object] | None,
        invariant: Callable[[Any], None] | None,
    ) -> None:
        self.machine = machine
        self.use = use
        self._state = state or contents
        self._invariant = invariant

    # A command stands in the log with the mark of its call before it.

    def command(self, logged: Command) -> Command:
        assert isinstance(logged, tuple)
        return logged[1] if logged[0].startswith(b"bytes") else logged[1:]

    def markers(self, logged: Command) -> Iterable[Hashable]:
        return (logged[0],)

    def told(self, result: Any) -> Any:
        return result

    def digest(self, machine: StateMachine) -> object:
        inner = getattr(machine, "_machine", machine)
        if self._invariant is not None:
            self._invariant(inner)
        return self._state(inner)

    async def serve(self, node: Node, machine: StateMachine, host: Host) -> Served | None:
        return None

    def client(self, number: int, cluster: Cluster, random: Random) -> Person:
        return Person(number, cluster, random, self.use)

    def judge(self, cluster: Cluster) -> Iterable[str]:
        return ()


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
        """
        self._calls += 1
        mark = b"%b %d.%d" % (b"bytes" if isinstance(command, bytes) else b"tuple", self._number, self._calls)
        logged = (mark, command) if isinstance(command, bytes) else (mark, *command)
        return await self._ask(lambda node: node.propose(logged), command, None, mark)

    async def read(self, query: Any) -> Any:
        """As :meth:`oarlock.Node.read`, at some replica.

        :raises OarlockError: nothing was read; safe to retry.
        """
        return await self._ask(lambda node: node.read(query), query, query, None)

    async def _ask(self, ask: Callable[[Node], Awaitable[Any]], shown: Any, query: Any, marker: bytes | None) -> Any:
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
        record.end(call, "ok", result, loop.now)
        return result

    async def _patiently(self, answer: asyncio.Future[Any], host: Host, call: Call) -> Any:
        life, paused_s = host.lives, host.paused_s
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await asyncio.shield(answer)
            except TimeoutError:
                if host.running and host.lives == life and not host.paused and host.paused_s == paused_s:
                    raise AssertionError(f"no answer after {PATIENCE_S:g} s: {call}") from None
                paused_s = host.paused_s  # the replica cannot know that time has passed

    async def _reachable(self) -> Host:
        for _ in range(100):
            if self._host.node is not None and self._host.process is not None:
                return self._host
            self._host = self._random.choice(self._cluster.hosts)
            await asyncio.sleep(self._random.uniform(0, 0.1))
        raise Unavailable("no replica can be reached")

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

        self._cluster.loop.after(self.latency_s(), self._process.post, self._source, arrives)

    @property
    def loop(self) -> Any:
        return self._cluster.loop


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

    def __init__(self, number: int, cluster: Cluster, random: Random, use: Use) -> None:
        self.process = cluster.loop.process(f"client {number}")
        self.stopping = False
        self.complaints: list[str] = []
        self._random = random
        self._pause_s = random.choice((0.02, 0.1, 0.3))
        self._session = Session(number, cluster, random, self.process)
        self._use = use
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
        while not self.stopping:
            try:
                await self._use(self._session, self._random)
            except OarlockError:
                pass  # it gave up; what it was told is on record
            except AssertionError as error:
                self.complaints.append(f"{self.name}: {error!r}")
                return
            await asyncio.sleep(self._random.expovariate(1 / self._pause_s))


def contents(value: Any) -> object:
    """What an object holds, as something that can be compared; the order of a dict or a set does not matter."""
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, dict):
        return ("dict", sorted((repr(contents(key)), repr(contents(item))) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return ("set", sorted(repr(contents(item)) for item in value))
    if isinstance(value, Iterable) and not hasattr(value, "__next__"):
        return (type(value).__name__, [contents(item) for item in value])
    names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
    return (type(value).__name__, [(name, contents(getattr(value, name, None))) for name in names])
