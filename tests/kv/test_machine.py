"""The key-value machine: results and state of each command, and scans under change."""

import itertools
import random
from collections.abc import Generator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from oarlock.kv import OK, ErrorReply, KeyValue
from oarlock.kv.keyspace import Keyspace
from oarlock.kv.writes import MAX_VALUE_BYTES, UnknownCommand
from oarlock.state_machine import Position
from oarlock.types import Index

AT = Position(Index(1), 0)

HERE = Position(index=Index(1), time_ms=0)


def finished(result: Any) -> Any:
    """The result, with a generator run to its end."""
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            next(result)
        except StopIteration as end:
            return end.value


def apply(machine: KeyValue, *command: bytes) -> Any:
    (result,) = machine.apply([command], HERE)
    return result


def query(machine: KeyValue, *request: bytes) -> Any:
    (result,) = machine.query([request], AT)
    return finished(result)


def holding(**values: str) -> KeyValue:
    machine = KeyValue()
    machine.apply([(b"SET", key.encode(), value.encode()) for key, value in values.items()], HERE)
    return machine


def scan_all(machine: KeyValue, count: int = 10, pattern: bytes = b"*", kind: bytes = b"") -> list[bytes]:
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, some = query(machine, b"SCAN", cursor, b"%d" % count, pattern, kind)
        found += some
        if cursor == b"0":
            return found


def test_a_batch_sees_its_own_writes_in_order() -> None:
    machine = KeyValue()
    assert machine.apply(
        [(b"SET", b"k", b"1"), (b"INCRBY", b"k", b"41"), (b"SET", b"k", b"x", b"GET"), (b"GETDEL", b"k")], HERE
    ) == [OK, 42, b"42", b"x"]
    assert query(machine, b"GET", b"k") is None


def test_writes_after_a_flush_in_the_same_batch_stay() -> None:
    machine = holding(old="1")
    assert machine.apply([(b"FLUSHALL",), (b"SET", b"new", b"2")], HERE) == [OK, OK]
    assert query(machine, b"KEYS", b"*") == [b"new"]


@pytest.mark.parametrize(
    ("before", "command", "result", "after"),
    [
        (None, (b"SET", b"k", b"v", b"NX"), OK, b"v"),
        (b"o", (b"SET", b"k", b"v", b"NX"), None, b"o"),
        (None, (b"SET", b"k", b"v", b"XX"), None, None),
        (b"o", (b"SET", b"k", b"v", b"XX"), OK, b"v"),
        (b"o", (b"SET", b"k", b"v", b"GET"), b"o", b"v"),
        (None, (b"SET", b"k", b"v", b"GET"), None, b"v"),
        (b"o", (b"SET", b"k", b"v", b"NX", b"GET"), b"o", b"o"),
        (None, (b"SET", b"k", b"v", b"XX", b"GET"), None, None),
        (None, (b"SETNX", b"k", b"v"), 1, b"v"),
        (b"o", (b"SETNX", b"k", b"v"), 0, b"o"),
        (None, (b"MSET", b"k", b"1", b"k", b"2"), OK, b"2"),
        (b"a", (b"APPEND", b"k", b"b"), 2, b"ab"),
        (None, (b"APPEND", b"k", b"b"), 1, b"b"),
        (b"o", (b"GETDEL", b"k"), b"o", None),
        (None, (b"GETDEL", b"k"), None, None),
        (b"o", (b"DEL", b"k", b"k", b"x"), 1, None),
        (None, (b"INCRBY", b"k", b"-3"), -3, b"-3"),
        (b"10", (b"INCRBY", b"k", b"1"), 11, b"11"),
        (b"9223372036854775806", (b"INCRBY", b"k", b"1"), 2**63 - 1, b"9223372036854775807"),
        (b"o", (b"FLUSHALL",), OK, None),
    ],
)
def test_writes(before: bytes | None, command: tuple[bytes, ...], result: Any, after: bytes | None) -> None:
    machine = KeyValue()
    if before is not None:
        apply(machine, b"SET", b"k", before)
    answer = apply(machine, *command)
    assert answer == result and type(answer) is type(result)
    assert query(machine, b"GET", b"k") == after


@pytest.mark.parametrize(
    "value", [b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"-", b"1.0", b"abc", b"9223372036854775808", b"1" * 21, b"1\x00"]
)
def test_what_is_not_an_integer_is_not_counted(value: bytes) -> None:
    machine = KeyValue()
    apply(machine, b"SET", b"k", value)
    assert apply(machine, b"INCRBY", b"k", b"1") == ErrorReply(b"ERR value is not an integer or out of range")
    assert query(machine, b"GET", b"k") == value


@pytest.mark.parametrize(("value", "delta"), [(b"9223372036854775807", b"1"), (b"-9223372036854775808", b"-1")])
def test_overflow_changes_nothing(value: bytes, delta: bytes) -> None:
    machine = KeyValue()
    apply(machine, b"SET", b"k", value)
    assert apply(machine, b"INCRBY", b"k", delta) == ErrorReply(b"ERR increment or decrement would overflow")
    assert query(machine, b"GET", b"k") == value


def test_append_stops_at_the_largest_value() -> None:
    machine = KeyValue()
    apply(machine, b"SET", b"k", b"x" * (MAX_VALUE_BYTES - 1))
    assert apply(machine, b"APPEND", b"k", b"yz") == ErrorReply(
        b"ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    )
    assert apply(machine, b"APPEND", b"k", b"y") == MAX_VALUE_BYTES


@pytest.mark.parametrize(
    "command",
    [
        (b"NOSUCH",),
        (b"set", b"k", b"v"),
        (b"SET", b"k"),
        (b"SET", b"k", b"v", b"EX"),
        (b"SET", b"k", b"v", b"GET", b"NX"),
        (b"MSET", b"k"),
        (b"GETDEL",),
        (b"FLUSHALL", b"x"),
        pytest.param(b"SET", marks=pytest.mark.interpreted),  # compiled, it is a TypeError
    ],
)
def test_a_command_that_should_not_be_in_the_log_stops_the_machine(command: Any) -> None:
    with pytest.raises(UnknownCommand):
        KeyValue().apply([command], HERE)


def test_queries() -> None:
    machine = holding(a="1", b="22", c="333")
    mixed = [(b"GET", b"a"), (b"GET", b"none"), (b"MGET", b"c", b"none", b"b"), (b"EXISTS", b"a", b"a", b"x")]
    assert machine.query(mixed, AT) == [b"1", None, [b"333", None, b"22"], 2]
    assert machine.query([(b"STRLEN", b"c"), (b"STRLEN", b"x"), (b"DBSIZE",)], AT) == [3, 0, 3]
    assert sorted(query(machine, b"KEYS", b"[ab]")) == [b"a", b"b"]
    with pytest.raises(UnknownCommand):
        machine.query([(b"NOSUCH",)], AT)


def test_keys_takes_its_keys_at_once_and_matches_in_steps() -> None:
    machine = KeyValue()
    machine.apply([(b"SET", b"key:%d" % n, b"") for n in range(20_000)], HERE)
    (answer,) = machine.query([(b"KEYS", b"key:*")], AT)
    assert isinstance(answer, Generator)
    next(answer)
    machine.apply([(b"SET", b"key:later", b""), (b"FLUSHALL",)], HERE)
    assert sorted(finished(answer)) == sorted(b"key:%d" % n for n in range(20_000))


@pytest.mark.parametrize("steps", [0, 1, 7, 15])
def test_keys_are_those_of_its_moment_whatever_comes_and_goes_meanwhile(steps: int) -> None:
    machine = KeyValue()
    there = [b"key:%d" % n for n in range(20_000)]
    machine.apply([(b"SET", key, b"v") for key in there], HERE)
    (answer,) = machine.query([(b"KEYS", b"*")], AT)
    for _ in range(steps):
        next(answer)
    machine.apply([(b"DEL", *there[:3000]), (b"MSET", *there[5000:5100], b"new", b"v")], HERE)
    machine.apply([(b"SET", key, b"again") for key in there[:1000]], HERE)
    machine.apply([(b"APPEND", b"new:%d" % n, b"v") for n in range(1000)], HERE)
    next(answer)
    machine.apply([(b"SET", b"new:%d" % n, b"v") for n in range(500, 3000)], HERE)
    machine.apply([(b"GETDEL", key) for key in there[2000:9000]], HERE)
    assert sorted(finished(answer)) == sorted(there)


def test_an_abandoned_listing_is_forgotten() -> None:
    machine = KeyValue()
    machine.apply([(b"SET", b"key:%d" % n, b"") for n in range(5_000)], HERE)
    answers = machine.query([(b"KEYS", b"*"), (b"KEYS", b"*")], AT)
    next(answers[0])
    assert len(machine._data._images) == 2
    del answers
    apply(machine, b"SET", b"k", b"v")
    assert machine._data._images == []


def test_a_large_scan_runs_in_steps() -> None:
    machine = KeyValue()
    machine.apply([(b"SET", b"key:%d" % n, b"") for n in range(5_000)], HERE)
    (answer,) = machine.query([(b"SCAN", b"0", b"1000000", b"*9", b"")], AT)
    assert isinstance(answer, Generator)
    cursor, keys = finished(answer)
    assert cursor == b"0"
    assert sorted(keys) == sorted(b"key:%d" % n for n in range(9, 5_000, 10))


@pytest.mark.parametrize("count", [1, 7, 100])
def test_a_scan_meets_every_key_once(count: int) -> None:
    machine = KeyValue()
    keys = sorted(b"key:%d" % n for n in range(3_000))
    machine.apply([(b"SET", key, b"") for key in keys], HERE)
    assert sorted(scan_all(machine, count)) == keys
    assert scan_all(machine, count, kind=b"list") == []
    assert sorted(scan_all(machine, count, kind=b"string")) == keys


def test_a_scan_looks_at_about_as_many_keys_as_asked() -> None:
    machine = KeyValue()
    machine.apply([(b"SET", b"key:%d" % n, b"") for n in range(50_000)], HERE)
    _, keys = query(machine, b"SCAN", b"0", b"10", b"*", b"")
    assert 10 <= len(keys) <= 15


def test_keys_with_one_crc_are_not_parted() -> None:
    pair = (b"plumless", b"buckeroo")
    machine = KeyValue()
    machine.apply([(b"SET", key, b"") for key in pair], HERE)
    assert sorted(scan_all(machine, 1)) == sorted(pair)


def test_neighbours_in_the_order_of_a_scan_are_both_met() -> None:
    # Found by search: the same shard, and places in it that follow one another.
    seen: dict[int, bytes] = {}
    source = random.Random(1)
    before = None
    while before is None:
        key = source.randbytes(8)
        crc = crc32(key)
        before = seen.get(crc - 1024)
        seen[crc] = key
    machine = KeyValue()
    machine.apply([(b"SET", before, b""), (b"SET", key, b"")], HERE)
    assert scan_all(machine, 1) == [before, key]


class ScanUnderChange(RuleBasedStateMachine):
    """A key that is there throughout a scan is returned, whatever happens to the others meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = KeyValue()
        self.staying = [b"stay:%d" % n for n in range(200)]
        self.machine.apply([(b"SET", key, b"") for key in self.staying], HERE)
        self.restart()

    def restart(self) -> None:
        self.cursor, self.seen = b"0", set[bytes]()

    @rule(number=st.integers(0, 2000))
    def add(self, number: int) -> None:
        self.machine.apply([(b"SET", b"other:%d" % n, b"") for n in range(number, number + 50)], HERE)

    @rule(number=st.integers(0, 2000))
    def remove(self, number: int) -> None:
        apply(self.machine, b"DEL", *(b"other:%d" % n for n in range(number, number + 100)))

    @rule(count=st.integers(1, 300))
    def step(self, count: int) -> None:
        self.cursor, keys = query(self.machine, b"SCAN", self.cursor, b"%d" % count, b"*", b"")
        self.seen.update(keys)
        if self.cursor == b"0":
            assert self.seen.issuperset(self.staying)
            self.restart()


TestScanUnderChange = ScanUnderChange.TestCase
TestScanUnderChange.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


KEYS = st.sampled_from([b"a", b"b", b"c", b""])
VALUES = st.one_of(st.binary(max_size=4), st.integers(-(2**63), 2**63 - 1).map(lambda n: b"%d" % n))


class AgainstADict(RuleBasedStateMachine):
    """The machine against the obvious model: one dict."""

    @initialize()
    def start(self) -> None:
        self.machine = KeyValue()
        self.model: dict[bytes, bytes] = {}

    @rule(key=KEYS, value=VALUES)
    def set(self, key: bytes, value: bytes) -> None:
        assert apply(self.machine, b"SET", key, value) is OK
        self.model[key] = value

    @rule(key=KEYS, value=VALUES, condition=st.sampled_from([b"NX", b"XX"]), get=st.booleans())
    def set_if(self, key: bytes, value: bytes, condition: bytes, get: bool) -> None:
        before = self.model.get(key)
        stored = (before is None) == (condition == b"NX")
        result = apply(self.machine, b"SET", key, value, condition, *([b"GET"] if get else []))
        assert result == (before if get else OK if stored else None)
        if stored:
            self.model[key] = value

    @rule(key=KEYS, delta=st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)))
    def incrby(self, key: bytes, delta: int) -> None:
        result = apply(self.machine, b"INCRBY", key, b"%d" % delta)
        try:
            before = int(self.model.get(key, b"0"))
            spelled = b"%d" % before == self.model.get(key, b"0") and -(2**63) <= before < 2**63
        except ValueError:
            spelled = False
        if not spelled or not -(2**63) <= before + delta < 2**63:
            assert isinstance(result, ErrorReply)
        else:
            assert result == before + delta
            self.model[key] = b"%d" % result

    @rule(key=KEYS, tail=VALUES)
    def append(self, key: bytes, tail: bytes) -> None:
        self.model[key] = self.model.get(key, b"") + tail
        assert apply(self.machine, b"APPEND", key, tail) == len(self.model[key])

    @rule(keys=st.lists(KEYS, min_size=1))
    def delete(self, keys: list[bytes]) -> None:
        assert apply(self.machine, b"DEL", *keys) == len({key for key in keys if key in self.model})
        for key in keys:
            self.model.pop(key, None)

    @rule(key=KEYS)
    def getdel(self, key: bytes) -> None:
        assert apply(self.machine, b"GETDEL", key) == self.model.pop(key, None)

    @rule()
    def flush(self) -> None:
        assert apply(self.machine, b"FLUSHALL") is OK
        self.model.clear()

    @invariant()
    def answers_agree(self) -> None:
        if not hasattr(self, "machine"):
            return
        keys = [b"a", b"b", b"c", b""]
        assert query(self.machine, b"MGET", *keys) == [self.model.get(key) for key in keys]
        assert [query(self.machine, b"GET", key) for key in keys] == [self.model.get(key) for key in keys]
        assert query(self.machine, b"EXISTS", *keys) == len(self.model) == len(self.machine)
        assert sorted(query(self.machine, b"KEYS", b"*")) == sorted(scan_all(self.machine)) == sorted(self.model)


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_flushed_keys_are_freed_in_pieces_and_all_of_them() -> None:
    data = Keyspace()
    for number in range(100_000):
        key = b"%d" % number
        data.put(key, b"")
    data.flush()
    held = [len(data._rubbish)]
    while data._rubbish:
        data.reclaim(applied=1)
        held.append(len(data._rubbish))
    freed = [before - after for before, after in itertools.pairwise(held)]
    assert held[0] == 100_000 and max(freed) == 1_002
    assert len(data) == 0
