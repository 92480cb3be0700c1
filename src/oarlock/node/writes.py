"""The fate of this replica's writes: waiting, cut into slices, decided by what is applied.

A slice cut for the leader of term T can only ever stand in an entry of term T, and terms never go back along the
log. So the origin always learns its fate: it applies the slice, or it **applies** the first entry of a later term
without having seen it, and then the slice was not executed and never will be: the same commands, in order, go to
the next leader. Leader and follower alike answer their clients from their own apply.

Two rules keep each connection's order: nothing is cut for a new term while a slice of an earlier one is undecided,
and what a leader took of a stream is a prefix of it (``intake.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown, ReplicaFailed, Unavailable
from oarlock.node.api import Sink
from oarlock.node.batch import BATCH_BYTES
from oarlock.types import Boot, Command, ReplicaId, Slice, Term

WINDOW_BYTES = 16 * BATCH_BYTES
"""Bytes of undecided slices; more wait uncut, since an origin must be able to send all of them again."""


class Group(msgspec.Struct):
    """Commands that came together and stay together, and where their outcome goes."""

    commands: Sequence[Command]
    size_bytes: int
    sink: Sink | None
    """None once an outcome was reported: whatever happens now, nobody waits for it."""
    deadline: float


class Cut(msgspec.Struct, frozen=True):
    """A slice on its way, and the groups in it."""

    slice: Slice
    groups: list[Group]
    size_bytes: int


class Writes:
    """All writes that came to this replica and whose fate is open."""

    def __init__(self, origin: ReplicaId, boot: Boot) -> None:
        self._origin = origin
        self._boot = boot
        self._waiting: deque[Group] = deque()
        self._undecided: deque[Cut] = deque()
        self._term = Term(0)
        """The term for which the undecided slices were cut."""
        self._next_number = 1
        self._undecided_bytes = 0
        self.held_bytes = 0
        """Size of all groups held, for back-pressure."""

    def __bool__(self) -> bool:
        return bool(self._waiting or self._undecided)

    def add(self, group: Group) -> None:
        """Take a group; it waits to be cut."""
        self._waiting.append(group)
        self.held_bytes += group.size_bytes

    def cut(self, term: Term) -> Slice | None:
        """The next slice for the leader of ``term``, or None if there is nothing to cut, or not yet."""
        if not self._waiting or self._undecided_bytes >= WINDOW_BYTES:
            return None
        if term != self._term:
            if self._undecided:
                return None  # a later write must not overtake an earlier one whose fate is open
            self._term, self._next_number = term, 1
        groups: list[Group] = []
        commands: list[Command] = []
        size_bytes = 0
        waiting = self._waiting
        while waiting and (not groups or size_bytes + waiting[0].size_bytes <= BATCH_BYTES):
            group = waiting.popleft()
            if group.sink is None:
                self.held_bytes -= group.size_bytes
                continue
            groups.append(group)
            commands += group.commands
            size_bytes += group.size_bytes
        if not groups:
            return None
        piece = Slice(self._origin, self._boot, self._next_number, tuple(commands))
        self._next_number += len(commands)
        self._undecided.append(Cut(piece, groups, size_bytes))
        self._undecided_bytes += size_bytes
        return piece

    def undecided_slices(self, term: Term, from_number: int = 1) -> Iterator[Slice]:
        """The cuts for ``term`` to send again, identical to the first time."""
        if term == self._term:
            for cut in self._undecided:
                if cut.slice.first >= from_number:
                    yield cut.slice

    def applied(self, piece: Slice, term: Term, results: Sequence[Any]) -> None:
        """A slice was applied. If it is one of ours, its groups have their results."""
        if piece.origin != self._origin or piece.boot != self._boot:
            return
        cut = self._undecided.popleft() if self._undecided else None
        if cut is None or term != self._term or cut.slice.first != piece.first:
            raise ReplicaFailed(f"slice {piece.first} of term {term} was applied, but is not the one that was due")
        self._undecided_bytes -= cut.size_bytes
        self.held_bytes -= cut.size_bytes
        groups = cut.groups
        if len(groups) == 1:
            if groups[0].sink is not None:
                groups[0].sink.resolved(results)
            return
        start = 0
        for group in groups:
            end = start + len(group.commands)
            if group.sink is not None:
                group.sink.resolved(results[start:end])
            start = end

    def term_applied(self, term: Term) -> None:
        """An entry of ``term`` was applied: undecided slices of an earlier term were not executed and never will be.
        Their commands go back to the head of the line, in order."""
        if not self._undecided or term <= self._term:
            return
        for cut in reversed(self._undecided):
            self._waiting.extendleft(reversed(cut.groups))
        self._undecided.clear()
        self._undecided_bytes = 0

    def expire(self, now: float, why_waiting: str) -> None:
        """Report on groups whose deadline has passed: a waiting one was not executed; an undecided one still may be.

        ``why_waiting`` is a sentence for those that no leader took.
        """
        for group in self._waiting:
            if group.sink is not None and group.deadline <= now:
                _fail(group, Unavailable(why_waiting))
        while self._waiting and self._waiting[0].sink is None:
            self.held_bytes -= self._waiting.popleft().size_bytes
        for cut in self._undecided:
            for group in cut.groups:
                if group.sink is not None and group.deadline <= now:
                    _fail(group, OutcomeUnknown())

    def fail_all(self, waiting: NotExecuted, undecided: OutcomeUnknown) -> None:
        """This replica stops: what waits was not executed, what was cut may have been."""
        for group in self._waiting:
            _fail(group, waiting)
        for cut in self._undecided:
            for group in cut.groups:
                _fail(group, undecided)
        self._waiting.clear()


def _fail(group: Group, error: OarlockError) -> None:
    if group.sink is not None:
        sink, group.sink = group.sink, None
        sink.failed(error)
