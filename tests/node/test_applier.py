"""Applying: what it may not swallow, and what it may not skip."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any

import pytest

from oarlock.errors import ReplicaFailed, ShuttingDown
from oarlock.node.applier import Applier
from oarlock.node.batch import BATCH_VERSION, decode_batch, encode_batch
from oarlock.node.reads import QueryGroup
from oarlock.node.writes import Group, Writes
from oarlock.state_machine import Position
from oarlock.types import (
    Boot,
    Command,
    Configuration,
    Entry,
    EntryKind,
    Index,
    ReplicaId,
    Slice,
    SnapshotPoint,
    Term,
)
from tests.node.cluster import Recorder

ME, BOOT = ReplicaId(1), Boot(1)
NEVER = float("inf")


class Machine:
    """Does what a test tells it to."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, Command]] = []
        self.looked: Callable[[str], object] = lambda query: None
        """Told each query when it is answered."""
        self.asked_at: list[Position] = []

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        self.applied += [(at.index, command) for command in commands]
        if b"raise" in commands:
            raise MemoryError
        return [] if b"forget" in commands else [len(self.applied)] * len(commands)

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        self.asked_at.append(at)
        for query in queries:
            self.looked(query)
        if "raise" in queries:
            raise RecursionError
        if "forget" in queries:
            return []
        return [self._walk(query) if query == "long" else query for query in queries]

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        pass

    def snapshot(self) -> list[bytes]:
        return []

    def _walk(self, query: str) -> Generator[None, None, str]:
        yield
        yield
        return query


def piece(*commands: bytes, first: int = 1, origin: int = 2) -> Slice:
    return Slice(ReplicaId(origin), BOOT, first, commands)


def entry(index: int, *slices: Slice, term: int = 1, kind: int = EntryKind.BATCH, time_ms: int = 0) -> Entry:
    return Entry(Index(index), Term(term), kind, time_ms, encode_batch(slices) if slices else b"")


def fresh() -> tuple[Applier, Machine, Writes]:
    machine, writes = Machine(), Writes(ME, BOOT)
    return Applier(machine, writes), machine, writes


def test_slices_are_applied_in_order_and_sentinels_and_configurations_pass_by() -> None:
    applier, machine, _ = fresh()
    applier.apply(
        [
            entry(1, kind=EntryKind.CONFIGURATION),
            entry(2, piece(b"a", b"b"), piece(b"c", origin=3)),
            entry(3, kind=EntryKind.SENTINEL),
            entry(4, piece(b"d")),
        ]
    )
    assert machine.applied == [(2, b"a"), (2, b"b"), (2, b"c"), (4, b"d")]


def test_an_unknown_kind_stops_the_replica() -> None:
    applier, machine, _ = fresh()
    with pytest.raises(ReplicaFailed, match="kind 77"):
        applier.apply([entry(1, piece(b"a"), kind=77), entry(2, piece(b"b"))])
    assert machine.applied == []


def test_a_newer_batch_stops_the_replica() -> None:
    applier, machine, _ = fresh()
    newer = encode_batch([piece(b"a")]).replace(bytes([BATCH_VERSION]), bytes([BATCH_VERSION + 1]), 1)
    with pytest.raises(ReplicaFailed, match="version"):
        applier.apply([Entry(Index(1), Term(1), EntryKind.BATCH, 0, newer)])
    assert machine.applied == []


def test_a_batch_that_is_none_stops_the_replica() -> None:
    with pytest.raises(ReplicaFailed):
        decode_batch(b"\xc1")


def test_a_batch_comes_back_as_it_was() -> None:
    slices = [Slice(ME, BOOT, 5, (b"", (b"SET", b"k", b""), ())), piece(b"x" * 70000)]
    assert decode_batch(encode_batch(slices)) == tuple(slices)


@pytest.mark.parametrize("command", [b"raise", b"forget"])
def test_what_the_machine_does_wrong_in_apply_is_never_a_result(command: bytes) -> None:
    applier, _, writes = fresh()
    sink = Recorder()
    writes.add(Group((command,), 1, sink, NEVER))
    own = writes.cut(Term(1))
    assert own is not None
    with pytest.raises(ReplicaFailed):
        applier.apply([entry(1, own)])
    assert not sink.told


def test_54_queries_placed_among_commands_are_answered_where_they_stand() -> None:
    applier, machine, writes = fresh()
    first, second = Recorder(), Recorder()
    writes.add(Group((b"a", b"b"), 1, first, NEVER, [(0, "before"), (1, "between"), (1, "too"), (2, "behind")]))
    writes.add(Group((b"c",), 1, second, NEVER, [(1, "last")]))
    own = writes.cut(Term(1))
    assert own is not None and own.commands == (b"a", b"b", b"c"), "no query is in the log"
    seen: list[tuple[str, int]] = []
    machine.looked = lambda query: seen.append((query, len(machine.applied)))
    applier.apply([entry(1, piece(b"theirs"), own)])
    assert seen == [("before", 1), ("between", 2), ("too", 2), ("behind", 3), ("last", 4)]
    assert first.results == ["before", 2, "between", "too", 3, "behind"]
    assert second.results == [4, "last"]


def test_a_placed_query_goes_with_its_group_to_the_next_leader() -> None:
    """Answered in the old place it would not see the writes that the new leader has in between."""
    applier, machine, writes = fresh()
    sink = Recorder()
    writes.add(Group((b"mine",), 1, sink, NEVER, [(0, "q")]))
    lost = writes.cut(Term(1))
    assert lost is not None
    seen: list[int] = []
    machine.looked = lambda query: seen.append(len(machine.applied))
    applier.apply([entry(1, piece(b"theirs"), term=2)])
    assert not seen and not sink.told
    again = writes.cut(Term(2))
    assert again is not None
    applier.apply([entry(2, again, term=2)])
    assert seen == [1] and sink.results[0] == "q"


def test_queries_placed_in_a_slice_are_not_answered_in_another_of_the_same_number() -> None:
    """Of an earlier boot, of another replica, or of an earlier term."""
    applier, machine, writes = fresh()
    writes.add(Group((b"mine",), 1, Recorder(), NEVER, [(1, "q")]))
    own = writes.cut(Term(2))
    assert own is not None
    seen: list[str] = []
    machine.looked = seen.append
    for other in (Slice(ReplicaId(ME + 1), BOOT, 1, (b"x",)), Slice(ME, Boot(BOOT - 1), 1, (b"x",))):
        applier.apply([entry(1, other, term=2)])
    assert not seen


@pytest.mark.parametrize("query", ["raise", "forget"])
def test_what_the_machine_does_wrong_in_query_is_never_an_answer(query: str) -> None:
    applier, _, _ = fresh()
    sink = Recorder()
    with pytest.raises(ReplicaFailed):
        applier.answer([QueryGroup((query,), sink, NEVER)], Index(0), 0)
    assert not sink.told


def test_an_entry_of_a_later_term_decides_writes_before_its_own_slices_are_applied() -> None:
    """The new leader may put our handed-over commands into the very entry that shows its term."""
    applier, machine, writes = fresh()
    sink = Recorder()
    writes.add(Group((b"mine",), 1, sink, NEVER))
    writes.cut(Term(1))
    applier.apply([entry(1, piece(b"theirs"), term=2)])
    again = writes.cut(Term(2))
    assert again is not None and again.first == 1
    applier.apply([entry(2, again, term=2)])
    assert sink.results == [2]
    assert machine.applied == [(1, b"theirs"), (2, b"mine")]


def test_what_was_proposed_under_a_leadership_that_ended_is_not_taken_for_what_stands_there() -> None:
    applier, machine, _ = fresh()
    applier.proposed(Index(1), [piece(b"lost")])
    applier.leadership_ended()
    applier.apply([entry(1, piece(b"won"), term=2)])
    assert machine.applied == [(1, b"won")]


def test_a_long_answer_is_given_in_steps_and_others_go_between() -> None:
    applier, _, _ = fresh()
    first, second, quick = Recorder(), Recorder(), Recorder()
    applier.answer([QueryGroup(("long", "a", "long"), first, NEVER)], Index(0), 0)
    applier.answer([QueryGroup(("long",), second, NEVER)], Index(0), 0)
    applier.answer([QueryGroup(("b",), quick, NEVER)], Index(0), 0)
    assert quick.results == ["b"]
    steps = 0
    while applier.has_long_answers:
        applier.step()
        steps += 1
        if second.told and not first.told:
            break
    assert second.told and not first.told, "they take turns"
    while applier.has_long_answers:
        applier.step()
        steps += 1
    assert first.results == ["long", "a", "long"]
    assert steps > 4


def test_the_groups_of_a_round_are_asked_together_and_each_gets_its_own() -> None:
    applier, machine, _ = fresh()
    asked: list[str] = []
    machine.looked = asked.append
    sinks = [Recorder() for _ in range(4)]
    groups = [
        QueryGroup(tuple(queries), sink, NEVER)
        for queries, sink in zip(("a", "bc", ("d", "long"), "e"), sinks, strict=True)
    ]
    applier.answer(groups, Index(0), 0)
    assert asked == ["a", "b", "c", "d", "long", "e"]
    while applier.has_long_answers:
        applier.step()
    assert [list(sink.results) for sink in sinks] == [["a"], ["b", "c"], ["d", "long"], ["e"]]


def test_no_answer_is_given_at_an_earlier_time_than_that_of_what_is_applied() -> None:
    """A confirmation may be overtaken, on its way to a follower, by entries that are later."""
    applier, machine, _ = fresh()
    groups = [QueryGroup(("a",), Recorder(), NEVER)]
    applier.apply([entry(1, piece(b"x"), time_ms=500)])
    applier.answer(groups, Index(1), 400)
    applier.answer(groups, Index(1), 600)
    applier.apply([entry(2, kind=EntryKind.SENTINEL, time_ms=700)])
    applier.answer(groups, Index(2), 600)
    asyncio.run(applier.restore(_nothing(), {}, SnapshotPoint(Index(9), Term(2), 900, Configuration((), ()))))
    applier.answer(groups, Index(9), 800)
    assert [at.time_ms for at in machine.asked_at] == [500, 600, 700, 900]


async def _nothing() -> AsyncIterator[bytes]:
    for piece in ():
        yield piece


def test_a_long_answer_that_a_stop_interrupts_is_refused() -> None:
    applier, _, _ = fresh()
    sink = Recorder()
    applier.answer([QueryGroup(("long",), sink, NEVER)], Index(0), 0)
    applier.step()
    applier.fail_all(ShuttingDown())
    assert isinstance(sink.error, ShuttingDown)
    assert not applier.has_long_answers
