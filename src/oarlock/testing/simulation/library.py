"""A user's own state machine as the subject of a simulation: proposed to and read from through the library.

    def test_counter() -> None:
        simulate(Counter, use_counter)

Nothing needs to be said about what is right: every replica must come to the same results and the same states, every
result must be that of one copy that executes one command after another, and errors must tell the truth.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from inspect import isawaitable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from oarlock.errors import OarlockError
from oarlock.node.node import Node
from oarlock.state_machine import Position, StateMachine
from oarlock.testing.simulation.applied import Divergence, unobserved
from oarlock.testing.simulation.contents import contents
from oarlock.testing.simulation.host import Host, Served
from oarlock.testing.simulation.session import Person, Use, said, unmarked
from oarlock.types import Command

if TYPE_CHECKING:
    from oarlock.testing.simulation.cluster import Cluster

STATE_CHECKED_EVERY = 8
"""Of so many calls of ``query``, one is checked for having changed the state."""


class MachineAtFault(Divergence):
    """The state machine broke its contract, whatever the others did."""


class Program(msgspec.Struct, frozen=True):
    """What a user brings along. Can be sent to another process if its functions stand at the top of a module."""

    machine: Callable[[], StateMachine]
    use: Use
    state: Callable[[Any], object] | None = None
    invariant: Callable[[Any], bool | None] | None = None


class Told:
    """A result as a client sees it: equal to another that holds the same, and shown as it is."""

    def __init__(self, result: Any) -> None:
        self._contents = contents(result)
        self._shown = repr(result)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and self._contents == other._contents

    def __repr__(self) -> str:
        return self._shown


class Outcome(msgspec.Struct, frozen=True):
    """What one command did."""

    index: int
    command: Command | None
    shown: str
    contents: Any


class Library:
    """A :class:`~oarlock.testing.simulation.subject.Subject`: a state machine, and what its clients do. For one run."""

    def __init__(self, program: Program) -> None:
        self.raised: Exception | None = None
        """What the state machine or ``use`` raised, if that is what went wrong."""
        self.outcomes: list[Outcome] = []
        """When the run is over: what was applied, and with what results."""
        self.states: dict[int, object] = {}
        """When the run is over: the states after some indexes."""
        self._program = program

    def machine(self) -> StateMachine:
        return _Checked(self._program.machine(), self._state_of, self._program.invariant, self._remember)

    def command(self, logged: Command) -> Command:
        return unmarked(logged)

    def markers(self, logged: Command) -> Iterable[Hashable]:
        return (logged[0],)

    def told(self, result: Any) -> Any:
        return Told(result)

    def digest(self, machine: StateMachine) -> object:
        checked = unobserved(machine)
        assert isinstance(checked, _Checked)
        return self._state_of(checked.machine)

    async def serve(self, node: Node, machine: StateMachine, host: Host) -> Served | None:
        return None

    def client(self, number: int, cluster: Cluster, random: Random) -> Person:
        return Person(number, cluster, random, self._program.use, self._remember)

    def judge(self, cluster: Cluster) -> Iterable[str]:
        self.outcomes = [
            Outcome(
                applied.at.index,
                None if applied.command is None else unmarked(applied.command),
                repr(applied.result),
                contents(applied.result),
            )
            for applied in cluster.history.applied
        ]
        self.states = dict(sorted(cluster.history.digests.items()))
        for host in cluster.hosts:
            if host.node is not None:
                self.states[host.node._raft.applied_index] = cluster.digest_now(host)
        return ()

    def _state_of(self, machine: Any) -> object:
        return contents(machine if self._program.state is None else self._program.state(machine))

    def _remember(self, error: Exception) -> None:
        self.raised = self.raised or error


class _Checked:
    """A state machine held to its contract; what it breaks is said in a sentence."""

    def __init__(
        self,
        machine: Any,
        state: Callable[[Any], object],
        invariant: Callable[[Any], bool | None] | None,
        raised: Callable[[Exception], None],
    ) -> None:
        self.machine = machine
        self._state = state
        self._invariant = invariant
        self._raised = raised
        self._queried = 0

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.machine, name)  # it has only what the machine has: a node goes by that
        checked: dict[str, Callable[..., Any]] = {"snapshot": self._snapshot, "restore": self._restore}
        return partial(checked[name], attribute) if name in checked else attribute

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        try:
            results = self.machine.apply(commands, at)
        except Exception as error:
            self._raised(error)
            raise MachineAtFault(f"apply raised {error!r:.200} at index {at.index}, given {commands!r:.200}") from error
        self._check_count("apply", results, "results", len(commands), "commands")
        try:
            self._require_invariant()
        except Exception as error:
            self._raised(error)
            raise MachineAtFault(
                f"the invariant does not hold after {commands!r:.200} at index {at.index}: {said(error)}"
            ) from error
        return [_copy(result) for result in results]

    def _require_invariant(self) -> None:
        if self._invariant is None:
            return
        holds = self._invariant(self.machine)
        if holds is False:
            raise AssertionError("it returned False")
        if holds is not None and holds is not True:  # a coroutine, a list of what is wrong: nobody would look at it
            raise TypeError(f"an invariant raises AssertionError or returns a bool; this one returned {holds!r:.80}")

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        self._queried += 1
        checks = self._queried % STATE_CHECKED_EVERY == 1
        before = self._state(self.machine) if checks else None
        try:
            answers = self.machine.query(queries, at)
        except Exception as error:
            self._raised(error)
            raise MachineAtFault(f"query raised {error!r:.200}, given {queries!r:.200}") from error
        self._check_count("query", answers, "answers", len(queries), "queries")
        if checks and self._state(self.machine) != before:
            raise MachineAtFault(f"query changed the state, given {queries!r:.200}: other replicas do not hear of that")
        return [_copy(answer) for answer in answers]

    def _snapshot(self, snapshot: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
        with self._at_fault("snapshot raised"):
            pieces = snapshot()
        if isinstance(pieces, bytes | str) or not isinstance(pieces, Iterable):
            raise MachineAtFault(f"snapshot returned {pieces!r:.80}, which is not pieces of bytes, one after another")
        return self._pieces(pieces)

    def _pieces(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        following = iter(pieces)
        while True:
            with self._at_fault("snapshot raised, when it was asked for a piece,"):
                piece = next(following, None)
            if piece is None:
                return
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise MachineAtFault(f"snapshot gave {piece!r:.80} as a piece, which is not bytes")
            yield piece

    async def _restore(
        self, restore: Callable[[AsyncIterator[bytes]], Awaitable[None]], pieces: AsyncIterator[bytes]
    ) -> None:
        restoring = restore(pieces)
        if not isawaitable(restoring):
            raise MachineAtFault("restore cannot be awaited: it begins with `async def restore(self, pieces)`")
        with self._at_fault("restore raised", but=(OSError, OarlockError)):  # they come from reading the pieces
            await restoring

    @contextmanager
    def _at_fault(self, what: str, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """What is raised within is the machine's fault, with some exceptions."""
        try:
            yield
        except but:
            raise
        except Exception as error:
            self._raised(error)
            raise MachineAtFault(f"{what} {error!r:.200}") from error

    def _check_count(self, method: str, results: Any, what: str, count: int, of_what: str) -> None:
        if not isinstance(results, Sequence):
            raise MachineAtFault(f"{method} returned {results!r:.80}, which is no sequence of {what}")
        if len(results) != count:
            raise MachineAtFault(f"{method} returned {len(results)} {what} for {count} {of_what}")


def _copy(result: Any) -> Any:
    """A result as it is now, should it be a part of the state that changes later."""
    if isinstance(result, bytes | str | int | float | None) or hasattr(result, "__next__"):
        return result
    try:
        return deepcopy(result)
    except Exception:  # it holds something that nobody can copy
        return result
