"""What was applied, everywhere, and whether the clients were told the truth about it.

Every replica applies the same commands in the same order with the same results; the first one to do so says what they
are. That order is a *witness*: with it, whether a history is linearizable can be decided in linear time, for any state
machine, whatever its commands touch. Each update has its place in the order; it must respect real time, and replaying
it must give every result. Each read must find a place between, where the state machine gives its answer: after all that
had ended before it began, and before all that began after it had ended.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from math import inf
from operator import itemgetter
from types import GeneratorType
from typing import Any

import msgspec

from oarlock.state_machine import Position, StateMachine
from oarlock.testing.simulation.contents import Content, contents, difference
from oarlock.testing.simulation.record import Call, Record
from oarlock.testing.simulation.subject import Subject
from oarlock.types import Command, Index

DIGEST_EVERY = 8
"""States are compared where the index is a multiple of this."""


class Applied(msgspec.Struct, frozen=True):
    """One command at its place in the log; or, with None, a batch without commands that only told the time."""

    at: Position
    command: Command | None
    result: Any


class Divergence(AssertionError):
    """Two replicas differ where they must be equal, or something was applied that must not be."""


class History:
    """Everything that was applied, in order, as the first replica to do so saw it."""

    def __init__(self, record: Record, subject: Subject) -> None:
        self.applied: list[Applied] = []
        self._record = record
        self._subject = subject
        self.digests: dict[Index, object] = {}
        """Of the state after an index, for some indexes."""
        self._asked: dict[tuple[int, Content], list[tuple[int, Position]]] = {}
        """By replica and query: when its machine was asked that, in ticks of the record, and under which position."""

    def observed(
        self, machine: StateMachine, who: str, replica: int, latest_ms: Callable[[], float] = lambda: inf
    ) -> StateMachine:
        """The machine of a replica, watched. ``latest_ms`` tells what log time can be by any clock."""
        return _Observed(machine, self, who, replica, latest_ms)

    def _note(self, cursor: int, at: Position, command: Command | None, result: Any, who: str) -> None:
        if cursor < len(self.applied):
            known = self.applied[cursor]
            if known.at != at or known.command != command:
                raise Divergence(
                    f"{who} applies {self._shown(command)} at {_place(at)}; another applied "
                    f"{self._shown(known.command)} at {_place(known.at)} in its place"
                )
            if self.differ(known.result, result):
                raise Divergence(
                    f"{who} applied {self._shown(command)} at {_place(at)} with {result!r:.200}, others with "
                    f"{known.result!r:.200}"
                )
            return
        self.applied.append(Applied(at, command, result))
        if command is None:
            return
        calls = self._record.by_marker
        for marker in self._subject.markers(command):
            call = calls.get(marker)
            if call is not None:
                if call.position is not None:
                    raise Divergence(
                        f"applied twice, at {_place(self.applied[call.position].at)} and at {_place(at)}: {call}"
                    )
                call.position = cursor

    def _note_queries(self, replica: int, queries: Iterable[Any], at: Position) -> None:
        tick = self._record.tick()
        for query in queries:
            self._asked.setdefault((replica, contents(query)), []).append((tick, at))

    def positions(self, replica: int, query: Any, since: int, until: int) -> list[Position]:
        """Those under which a replica asked its machine just this, between two ticks: mostly one."""
        asked = self._asked.get((replica, contents(query)), [])
        first, last = (bisect_right(asked, tick, key=itemgetter(0)) for tick in (since, until))
        return list(dict.fromkeys(at for _, at in asked[first:last]))

    def differ(self, one: Any, other: Any) -> bool:
        """Whether two results are different to clients."""
        return bool(one != other and self._subject.told(one) != self._subject.told(other))

    def _shown(self, command: Command | None) -> str:
        return "nothing" if command is None else f"{self._subject.command(command)!r:.200}"

    def compare_digest(self, machine: StateMachine, index: Index, who: str) -> None:
        """Equal applied index, equal state."""
        digest = self._subject.digest(machine)
        known = self.digests.setdefault(index, digest)
        if known != digest:
            where = difference(digest, known)
            raise Divergence(
                f"the state of {who} at index {index} is not that of another replica at that index"
                f"{where and f': {where}'}"
            )

    def violations(self) -> list[str]:
        """What the clients were told that is not true."""
        calls = [call for call in self._record.calls if call.outcome != "open"]
        return _fates(calls) + _against_real_time(_updates(calls)) + self.contradictions(self._subject.machine())

    def contradictions(self, machine: StateMachine) -> list[str]:
        """What a fresh machine says otherwise when what was applied is replayed with it."""
        calls = [call for call in self._record.calls if call.outcome != "open"]
        try:
            return _Replay(self, calls, _updates(calls), self._subject, machine).problems()
        except Divergence as wrong:
            return [f"replaying what was applied: {wrong}"]


class _Observed:
    """A state machine that tells the history what it applies, and what it is asked."""

    def __init__(
        self, machine: StateMachine, history: History, who: str, replica: int, latest_ms: Callable[[], float]
    ) -> None:
        self._machine = machine
        self._history = history
        self._who = who
        self._replica = replica
        self._latest_ms = latest_ms
        self._cursor = 0
        self._index = Index(0)
        self._time_ms = 0
        self._restored = False
        """A snapshot has replaced the state since something was applied."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._machine, name)  # it has only what the machine has: a node goes by that
        watched: dict[str, Callable[..., Any]] = {"snapshot": self._snapshot, "restore": self._restore}
        return partial(watched[name], attribute) if name in watched else attribute

    def __len__(self) -> int:
        return len(self._machine)  # type: ignore[arg-type]

    def _snapshot(self, snapshot: Callable[[], Iterable[bytes]]) -> Iterable[bytes]:
        """The state at this index is looked at here, and again wherever the snapshot is restored."""
        if not self._restored:  # else it is not known here of which index the state is
            self._history.compare_digest(self._machine, self._index, self._who)
        return snapshot()

    async def _restore(
        self, restore: Callable[[AsyncIterator[bytes]], Awaitable[None]], pieces: AsyncIterator[bytes]
    ) -> None:
        await restore(pieces)
        self._restored = True

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        history, who = self._history, self._who
        if self._restored:
            self._restored = False
            self._catch_up(at)
        if at.index != self._index:
            if at.index < self._index or at.time_ms < self._time_ms:
                raise Divergence(f"{who} applies {_place(at)} after index {self._index} and {self._time_ms} ms")
            if self._index and self._index % DIGEST_EVERY == 0:
                history.compare_digest(self._machine, self._index, who)
            self._index, self._time_ms = at.index, at.time_ms
        results = self._machine.apply(tuple(map(history._subject.command, commands)), at)
        if not commands:
            history._note(self._cursor, at, None, None, who)
            self._cursor += 1
        for command, result in zip(commands, results, strict=False):  # the node counts them
            history._note(self._cursor, at, command, result, who)
            self._cursor += 1
        return results

    def _catch_up(self, at: Position) -> None:
        """The state is that of a snapshot, of right before this entry: as if everything up to there had been applied
        here."""
        applied = self._history.applied
        cursor = bisect_left(applied, at.index, key=lambda one: one.at.index)
        if cursor < self._cursor:
            raise Divergence(f"{self._who} was given a snapshot that is older than what it had applied")
        self._cursor = cursor
        before = applied[cursor - 1].at if cursor else Position(Index(0), 0)
        self._index, self._time_ms = before.index, before.time_ms
        self._history.compare_digest(self._machine, self._index, self._who)

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        if at.index < self._index or at.time_ms < self._time_ms:
            raise Divergence(
                f"{self._who} answers at {_place(at)}, behind what it has applied: index {self._index} "
                f"({self._time_ms} ms)"
            )
        if at.time_ms > self._latest_ms():
            raise Divergence(f"{self._who} answers at {_place(at)}, which is ahead of every clock")
        self._history._note_queries(self._replica, queries, at)
        return self._machine.query(queries, at)


def unobserved(machine: StateMachine) -> StateMachine:
    """The machine itself, should this be one that is watched."""
    return machine._machine if isinstance(machine, _Observed) else machine


def _place(at: Position) -> str:
    return f"index {at.index} ({at.time_ms} ms)"


def _updates(calls: Iterable[Call]) -> list[Call]:
    """Those that were applied, in the order of the log."""
    return sorted((call for call in calls if call.position is not None), key=lambda call: call.position or 0)


def _fates(calls: Iterable[Call]) -> list[str]:
    """Acknowledged means applied, and not executed means never."""
    problems = []
    for call in calls:
        if call.marker is None:
            continue
        if call.outcome == "ok" and call.position is None:
            problems.append(f"acknowledged, but never applied: {call} -> {call.result!r:.80}")
        elif call.outcome == "failed" and call.position is not None:
            problems.append(f"said not to be executed ({call.result!r:.80}), but applied: {call}")
    return problems


def _against_real_time(updates: Sequence[Call]) -> list[str]:
    """No update stands before one that had ended when it began."""
    newest: Call | None = None
    for call in updates:
        if newest is not None and call.outcome == "ok" and call.completed < newest.invoked:
            return [f"out of order: ({call}) had ended when ({newest}) began, but stands after it in the log"]
        if newest is None or call.invoked > newest.invoked:
            newest = call
        for before in _ahead_of(call):
            if before.position is not None and before.position > (call.position or 0):
                return [f"out of order: ({call}) stands before ({before}), which went before it on its connection"]
    return []


def _ahead_of(call: Call) -> Iterator[Call]:
    """The calls before it in its pipeline, the last one first: also past those that came to nothing."""
    while call.after is not None:
        call = call.after
        yield call


class _Replay:
    """One pass over what was applied, with a fresh machine."""

    def __init__(
        self,
        history: History,
        calls: Sequence[Call],
        updates: Sequence[Call],
        subject: Subject,
        machine: StateMachine,
    ) -> None:
        self._history = history
        self._applied = history.applied
        self._subject = subject
        self._machine = machine
        self._told = subject.told
        self._by_position = {call.position: call for call in updates}
        self._reads = sorted(
            (call for call in calls if call.is_read and call.outcome == "ok"), key=lambda call: call.completed
        )
        self._positions = {
            id(read): history.positions(read.replica, read.query, read.invoked, read.completed) for read in self._reads
        }
        self._place_bounds(updates)
        self._placed: dict[int, bool] = {}
        """The reads that have their place, by identity."""
        self._first_open = 0
        """Of the reads in the order of their ends, the first that has none."""

    def _place_bounds(self, updates: Sequence[Call]) -> None:
        """For each read, the places it may have: from behind the last update that had ended when it began, to before
        the first one that began when it had ended. A place is how many of the applied it comes after."""
        ended = sorted((call for call in updates if call.outcome == "ok"), key=lambda call: call.completed)
        ends = [call.completed for call in ended]
        highest = [0]
        for call in ended:
            highest.append(max(highest[-1], (call.position or 0) + 1))
        begun = sorted(updates, key=lambda call: call.invoked)
        begins = [call.invoked for call in begun]
        lowest = [len(self._applied)]
        for call in reversed(begun):
            lowest.append(min(lowest[-1], call.position or 0))
        lowest.reverse()
        self._bounds: dict[int, tuple[int, int]] = {}
        followers: dict[int, Call] = {}
        for call in updates:
            for before in _ahead_of(call):
                if before.position is not None:
                    break
                followers[id(before)] = call
        for read in self._reads:
            first = highest[bisect_left(ends, read.invoked)]
            last = lowest[bisect_left(begins, read.completed)]
            for before in _ahead_of(read):
                # One of which nobody knew when the read was asked may take effect after it.
                if before.position is not None and before.outcome == "ok":
                    first = max(first, before.position + 1)
            follower = followers.get(id(read))
            if follower is not None:
                last = min(last, follower.position or 0)
            self._bounds[id(read)] = (first, last)

    def problems(self) -> list[str]:
        for read in self._reads:
            if not self._positions[id(read)]:
                return [f"answered with {read.result!r:.80}, but its replica has not asked its machine: {read}"]
        by_first: dict[int, list[Call]] = {}
        for read in self._reads:
            by_first.setdefault(self._bounds[id(read)][0], []).append(read)
        waiting: list[Call] = []
        for place in range(len(self._applied) + 1):
            problem = self._apply(place - 1) if place else ""
            waiting += by_first.get(place, ())
            if waiting and not problem:
                waiting, problem = self._place_reads(waiting, place)
            if problem:
                return [problem]
        return [self._sentence(read) for read in waiting[:1]]

    def _apply(self, position: int) -> str:
        applied = self._applied[position]
        call = self._by_position.get(position)
        if call is not None and call.watched is not None and call.outcome == "ok" and call.result is not None:
            read = call.watched.read
            now = self._answer(read.query, applied.at)
            if now != read.result:
                return f"executed although what it watched had changed from {read.result!r:.80} to {now!r:.80}: {call}"
        if applied.command is None:
            self._machine.apply((), applied.at)
            return ""
        (result,) = self._machine.apply((self._subject.command(applied.command),), applied.at)
        if self._history.differ(result, applied.result):
            return (
                f"applying one command after another, {self._subject.command(applied.command)!r:.200} at "
                f"{_place(applied.at)} gives {result!r:.80}, but it gave {applied.result!r:.80}"
            )
        if call is not None and call.outcome == "ok" and call.result != self._told(result):
            return f"told {call.result!r:.80}, but it did {result!r:.80}: {call}"
        return ""

    def _place_reads(self, waiting: list[Call], place: int) -> tuple[list[Call], str]:
        """Give every read that may have this place, and is true here, this place; the rest wait for another. The first
        possible place is the best: it leaves those that began later the most."""
        index = self._applied[place - 1].at.index if place else Index(0)
        while True:
            left: list[Call] = []
            for read in waiting:
                if self._is_next(read) and self._is_true(read, index):
                    self._placed[id(read)] = True
                else:
                    left.append(read)
            if len(left) == len(waiting):
                break
            waiting = left
        for read in waiting:
            if place >= self._bounds[id(read)][1]:
                return waiting, self._sentence(read)
        return waiting, ""

    def _is_next(self, read: Call) -> bool:
        """Whether every read that had ended when it began has its place, and the one before it in its pipeline."""
        while self._first_open < len(self._reads) and id(self._reads[self._first_open]) in self._placed:
            self._first_open += 1
        if any(
            before.is_read and before.outcome == "ok" and id(before) not in self._placed for before in _ahead_of(read)
        ):
            return False
        return read.invoked < self._reads[self._first_open].completed

    def _is_true(self, read: Call, index: Index) -> bool:
        """Whether it is, after the entry at an index, under a position at which it may have been answered."""
        return any(
            at.index >= index and self._answer(read.query, at) == read.result for at in self._positions[id(read)]
        )

    def _answer(self, query: Any, at: Position) -> Any:
        """What a client is told now. Of an answer that is given in steps, all of them."""
        (answer,) = self._machine.query([query], at)
        while isinstance(answer, GeneratorType):
            try:
                next(answer)
            except StopIteration as finished:
                answer = finished.value
        return self._told(answer)

    def _sentence(self, read: Call) -> str:
        first, last = self._bounds[id(read)]
        return (
            f"not linearizable: {read} was told {read.result!r:.80} at {read.completed_s:.6f} s, which was true at "
            f"none of the places {first} to {last} of {len(self._applied)} that it may have"
        )
