"""Applies committed entries to the state machine and answers queries from it.

Whatever the state machine raises is an error of this machine or a bug, never a result: it stops the replica.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from types import GeneratorType
from typing import Any, TypeAlias

from oarlock.errors import NotExecuted, OarlockError, ReplicaFailed
from oarlock.node.batch import decode_batch
from oarlock.node.reads import QueryGroup
from oarlock.node.sink import PlacedQuery, tell
from oarlock.node.writes import Writes
from oarlock.state_machine import Position, StateMachine
from oarlock.types import Boot, Command, Entry, EntryKind, Index, ReplicaId, Slice, SnapshotPoint, Term

Origins: TypeAlias = dict[ReplicaId, tuple[Boot, Term, int]]
"""For each origin the boot, the term and the number after the last of its slice that was applied last."""


class Applier:
    """The only one who touches the state machine."""

    def __init__(self, machine: StateMachine, writes: Writes) -> None:
        self._machine = machine
        self._writes = writes
        self.origins: Origins = {}
        self._decoded: dict[Index, tuple[Slice, ...]] = {}
        """Batches that this replica proposed itself and need not decode again."""
        self._time_ms = 0
        """Log time of the last entry that was applied."""
        self._long_answers: deque[tuple[list[Any], QueryGroup]] = deque()

    def proposed(self, index: Index, slices: Sequence[Slice]) -> None:
        """Keep the slices of an entry that this replica encoded itself."""
        self._decoded[index] = tuple(slices)

    def leadership_ended(self) -> None:
        """Other entries may come to stand at the indexes proposed here."""
        self._decoded.clear()

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply the entries in order; own slices answer their clients."""
        writes = self._writes
        for entry in entries:
            self._time_ms = entry.time_ms
            writes.term_applied(entry.term)
            if entry.kind == EntryKind.BATCH:
                slices = self._decoded.pop(entry.index, None) or decode_batch(entry.payload)
                at = Position(entry.index, entry.time_ms)
                for piece in slices:
                    placed = writes.placed_in(piece, entry.term)
                    results = self._apply(piece.commands, at) if not placed else self._weave(piece.commands, placed, at)
                    self.origins[piece.origin] = (piece.boot, entry.term, piece.first + len(piece.commands))
                    writes.applied(piece, entry.term, results)
            elif entry.kind == EntryKind.CLOCK:
                self._apply((), Position(entry.index, entry.time_ms))
            elif entry.kind not in (EntryKind.SENTINEL, EntryKind.CONFIGURATION):
                raise ReplicaFailed(f"entry {entry.index} is of kind {entry.kind}, which this version does not know")

    def _apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        try:
            results = self._machine.apply(commands, at)
        except Exception as error:
            raise ReplicaFailed(f"the state machine failed to apply entry {at.index}: {error!r}", error) from error
        if len(results) != len(commands):
            raise ReplicaFailed(
                f"the state machine gave {len(results)} results for the {len(commands)} commands of entry "
                f"{at.index}: nobody knows which result is whose"
            )
        return results

    @property
    def can_snapshot(self) -> bool:
        """Whether the state machine can give an image of its state, and take one."""
        return hasattr(self._machine, "snapshot") and hasattr(self._machine, "restore")

    def image(self) -> Iterable[bytes]:
        """The state of this moment, in pieces.

        :raises NotExecuted: the state machine gives none
        """
        if not self.can_snapshot:
            raise NotExecuted("the state machine has no snapshot() and restore()")
        pieces: Iterable[bytes] = self._machine.snapshot()  # type: ignore[attr-defined]
        return pieces

    async def restore(self, pieces: AsyncIterator[bytes], origins: Origins, point: SnapshotPoint) -> None:
        """Replace the state by that of a snapshot, which stands at ``point``. Nothing is applied meanwhile."""
        if not self.can_snapshot:
            raise ReplicaFailed("there is a snapshot, but the state machine has no restore()")
        try:
            await self._machine.restore(pieces)  # type: ignore[attr-defined]
        except (OSError, OarlockError):
            raise
        except Exception as error:
            raise ReplicaFailed(f"the state machine failed to take a snapshot: {error!r}", error) from error
        self.origins = dict(origins)
        self._time_ms = point.time_ms
        self._writes.restored(origins, point.term)

    def _weave(self, commands: Sequence[Command], placed: Sequence[PlacedQuery], at: Position) -> list[Any]:
        """Apply commands, and answer each query where it stands among them; the results in that order."""
        results: list[Any] = []
        done = 0
        for position, together in groupby(placed, key=itemgetter(0)):
            if position > done:
                results += self._apply(commands[done:position], at)
                done = position
            results += self._query([query for _, query in together], at)
        if done < len(commands):
            results += self._apply(commands[done:], at)
        return results

    def _query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        try:
            results = self._machine.query(queries, at)
        except Exception as error:
            raise ReplicaFailed(f"the state machine failed to answer a query: {error!r}", error) from error
        if len(results) != len(queries):
            raise ReplicaFailed(f"the state machine gave {len(results)} answers to {len(queries)} queries")
        return results

    @property
    def next_due_ms(self) -> int | None:
        """Log time at which the state machine wants a clock entry, if it is one that does."""
        due = getattr(self._machine, "next_due_ms", None)
        return None if due is None else int(due)

    def answer(self, groups: Sequence[QueryGroup], applied: Index, time_ms: int) -> None:
        """Answer groups of queries from the present state, everything up to ``applied``. ``time_ms`` is the leader's
        log time when they were confirmed."""
        if not groups:
            return
        # A confirmation is a while on its way to a follower, and what is applied here may be younger by then.
        time_ms = max(time_ms, self._time_ms)
        queries = groups[0].queries if len(groups) == 1 else [query for group in groups for query in group.queries]
        results = self._query(queries, Position(applied, time_ms))
        in_steps = GeneratorType in map(type, results)
        start = 0
        for group in groups:
            end = start + len(group.queries)
            own = results[start:end]
            start = end
            if in_steps and GeneratorType in map(type, own):
                self._long_answers.append((list(own), group))
            elif group.sink is not None:  # one told before may have ended this one
                tell(group.sink.resolved, own)

    @property
    def has_long_answers(self) -> bool:
        """Whether ``step`` has something to do."""
        return bool(self._long_answers)

    def step(self) -> None:
        """Go one step on with one answer that is given in steps; a turn takes one, so that none stalls the loop."""
        results, group = self._long_answers.popleft()
        for position, result in enumerate(results):
            if isinstance(result, GeneratorType):
                try:
                    next(result)
                except StopIteration as finished:
                    results[position] = finished.value
                except Exception as error:
                    raise ReplicaFailed(f"the state machine failed to answer a query: {error!r}", error) from error
                self._long_answers.append((results, group))
                return
        if group.sink is not None:
            tell(group.sink.resolved, results)

    def fail_all(self, error: NotExecuted) -> None:
        """This replica stops: answers that are not finished never will be."""
        unfinished, self._long_answers = self._long_answers, deque()
        for _, group in unfinished:
            if group.sink is not None:
                tell(group.sink.failed, error)
