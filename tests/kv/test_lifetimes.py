"""Lifetimes: when keys are gone, for whom, and what is kept of them."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from oarlock.kv import OK
from oarlock.kv.lifetimes import Lifetimes
from oarlock.state_machine import Position
from oarlock.types import Index
from tests.kv.timed import Timed

END = b"1700000000000"
"""An end in Unix time; nothing is decided by it."""


def at(now_ms: int) -> Position:
    return Position(Index(1), now_ms)


def ending(after_ms: int = 100) -> Timed:
    """A machine at time 1000 with a key ``k`` that ends so much later."""
    timed = Timed().at(1000)
    assert timed.apply(b"SET", b"k", b"1", b"PX", b"%d" % after_ms, END) is OK
    return timed


def test_a_key_is_gone_from_the_entry_on_that_has_its_time() -> None:
    timed = ending(100)
    timed.at(1099)
    assert timed.query(b"GET", b"k") == b"1"
    timed.at(1100)
    assert timed.query(b"GET", b"k") is None


def test_only_entries_make_a_key_go() -> None:
    timed = ending(100)
    assert timed.query(b"GET", b"k", ahead_ms=5000) == b"1"
    assert timed.query(b"PTTL", b"k", ahead_ms=5000) == 0
    assert timed.query(b"TTL", b"k", ahead_ms=5000) == 0
    assert timed.query(b"EXISTS", b"k", ahead_ms=5000) == 1


def test_log_time_never_goes_back() -> None:
    timed = ending(100).at(1100)
    timed.now_ms = 1000
    assert timed.apply(b"SET", b"k", b"1", b"PX", b"50", END) is OK
    assert timed.query(b"PTTL", b"k", ahead_ms=100) == 50


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ((b"SET", b"k", b"v", b"NX"), OK), ((b"SET", b"k", b"v", b"XX"), None), ((b"SET", b"k", b"v", b"GET"), None),
        ((b"SETNX", b"k", b"v"), 1), ((b"MSETNX", b"k", b"v", b"l", b"v"), 1), ((b"APPEND", b"k", b"v"), 1),
        ((b"INCRBY", b"k", b"5"), 5), ((b"GETSET", b"k", b"v"), None), ((b"GETDEL", b"k"), None),
        ((b"GETEX", b"k", b"PERSIST"), None), ((b"GETEX", b"k", b"PX", b"9", END), None), ((b"PERSIST", b"k"), 0),
        ((b"EXPIRE", b"k", b"99", END), 0), ((b"DEL", b"k"), 0), ((b"CAS", b"k", b"1", b"2"), 0),
        ((b"SET", b"k", b"v", b"KEEPTTL"), OK),
    ],
)  # fmt: skip
@pytest.mark.parametrize("crowd", [0, 5000], ids=["removed", "not removed yet"])
def test_no_command_sees_a_key_that_is_gone(command: tuple[bytes, ...], result: Any, crowd: int) -> None:
    timed = Timed().at(1000)
    for number in range(crowd):  # All are due before it, so it is not among the first that are removed.
        timed.apply(b"SET", b"crowd:%d" % number, b"v", b"PX", b"%d" % (number % 50 + 1), END)
    timed.apply(b"SET", b"k", b"1", b"PX", b"100", END)
    timed.at(1100)
    data = timed.machine._data
    assert any(b"k" in shard for shard in data.shards) is bool(crowd)
    assert timed.apply(*command) == result
    if timed.query(b"EXISTS", b"k"):
        assert timed.query(b"TTL", b"k") == -1, "the new key inherited an old lifetime"
    while data.lifetimes.deadlines:
        timed.at(timed.now_ms)
    assert timed.query(b"DBSIZE") == sum(map(len, data.shards))


def test_keys_that_are_gone_are_counted_and_listed_nowhere_before_they_are_removed() -> None:
    timed = Timed().at(1000)
    timed.machine.apply([(b"SET", b"key:%d" % n, b"v") for n in range(100)], at(1000))
    for number in range(6000):
        timed.apply(b"SET", b"gone:%d" % number, b"v", b"PX", b"%d" % (1 + number % 7), END)
    timed.at(2000)
    data = timed.machine._data
    assert sum(map(len, data.shards)) == 4100, "a bounded number is removed at once"
    assert timed.query(b"DBSIZE") == len(timed.machine) == 100
    assert len(timed.query(b"KEYS", b"*")) == 100
    assert timed.query(b"KEYS", b"gone:*") == []
    assert timed.query(b"MGET", b"gone:5999", b"key:1") == [None, b"v"]
    assert timed.query(b"EXISTS", *(b"gone:%d" % n for n in range(6000))) == 0
    cursor, seen = b"0", []
    while True:
        cursor, some = timed.query(b"SCAN", cursor, b"100", b"*", b"")
        seen += some
        if cursor == b"0":
            break
    assert len(seen) == 100
    due = timed.machine.next_due_ms
    assert due is not None and due <= 2000, "the leader goes on until all are removed"
    timed.at(2000).at(2000)
    assert sum(map(len, data.shards)) == 100
    assert timed.machine.next_due_ms is None


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ((b"SET", b"k", b"2"), -1), ((b"SET", b"k", b"2", b"XX"), -1), ((b"SET", b"k", b"2", b"KEEPTTL"), 60),
        ((b"SET", b"k", b"2", b"NX"), 60), ((b"INCRBY", b"k", b"1"), 60), ((b"APPEND", b"k", b"1"), 60),
        ((b"SETNX", b"k", b"1"), 60), ((b"GETSET", b"k", b"1"), -1), ((b"MSET", b"k", b"1"), -1),
        ((b"MSETNX", b"k", b"1"), 60), ((b"GETEX", b"k"), 60), ((b"GETEX", b"k", b"PERSIST"), -1),
        ((b"GETEX", b"k", b"PX", b"7", END), 7), ((b"GETEX", b"k", b"REFUSE", b"ERR x"), 60),
        ((b"PERSIST", b"k"), -1), ((b"DEL", b"k"), -2), ((b"GETDEL", b"k"), -2), ((b"FLUSHALL",), -2),
        ((b"CAS", b"k", b"1", b"2"), -1), ((b"CAS", b"k", b"x", b"2"), 60), ((b"EXPIRE", b"k", b"0", b"1"), -2),
        ((b"EXPIRE", b"k", b"-5", b"1"), -2), ((b"GETEX", b"k", b"PX", b"-5", b"1"), -2),
        ((b"SET", b"k", b"2", b"PX", b"-5", b"1"), -2),
    ],
)  # fmt: skip
def test_what_commands_leave_of_a_lifetime(command: tuple[bytes, ...], left: int) -> None:
    timed = ending(100).at(1040)
    timed.apply(*command)
    assert timed.query(b"PTTL", b"k") == left
    assert timed.query(b"PEXPIRETIME", b"k") == (left if left < 0 else int(END))


@pytest.mark.parametrize(
    ("conditions", "without", "shorter", "longer"),
    [
        ((), 1, 1, 1),
        ((b"NX",), 1, 0, 0),
        ((b"XX",), 0, 1, 1),
        ((b"GT",), 0, 0, 1),
        ((b"LT",), 1, 1, 0),
        ((b"XX", b"LT"), 0, 1, 0),
    ],
)
def test_conditions_of_expire(conditions: tuple[bytes, ...], without: int, shorter: int, longer: int) -> None:
    timed = Timed().at(1000)
    timed.apply(b"SET", b"k", b"v")
    assert timed.apply(b"EXPIRE", b"k", b"50", b"1", *conditions) == without
    for after, unix, result in ((b"50", b"1", shorter), (b"150", b"3", longer)):
        timed.apply(b"SET", b"k", b"v", b"PX", b"100", b"2")
        assert timed.apply(b"EXPIRE", b"k", after, unix, *conditions) == result
        assert timed.query(b"PTTL", b"k") == (int(after) if result else 100)
        assert timed.query(b"PEXPIRETIME", b"k") == (int(unix) if result else 2)


def test_the_same_end_told_later_is_neither_earlier_nor_later() -> None:
    timed = ending(100).at(1010)
    assert timed.apply(b"EXPIRE", b"k", b"95", END, b"GT") == 0
    assert timed.apply(b"EXPIRE", b"k", b"85", END, b"LT") == 0


def test_a_flush_leaves_log_time_where_it_is() -> None:
    timed = Timed().at(1000)
    timed.apply(b"FLUSHALL")
    timed.now_ms = 0
    timed.apply(b"SET", b"k", b"v", b"PX", b"50", END)
    assert timed.machine.next_due_ms == 1050


def test_a_plain_set_after_a_flush_in_the_same_batch_ends_a_lifetime_given_between() -> None:
    timed = ending(100)
    flushed = [(b"FLUSHALL",), (b"SET", b"k", b"1", b"PX", b"50", END), (b"SET", b"k", b"2")]
    timed.machine.apply(flushed, at(1000))
    assert timed.query(b"PTTL", b"k") == -1


def test_seconds_are_rounded() -> None:
    timed = Timed().at(0)
    timed.apply(b"SET", b"k", b"v", b"PX", b"2499", b"1499")
    assert (timed.query(b"TTL", b"k"), timed.query(b"EXPIRETIME", b"k")) == (2, 1)
    timed.apply(b"SET", b"k", b"v", b"PX", b"2500", b"1500")
    assert (timed.query(b"TTL", b"k"), timed.query(b"EXPIRETIME", b"k")) == (3, 2)


def test_a_listing_shows_what_was_there_at_its_moment() -> None:
    timed = Timed().at(1000)
    timed.machine.apply([(b"SET", b"key:%d" % n, b"v", b"PX", b"%d" % (100 + n % 2), END) for n in range(4000)],
                        at(1000))  # fmt: skip
    timed.at(1100)  # Half of them are gone, all of these removed.
    (listing,) = timed.machine.query([(b"KEYS", b"*")], at(1100))
    next(listing)
    timed.at(1101)
    timed.machine.apply([(b"SET", b"key:%d" % n, b"again") for n in range(0, 4000, 3)], at(1101))
    found: list[bytes] = []
    try:
        while True:
            next(listing)
    except StopIteration as end:
        found = end.value
    assert sorted(found) == sorted(b"key:%d" % n for n in range(1, 4000, 2))


def test_the_heap_does_not_grow_with_lifetimes_that_are_given_anew() -> None:
    lifetimes = Lifetimes()
    for number in range(100_000):
        lifetimes.give(b"longer", 1000 + number, 0)
        lifetimes.give(b"shorter", 1_000_000 - number, 0)
        lifetimes.give(b"short %d" % number, 500, 0)
        lifetimes.forget(b"short %d" % number)
    assert len(lifetimes._heap) <= 2 * 2 + 1024
    assert len(lifetimes._placed) <= 2 * 2 + 1024 + 1


def test_a_lifetime_that_was_extended_asks_for_no_entry_at_its_old_end() -> None:
    timed = ending(100)
    for _ in range(50):
        timed.now_ms += 50
        timed.apply(b"EXPIRE", b"k", b"100", END)
    assert timed.at(timed.now_ms + 60).machine.next_due_ms == timed.now_ms + 40


class AgainstAModel(RuleBasedStateMachine):
    """Lifetimes against a dict of deadlines, with time that passes in leaps."""

    KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])

    def __init__(self) -> None:
        super().__init__()
        self.timed = Timed()
        self.model: dict[bytes, int | None] = {}

    @rule(leap=st.integers(0, 60))
    def pass_time(self, leap: int) -> None:
        self.timed.at(self.timed.now_ms + leap)
        now = self.timed.now_ms
        self.model = {key: end for key, end in self.model.items() if end is None or end > now}

    @rule(key=KEYS, after=st.integers(1, 100))
    def set_for(self, key: bytes, after: int) -> None:
        self.timed.apply(b"SET", key, b"v", b"PX", b"%d" % after, b"0")
        self.model[key] = self.timed.now_ms + after

    @rule(key=KEYS)
    def set_for_ever(self, key: bytes) -> None:
        self.timed.apply(b"SET", key, b"v")
        self.model[key] = None

    @rule(key=KEYS, after=st.integers(-5, 100))
    def expire(self, key: bytes, after: int) -> None:
        assert self.timed.apply(b"EXPIRE", key, b"%d" % after, b"%d" % (after + self.timed.now_ms)) == (
            key in self.model
        )
        if key in self.model:
            self.model[key] = self.timed.now_ms + after
            if after <= 0:
                del self.model[key]

    @rule(key=KEYS)
    def persist(self, key: bytes) -> None:
        assert self.timed.apply(b"PERSIST", key) == (self.model.get(key) is not None)
        if key in self.model:
            self.model[key] = None

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.timed.apply(b"DEL", key) == (self.model.pop(key, 0) != 0)

    @invariant()
    def agrees(self) -> None:
        for key in (b"a", b"b", b"c", b"d"):
            end = self.model.get(key, 0)
            left = -2 if end == 0 else -1 if end is None else end - self.timed.now_ms
            assert self.timed.query(b"PTTL", key) == left
        ends = [end for end in self.model.values() if end is not None]
        due = self.timed.machine.next_due_ms
        if ends:
            assert due is not None and due <= min(ends)
        assert self.timed.query(b"DBSIZE") == len(self.model)


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
