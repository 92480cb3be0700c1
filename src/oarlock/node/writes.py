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
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown, ReplicaFailed, Unavailable
from oarlock.node.batch import BATCH_BYTES
from oarlock.node.sink import PlacedQuery, Sink, tell
from oarlock.types import Boot, Command, ReplicaId, Slice, Term

SLICE_COMMANDS = 8192
"""Commands of one slice, beyond which no further group joins it: the turn that applies it must stay short."""
WINDOW_BYTES = 16 * BATCH_BYTES
"""Bytes of undecided slices; more wait uncut, since an origin must be able to send all of them again."""


class Group:
    """Commands that came together and stay together, and where their outcome goes."""

    __slots__ = ("commands", "deadline", "placed", "sink", "size_bytes")

    def __init__(
        self,
        commands: Sequence[Command],
        size_bytes: int,
        sink: Sink,
        deadline: float,
        placed: Sequence[PlacedQuery] = (),
    ) -> None:
        self.commands = commands
        self.size_bytes = size_bytes
        self.sink: Sink | None = sink
        """None once an outcome was reported: whatever happens now, nobody waits for it."""
        self.deadline = deadline
        self.placed = placed


class Cut(NamedTuple):
    """A slice on its way, and the groups in it."""

    slice: Slice
    groups: list[Group]
    size_bytes: int
    placed: list[PlacedQuery]
    """The queries of all groups, by how many commands of the slice stand before each."""


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
        """Size of the groups that somebody waits for: back-pressure must end when nobody does any more."""

    def __bool__(self) -> bool:
        return bool(self._waiting or self._undecided)

    def add(self, group: Group) -> None:
        """Take a group; it waits to be cut."""
        self._waiting.append(group)
        self.held_bytes += group.size_bytes

    def can_cut(self, term: Term) -> bool:
        """Whether something waits that may be cut for the leader of ``term`` now.

        Not while a slice of an earlier term is undecided: a later write must not overtake it.
        """
        return (
            bool(self._waiting) and self._undecided_bytes < WINDOW_BYTES and (term == self._term or not self._undecided)
        )

    def cut(self, term: Term) -> Slice | None:
        """The next slice for the leader of ``term``, or None if there is nothing to cut, or not yet."""
        if not self.can_cut(term):
            return None
        if term != self._term:
            self._term, self._next_number = term, 1
        groups: list[Group] = []
        commands: list[Command] = []
        placed: list[PlacedQuery] = []
        size_bytes = 0
        waiting = self._waiting
        while (
            waiting
            and len(commands) + len(placed) < SLICE_COMMANDS
            and (not groups or size_bytes + waiting[0].size_bytes <= BATCH_BYTES)
        ):
            group = waiting.popleft()
            if group.sink is None:
                continue
            groups.append(group)
            if group.placed:
                before = len(commands)
                placed += [(before + position, query) for position, query in group.placed]
            commands += group.commands
            size_bytes += group.size_bytes
        if not groups:
            return None
        piece = Slice(self._origin, self._boot, self._next_number, tuple(commands))
        self._next_number += len(commands)
        self._undecided.append(Cut(piece, groups, size_bytes, placed))
        self._undecided_bytes += size_bytes
        return piece

    def undecided_slices(self, term: Term, from_number: int = 1) -> Iterator[Slice]:
        """The cuts for ``term`` to send again, identical to the first time."""
        if term == self._term:
            for cut in self._undecided:
                if cut.slice.first >= from_number:
                    yield cut.slice

    def placed_in(self, piece: Slice, term: Term) -> Sequence[PlacedQuery]:
        """The queries to answer while this slice, which is about to be applied, is.

        That is as good as a round: the slice was cut after they arrived. A write that had finished by then stands
        below every entry appended later; or it has a later term, and then the slice's entry never commits.
        """
        if self._undecided and piece.origin == self._origin and piece.boot == self._boot and term == self._term:
            cut = self._undecided[0]
            return cut.placed if cut.slice.first == piece.first else ()
        return ()

    def applied(self, piece: Slice, term: Term, results: Sequence[Any]) -> None:
        """A slice was applied. If it is one of ours, its groups have their results: those of its commands, and of the
        queries placed in it."""
        if piece.origin != self._origin or piece.boot != self._boot:
            return
        cut = self._undecided.popleft() if self._undecided else None
        if cut is None or term != self._term or cut.slice.first != piece.first:
            raise ReplicaFailed(f"slice {piece.first} of term {term} was applied, but is not the one that was due")
        self._undecided_bytes -= cut.size_bytes
        groups = cut.groups
        start = 0
        for group in groups:
            end = start + len(group.commands) + len(group.placed)
            if group.sink is not None:
                self.held_bytes -= group.size_bytes
                tell(group.sink.resolved, results if len(groups) == 1 else results[start:end])
            start = end

    def term_applied(self, term: Term) -> None:
        """An entry of ``term`` was applied: undecided slices of an earlier term were not executed and never will be.
        Their commands go back to the head of the line, in order, unless nobody waits for them any more: whoever is
        gone has been promised nothing, and perhaps asks again elsewhere."""
        if not self._undecided or term <= self._term:
            return
        undecided, self._undecided = self._undecided, deque()
        self._undecided_bytes = 0
        abandoned: list[Group] = []
        for cut in reversed(undecided):
            for group in reversed(cut.groups):
                if group.sink is not None and group.sink.abandoned:
                    abandoned.append(group)
                else:
                    self._waiting.appendleft(group)
        for group in abandoned:
            self._fail(group, Unavailable("nobody waits for it any more"))

    def restored(self, origins: Mapping[ReplicaId, tuple[Boot, Term, int]], term: Term) -> None:
        """The state was replaced by that of a snapshot, which tells of each origin's last slice and the last entry's
        term. What was executed below it has results that nobody here will know; the rest is decided as ever."""
        boot, last_term, following = origins.get(self._origin, (Boot(0), Term(0), 0))
        executed: list[Group] = []
        while (
            self._undecided
            and (boot, last_term) == (self._boot, self._term)
            and self._undecided[0].slice.first < following
        ):
            cut = self._undecided.popleft()
            self._undecided_bytes -= cut.size_bytes
            executed += cut.groups
        self.term_applied(term)
        for group in executed:
            self._fail(group, OutcomeUnknown("it was executed, but the snapshot that told so holds no results"))

    def expire(self, now: float, why_waiting: str) -> None:
        """Report on groups whose deadline has passed: a waiting one was not executed; an undecided one still may be.

        ``why_waiting`` is a sentence for those that no leader took.
        """
        # First take them out, then tell: whoever is told may come with new commands at once.
        expired = [group for group in self._waiting if group.deadline <= now or group.sink is None]
        if expired:
            self._waiting = deque(group for group in self._waiting if group.deadline > now and group.sink is not None)
            for group in expired:
                self._fail(group, Unavailable(why_waiting))
        for cut in list(self._undecided):
            for group in cut.groups:
                if group.deadline <= now:
                    self._fail(group, OutcomeUnknown())

    def fail_all(self, waiting: NotExecuted, undecided: OutcomeUnknown) -> None:
        """This replica stops: what waits was not executed, what was cut may have been."""
        uncut, cuts = self._waiting, self._undecided
        self._waiting, self._undecided = deque(), deque()
        self._undecided_bytes = 0
        for group in uncut:
            self._fail(group, waiting)
        for cut in cuts:
            for group in cut.groups:
                self._fail(group, undecided)

    def _fail(self, group: Group, error: OarlockError) -> None:
        if group.sink is not None:
            self.held_bytes -= group.size_bytes
            sink, group.sink = group.sink, None
            tell(sink.failed, error)
