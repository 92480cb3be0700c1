"""Snapshots: of one moment whatever happens meanwhile, whole or refused, and as good as having applied everything."""

import asyncio
import doctest
import itertools
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import oarlock.state_machine
from oarlock.kv import OK, KeyValue, keyspace, snapshot
from oarlock.kv.packing import exec_command
from oarlock.kv.queries import QUERIES
from oarlock.kv.shards import SHARD_MASK
from oarlock.kv.snapshot import PIECE_BYTES
from oarlock.kv.writes import WRITES
from oarlock.state_machine import Position
from oarlock.testing.simulation.keyvalue import KeyValueStore
from oarlock.types import Index
from tests.kv.timed import Timed

END = b"1700000000000"


def at(now_ms: int = 0) -> Position:
    return Position(Index(1), now_ms)


def holding(count: int, value: bytes = b"value", machine: KeyValue | None = None) -> KeyValue:
    machine = KeyValue() if machine is None else machine
    machine.apply([(b"SET", b"key:%d" % number, value) for number in range(count)], at())
    return machine


async def arriving(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def restore(pieces: Iterable[bytes], machine: KeyValue | None = None) -> KeyValue:
    machine = KeyValue() if machine is None else machine
    asyncio.run(machine.restore(arriving(pieces)))
    return machine


def state(machine: KeyValue) -> object:
    return KeyValueStore().digest(machine)


def contents(pieces: Iterable[bytes]) -> set[Any]:
    """What stands in the pieces, however it was divided among them."""
    items: set[Any] = set()
    for piece in pieces:
        kind, *fields = msgspec.msgpack.decode(piece)
        if kind == 2:
            values, ends = fields
            assert ends.keys() <= values.keys()
            new = {(key, value, tuple(ends.get(key, ()))) for key, value in values.items()}
        elif kind == 1:
            new = set(fields[0].items())
        else:
            new = {(kind, *fields)}
        assert not items & new
        items |= new
    return items


def test_a_snapshot_is_of_its_moment_and_another_of_its_own() -> None:
    machine = holding(5000)
    before = state(machine)
    first = machine.snapshot()
    head = [next(first) for _ in range(20)]
    machine.apply([(b"DEL", *(b"key:%d" % n for n in range(0, 5000, 2))), (b"SET", b"new", b"v")], at())
    between = state(machine)
    second = machine.snapshot()
    tail = [next(second)]
    machine.apply([(b"APPEND", b"key:%d" % n, b"+") for n in range(1, 5000, 2)], at())
    assert state(restore([*head, *first])) == before
    assert state(restore([*tail, *second])) == between


def test_a_restored_machine_holds_lifetimes_versions_and_times() -> None:
    timed = Timed().at(1000)
    timed.apply(b"SET", b"k", b"1", b"PX", b"100", END)
    timed.apply(b"SET", b"never", b"2")
    watched = timed.query(b"VERSION", b"k", b"never", b"absent")
    other = Timed()
    other.machine = restore(timed.machine.snapshot())
    assert other.machine.next_due_ms == 1100
    assert other.query(b"VERSION", b"k", b"never", b"absent") == watched
    assert other.query(b"PEXPIRETIME", b"k") == int(END)
    assert other.apply(b"SET", b"later", b"3", b"PX", b"50", END) is OK, "log time does not go back"
    assert other.machine.next_due_ms == 1050
    other.at(1100)
    assert other.query(b"MGET", b"k", b"never", b"later") == [None, b"2", None]


@pytest.mark.parametrize(
    "command",
    [
        (b"SET", b"k", b"2"), (b"SET", b"k", b"2", b"KEEPTTL"), (b"SET", b"k", b"2", b"PX", b"70", END + b"0"),
        (b"SETNX", b"k", b"2"), (b"MSET", b"other", b"2", b"k", b"2"), (b"MSETNX", b"new", b"2", b"k", b"2"),
        (b"CAS", b"k", b"1", b"2"), (b"APPEND", b"k", b"2"), (b"INCRBY", b"k", b"1"), (b"GETSET", b"k", b"2"),
        (b"GETDEL", b"k"), (b"GETEX", b"k", b"PX", b"70", END + b"0"), (b"EXPIRE", b"k", b"70", END + b"0"),
        (b"EXPIRE", b"k", b"-1", END), (b"PERSIST", b"k"), (b"DEL", b"other", b"k"), (b"FLUSHALL",),
        exec_command([], [(b"GET", b"k"), (b"MSET", b"other", b"2", b"k", b"2")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["absent", "for ever", "ending", "gone"])
@pytest.mark.parametrize("twice", [False, True])
def test_no_change_of_a_key_shows_in_a_snapshot_under_way(command: tuple[bytes, ...], before: str, twice: bool) -> None:
    timed = Timed()
    if before != "absent":
        timed.apply(b"SET", b"k", b"1", *([] if before == "for ever" else [b"PX", b"50", END]))
    if before == "gone":
        timed.machine._data.lifetimes.now_ms = 50
    known = state(timed.machine)
    under_way = timed.machine.snapshot()
    timed.apply(*command)
    if twice:
        timed.at(60).apply(b"SET", b"k", b"3", b"PX", b"90", END + b"1")
    assert state(restore(under_way)) == known


def test_a_key_that_ends_while_a_snapshot_is_taken_is_in_it() -> None:
    timed = Timed().at(1000)
    for number in range(5000):
        timed.apply(b"SET", b"key:%d" % number, b"v", b"PX", b"100", END)
    before = state(timed.machine)
    under_way = timed.machine.snapshot()
    head = [next(under_way)]
    timed.apply(b"EXPIRE", b"key:4999", b"500", END + b"0")
    timed.at(1100)
    assert 0 < sum(map(len, timed.machine._data.shards)) < 5000, "some are removed, and some are only gone"
    assert state(restore([*head, *under_way])) == before


def test_keys_that_are_gone_are_left_out_and_missed_nowhere() -> None:
    timed = Timed().at(1000)
    for number in range(5000):
        timed.apply(b"SET", b"key:%d" % number, b"v", b"PX", b"%d" % (100 + number % 2), END)
    timed.at(1101)
    data = timed.machine._data
    assert sum(map(len, data.shards)) == 3000, "not removed yet"
    other = Timed()
    other.machine = restore(timed.machine.snapshot())
    assert len(other.machine) == len(timed.machine) == 0
    assert other.machine.next_due_ms is None
    assert state(other.machine) == state(timed.machine)
    watched = timed.query(b"VERSION", b"key:4999")
    assert watched == other.query(b"VERSION", b"key:4999")
    transaction = exec_command([(b"key:4999", *watched)], [(b"SCAN", b"0", b"100000", b"*", b""), (b"DBSIZE",)])
    assert timed.apply(*transaction) == other.apply(*transaction) == [[b"0", []], 0]


def test_a_scan_inside_a_transaction_stops_at_the_same_place_whatever_has_been_removed() -> None:
    """Its position is a result, and so must be the same at a replica that never had the keys that are gone."""
    timed = Timed().at(1000)
    timed.machine.apply([(b"SET", b"key:%d" % n, b"v") for n in range(3000)], at(1000))
    for number in range(6000):
        timed.apply(b"SET", b"gone:%d" % number, b"v", b"PX", b"1", END)
    timed.at(1001)
    other = Timed().at(1001)
    other.machine = restore(timed.machine.snapshot())
    transaction = exec_command([], [(b"SCAN", b"0", b"4", b"*", b""), (b"KEYS", b"*1*")])
    assert timed.apply(*transaction) == other.apply(*transaction)


def test_keys_inside_a_transaction_come_in_an_order_that_tells_nothing_of_history() -> None:
    """Those of one shard: dicts give their keys in the order in which they came, and an image gives others."""
    keys = [key for key in (b"key:%d" % n for n in range(5000)) if crc32(key) & SHARD_MASK == 7]
    one, other = Timed(), Timed()
    for timed, order in ((one, keys), (other, keys[::-1])):
        for key in order:
            timed.apply(b"SET", key, b"")
    transaction = exec_command([], [(b"KEYS", b"*"), (b"SCAN", b"0", b"10000", b"*", b"")])
    assert len(keys) > 2 and one.query(b"KEYS", b"*") != other.query(b"KEYS", b"*")
    assert one.apply(*transaction) == other.apply(*transaction)


def test_pieces_are_small_unless_a_value_is_not() -> None:
    machine = holding(3000, b"x" * 100)
    timed = Timed()
    timed.machine = machine
    timed.apply(b"SET", b"large", b"x" * 1_000_000)
    for number in range(3000):
        timed.apply(b"SET", b"%d:" % number + b"long" * 20, b"", b"PX", b"%d" % 2**60, b"%d" % 2**61)
    pieces = list(machine.snapshot())
    large = [piece for piece in pieces if len(piece) > PIECE_BYTES + 32]
    assert len(large) == 1 and len(large[0]) < 1_000_100, "it has a piece of its own"
    assert len(pieces) < 80, "shards are put together"
    assert state(restore(pieces)) == state(machine)


def test_a_shard_that_is_too_large_is_cut() -> None:
    machine = holding(500_000, b"")
    numbers = [len(fields[0]) for kind, *fields in map(msgspec.msgpack.decode, machine.snapshot()) if kind == 2]
    assert sum(numbers) == 500_000 and max(numbers) == 1000
    crowded = KeyValue()
    crowded._data.shards[7].update((b"key:%d" % n, b"") for n in range(5000))
    numbers = [len(fields[0]) for kind, *fields in map(msgspec.msgpack.decode, crowded.snapshot()) if kind == 2]
    assert numbers == [1000] * 5


def test_an_empty_machine_is_restored_over_a_full_one() -> None:
    full = holding(10_000)
    restore(KeyValue().snapshot(), full)
    assert state(full) == state(KeyValue())
    assert full._data.change == 0


def test_what_a_restore_replaced_is_freed_in_pieces_and_all_of_it() -> None:
    timed = Timed()
    holding(20_000, machine=timed.machine)
    for number in range(5000):
        timed.apply(b"SET", b"e:%d" % number, b"", b"PX", b"1000", END)
    data = timed.machine._data
    restore(KeyValue().snapshot(), timed.machine)
    assert data is timed.machine._data, "who scans it goes on with the new state"
    held = [len(data._rubbish)]
    while data._rubbish:
        timed.apply(b"DEL", b"none")
        held.append(len(data._rubbish))
    assert held[0] == 25_000 + 4 * 5000
    assert max(before - after for before, after in itertools.pairwise(held)) == 1002


def test_what_an_image_still_reads_is_not_freed_before_and_then_not_by_the_image() -> None:
    machine = holding(20_000)
    data = machine._data
    before = state(machine)
    under_way = machine.snapshot()
    head = [next(under_way) for _ in range(20)]
    machine.apply([(b"SET", b"key:%d" % n, b"again") for n in range(5000)], at())
    machine.apply([(b"FLUSHALL",), (b"SET", b"new", b"v")], at())
    assert not data.is_read, "what it reads changes no more"
    held = len(data._rubbish)
    assert held > 20_000, "what was remembered, too"
    for _ in range(50):
        machine.apply([(b"SET", b"new", b"v")], at())
    assert len(data._rubbish) == held
    assert state(restore([*head, *under_way])) == before
    machine.apply([], at())
    assert held - 20_000 < len(data._rubbish) < held - 900
    while data._rubbish:
        machine.apply([], at())
    assert len(machine) == 1


@pytest.mark.parametrize("steps", [0, 5, 20])
def test_an_abandoned_snapshot_costs_nothing_from_then_on(steps: int) -> None:
    machine = holding(20_000)
    data = machine._data
    under_way = machine.snapshot()
    for _ in range(steps):
        next(under_way)
    machine.apply([(b"SET", b"key:%d" % n, b"again") for n in range(20_000)], at())
    del under_way
    assert data.is_read
    machine.apply([(b"SET", b"k", b"v")], at())
    assert not data.is_read
    held = len(data._rubbish)
    assert held > 10_000, "what was remembered is freed in pieces"
    while data._rubbish:
        machine.apply([], at())


def test_a_finished_snapshot_that_somebody_keeps_costs_nothing() -> None:
    machine = holding(100)
    kept = machine.snapshot()
    list(kept)
    machine.apply([(b"SET", b"k", b"v")], at())
    assert not machine._data.is_read


def test_a_reader_that_is_through_and_kept_does_not_free_what_was_flushed() -> None:
    machine = holding(20_000)
    data = machine._data
    parts = data.image()
    shards = data.shards
    machine.apply([(b"FLUSHALL",)], at())
    while any(image.wanted for load in data._rubbish._loads for image in load.readers):
        next(parts)
    while data._rubbish:
        machine.apply([], at())
    assert not any(shards), "or all of it would be freed with the reader"


def test_reading_shards_are_let_go_of() -> None:
    machine = holding(20_000)
    parts = machine._data.image()
    for _ in range(1000):
        next(parts)
    machine.apply([(b"SET", b"key:%d" % n, b"again") for n in range(20_000)], at())
    (image,) = machine._data._images
    assert sum(map(len, image.remembered())) < 1000, "nothing is remembered of what was read"


def test_what_was_remembered_of_a_shard_is_let_go_of_when_it_is_read() -> None:
    machine = holding(100)
    under_way = machine.snapshot()
    machine.apply([(b"SET", b"key:%d" % number, b"new") for number in range(100)], at())
    (image,) = machine._data._images
    assert image._changed
    for _ in under_way:
        pass
    assert not image._changed


def test_the_version_of_every_slot_is_in_it() -> None:
    machine = KeyValue()
    versions = machine._data.versions
    versions[:] = array("Q", range(1, len(versions) + 1))
    assert restore(machine.snapshot())._data.versions == versions


def test_only_keys_are_remembered() -> None:
    machine = holding(100)
    under_way = machine.snapshot()
    next(under_way)
    machine.apply(
        [
            (b"SET", b"a", b"value"),
            (b"MSET", b"b", b"value", b"c", b"value"),
            (b"DEL", b"d", b"e"),
            exec_command([], [(b"MSETNX", b"f", b"value"), (b"EXPIRE", b"g", b"1", b"1")]),
        ],
        at(),
    )
    (image,) = machine._data._images
    assert sorted(itertools.chain(*image.remembered())) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


GOOD = list(holding(3000).snapshot())


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ([], "cut short after 0 pieces"),
        (GOOD[:1], "cut short after 1 pieces"),
        (GOOD[:-1], f"cut short after {len(GOOD) - 1} pieces"),
        (GOOD[:-2] + GOOD[-1:], "should hold 3000 keys and holds 2"),
        (GOOD[1:], "piece 0 .* is unusable"),
        ([*GOOD, GOOD[-1]], f"piece {len(GOOD)} .* follows the end"),
        ([GOOD[0], *GOOD], "piece 1 .* is unusable"),
        ([*GOOD[:5], GOOD[5][:-1], *GOOD[6:]], "piece 5 .* is unusable"),
        ([b"", *GOOD[1:]], "piece 0 .* is unusable"),
        ([msgspec.msgpack.encode([0, 2, "what", {"a later": "one"}]), *GOOD[1:]], "format is 2, .* reads format 1"),
        ([GOOD[0], msgspec.msgpack.encode([2, {b"k": b"v"}, {b"l": (1, 1)}]), *GOOD[1:]], "a lifetime without a key"),
        ([GOOD[0], msgspec.msgpack.encode([1, {65536: 1}]), *GOOD[1:]], "no slot 65536"),
        ([GOOD[0], msgspec.msgpack.encode([1, {-1: 1}]), *GOOD[1:]], "no slot -1"),
        ([GOOD[0], msgspec.msgpack.encode([1, {1: -1}]), *GOOD[1:]], "piece 1 .* is unusable"),
    ],
)  # fmt: skip
def test_what_is_no_whole_snapshot_is_refused_and_changes_nothing(pieces: list[bytes], sentence: str) -> None:
    machine = holding(5000, b"old")
    before = state(machine)
    with pytest.raises(ValueError, match=sentence):
        restore(pieces, machine)
    assert state(machine) == before
    while machine._data._rubbish:
        machine._data.reclaim(0)
    assert state(machine) == before, "only the new one was thrown away"


def test_a_restore_that_is_given_up_changes_nothing() -> None:
    machine = holding(100, b"old")
    before = state(machine)

    async def give_up() -> None:
        async def never_ending() -> AsyncIterator[bytes]:
            for piece in GOOD[:-1]:
                yield piece
            task.cancel()
            await asyncio.sleep(3600)

        task = asyncio.create_task(machine.restore(never_ending()))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert state(machine) == before
    assert len(machine._data._rubbish) == 3000, "freed in pieces"


def test_until_the_last_piece_the_old_state_answers() -> None:
    machine = holding(100, b"old")
    seen = []

    async def watched() -> AsyncIterator[bytes]:
        for piece in GOOD:
            seen.append(machine.query([(b"GET", b"key:1")], at())[0])
            yield piece

    asyncio.run(machine.restore(watched()))
    assert set(seen) == {b"old"}
    assert machine.query([(b"GET", b"key:1")], at()) == [b"value"]


def test_listings_and_snapshots_under_way_are_of_the_state_before_a_restore() -> None:
    machine = holding(5000, b"old")
    before = state(machine)
    under_way = machine.snapshot()
    (listing,) = machine.query([(b"KEYS", b"*")], at())
    next(listing)
    restore(GOOD, machine)
    machine.apply([(b"FLUSHALL",)], at())
    with pytest.raises(StopIteration) as end:
        while True:
            next(listing)
    assert len(end.value.value) == 5000
    assert state(restore(under_way)) == before


def test_the_example_for_users_does_what_it_says() -> None:
    outcome = doctest.testmod(oarlock.state_machine)
    assert outcome.attempted > 5 and outcome.failed == 0


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"plumless", b"buckeroo"])
NUMBERS = st.integers(-3, 40).map(lambda number: b"%d" % number)
VALUES = st.one_of(NUMBERS, st.binary(max_size=3))


def shaped(*words: Any) -> st.SearchStrategy[tuple[bytes, ...]]:
    """A command of these words: bytes as they stand, a strategy for one word, a list of strategies for several."""
    parts = [
        st.just([word])
        if isinstance(word, bytes)
        else word.map(lambda drawn: list(drawn) if isinstance(drawn, tuple | list) else [drawn])
        for word in words
    ]
    return st.tuples(*parts).map(lambda drawn: tuple(itertools.chain(*drawn)))


LIFETIME = st.tuples(st.just(b"PX"), NUMBERS, NUMBERS)
PAIRS = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=3).map(lambda pairs: tuple(itertools.chain(*pairs)))
CONDITION = st.sampled_from([(), (b"NX",), (b"XX",), (b"GT",), (b"LT",)])
SHAPES = {
    b"SET": shaped(b"SET", KEYS, VALUES, st.sampled_from([(), (b"NX",), (b"XX",)]), st.sampled_from([(), (b"GET",)]),
                   st.one_of(st.just(()), st.just((b"KEEPTTL",)), LIFETIME)),
    b"SETNX": shaped(b"SETNX", KEYS, VALUES),
    b"MSET": shaped(b"MSET", PAIRS),
    b"MSETNX": shaped(b"MSETNX", PAIRS),
    b"CAS": shaped(b"CAS", KEYS, VALUES, VALUES),
    b"APPEND": shaped(b"APPEND", KEYS, VALUES),
    b"INCRBY": shaped(b"INCRBY", KEYS, NUMBERS),
    b"GETSET": shaped(b"GETSET", KEYS, VALUES),
    b"GETDEL": shaped(b"GETDEL", KEYS),
    b"GETEX": shaped(b"GETEX", KEYS, st.one_of(st.sampled_from([(), (b"PERSIST",), (b"REFUSE", b"ERR x")]), LIFETIME)),
    b"EXPIRE": shaped(b"EXPIRE", KEYS, NUMBERS, NUMBERS, CONDITION),
    b"PERSIST": shaped(b"PERSIST", KEYS),
    b"DEL": shaped(b"DEL", st.lists(KEYS, min_size=1, max_size=3)),
    b"FLUSHALL": shaped(b"FLUSHALL"),
}  # fmt: skip
WRITE = st.one_of(SHAPES[b"SET"], shaped(b"SET", KEYS, VALUES), *SHAPES.values())
READ = st.one_of(
    *(shaped(st.just(verb), KEYS) for verb in (b"GET", b"MGET", b"EXISTS", b"STRLEN", b"TYPE", b"VERSION", b"TTL")),
    *(shaped(st.just(verb), KEYS) for verb in (b"PTTL", b"EXPIRETIME", b"PEXPIRETIME")),
    shaped(b"GETRANGE", KEYS, NUMBERS, NUMBERS),
    shaped(b"DBSIZE"),
    shaped(b"KEYS", st.sampled_from([b"*", b"[a-c]"])),
    shaped(b"SCAN", b"0", st.sampled_from([b"1", b"3", b"100"]), b"*", b""),
)


def test_every_verb_is_tried() -> None:
    assert SHAPES.keys() == WRITES.keys()
    assert len(QUERIES) == 14, "a new query belongs into READ"


class UnderWay:
    """A snapshot, how much of the log it stands for, and the pieces so far."""

    def __init__(self, machine: KeyValue, entries: int) -> None:
        self.entries = entries
        self.pieces: list[bytes] = []
        self.rest: Iterator[bytes] = machine.snapshot()

    def ask(self, count: int) -> None:
        self.pieces += itertools.islice(self.rest, count)


class AsGoodAsHavingAppliedEverything(RuleBasedStateMachine):
    """Machines that were restored beside one that was not: nothing that anybody can see tells them apart, ever."""

    def __init__(self) -> None:
        super().__init__()
        # One key a piece and one removal a call, so that few keys are enough to have everything half done.
        self.kept = snapshot._KEYS_PER_PIECE, keyspace._ENDED_PER_CALL, keyspace._RECLAIMED_PER_CALL
        snapshot._KEYS_PER_PIECE = keyspace._ENDED_PER_CALL = keyspace._RECLAIMED_PER_CALL = 1  # type: ignore[misc]

    def teardown(self) -> None:
        snapshot._KEYS_PER_PIECE, keyspace._ENDED_PER_CALL, keyspace._RECLAIMED_PER_CALL = self.kept  # type: ignore[misc]

    @initialize()
    def start(self) -> None:
        self.machine = KeyValue()
        self.log: list[tuple[list[tuple[bytes, ...]], int]] = []
        self.now_ms = 0
        self.others: list[KeyValue] = []
        self.under_way: list[UnderWay] = []
        self.listings: list[tuple[Any, list[bytes]]] = []

    @rule(commands=st.lists(WRITE, max_size=12), leap=st.integers(0, 15))
    def apply(self, commands: list[tuple[bytes, ...]], leap: int) -> None:
        self.now_ms += leap
        self.log.append((commands, self.now_ms))
        results = self.machine.apply(commands, at(self.now_ms))
        for other in self.others:
            divided = [other.apply([command], at(self.now_ms))[0] for command in commands]
            if not commands:
                other.apply([], at(self.now_ms))
            assert divided == results

    @rule(keys=st.lists(KEYS, max_size=3), stale=st.booleans(), commands=st.lists(st.one_of(WRITE, READ), max_size=4))
    def transact(self, keys: list[bytes], stale: bool, commands: list[tuple[bytes, ...]]) -> None:
        versions = self.machine.query([(b"VERSION", *keys)], at(self.now_ms))[0]
        if stale:
            versions = [max(version - 2, 0) for version in versions]
        self.apply([exec_command(list(zip(keys, versions, strict=True)), commands)], 0)

    @rule()
    def take(self) -> None:
        self.under_way.append(UnderWay(self.machine, len(self.log)))

    @rule(count=st.integers(1, 20))
    def ask(self, count: int) -> None:
        for one in self.under_way:
            one.ask(count)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def abandon(self, data: Any) -> None:
        self.under_way.remove(data.draw(st.sampled_from(self.under_way)))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), over=st.booleans())
    def restore(self, data: Any, over: bool) -> None:
        one = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(one)
        one.ask(10_000)
        prefix = KeyValue()
        for commands, now_ms in self.log[: one.entries]:
            prefix.apply(commands, at(now_ms))
        other = restore(one.pieces, self.others.pop() if self.others and over else None)
        assert state(other) == state(prefix)
        assert contents(one.pieces) == contents(prefix.snapshot()) == contents(other.snapshot())
        assert len(other) == len(prefix)
        due = min(prefix._data.lifetimes.deadlines.values(), default=None)
        assert other.next_due_ms is None or other.next_due_ms >= (due or 0)
        for commands, now_ms in self.log[one.entries :]:
            assert prefix.apply(commands, at(now_ms)) == other.apply(commands, at(now_ms))
        self.others.append(other)

    @rule()
    def list_keys(self) -> None:
        (known,) = self.machine.query([(b"KEYS", b"*")], at(self.now_ms))
        parts = self.machine._data.image()
        self.listings.append((parts, sorted(known)))

    @precondition(lambda self: self.listings)
    @rule(count=st.integers(1, 400))
    def read_listing(self, count: int) -> None:
        parts, known = self.listings.pop()
        found = [key for values, _ in itertools.islice(parts, count) for key in values]
        known = [key for key in known if key not in found]
        if count % 2:
            found = [key for values, _ in parts for key in values]
            assert sorted(found) == known
        else:
            self.listings.insert(0, (parts, known))

    @invariant()
    def nothing_tells_them_apart(self) -> None:
        for other in getattr(self, "others", ()):
            assert state(other) == state(self.machine)
            assert len(other) == len(self.machine)
            ends = other._data.lifetimes.deadlines.values()
            assert other.next_due_ms is not None or not ends
            assert not ends or other.next_due_ms is None or other.next_due_ms <= min(ends)


TestAsGoodAsHavingAppliedEverything = AsGoodAsHavingAppliedEverything.TestCase
TestAsGoodAsHavingAppliedEverything.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
