"""Transactions as the machine executes them: all commands or none, and what counts as a change of a watched key."""

from typing import Any

import pytest

from oarlock.kv import OK, ErrorReply
from oarlock.kv.packing import exec_command
from oarlock.kv.writes import UnknownCommand
from oarlock.state_machine import Position
from oarlock.types import Index
from tests.kv.timed import Timed


def transact(timed: Timed, watched: list[tuple[bytes, int]], *commands: tuple[bytes, ...]) -> Any:
    return timed.apply(*exec_command(watched, commands))


def watching(timed: Timed, *keys: bytes) -> list[tuple[bytes, int]]:
    return list(zip(keys, timed.query(b"VERSION", *keys), strict=True))


def test_reads_and_writes_see_each_other_in_order() -> None:
    timed = Timed()
    assert transact(
        timed, [], (b"SET", b"k", b"1"), (b"GET", b"k"), (b"INCRBY", b"k", b"4"), (b"KEYS", b"*"),
        (b"FLUSHALL",), (b"DBSIZE",), (b"SET", b"after", b""),
    ) == [OK, b"1", 5, [b"k"], OK, 0, OK]  # fmt: skip
    assert timed.query(b"KEYS", b"*") == [b"after"]


def test_an_error_inside_stops_nothing_and_undoes_nothing() -> None:
    timed = Timed()
    timed.apply(b"SET", b"text", b"abc")
    results = transact(timed, [], (b"SET", b"a", b"1"), (b"INCRBY", b"text", b"1"), (b"SET", b"b", b"2"))
    assert [type(result) for result in results] == [type(OK), ErrorReply, type(OK)]
    assert timed.query(b"MGET", b"a", b"b") == [b"1", b"2"]


CHANGES = {
    "set": [(b"SET", b"k", b"old")], "append": [(b"APPEND", b"k", b"")], "incr": [(b"INCRBY", b"n", b"1")],
    "delete": [(b"DEL", b"k")], "flush": [(b"FLUSHALL",)], "set and delete": [(b"SET", b"x", b""), (b"DEL", b"x")],
    "expire": [(b"EXPIRE", b"k", b"100", b"0")], "persist": [(b"PERSIST", b"e")],
    "getex": [(b"GETEX", b"k", b"PX", b"100", b"0")], "cas": [(b"CAS", b"k", b"old", b"old")],
    "delete and set": [(b"DEL", b"k"), (b"SET", b"k", b"old")], "flush and set": [(b"FLUSHALL",), (b"SET", b"k", b"")],
    "set and flush": [(b"SET", b"x", b""), (b"FLUSHALL",)], "transaction": [exec_command([], [(b"SET", b"x", b"")])],
}  # fmt: skip


def prepared() -> Timed:
    timed = Timed().at(1000)
    timed.apply(b"MSET", b"k", b"old", b"n", b"1")
    timed.apply(b"SET", b"e", b"", b"PX", b"500", b"0")
    return timed


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("together", [False, True], ids=["entry by entry", "in one entry"])
def test_a_change_aborts(name: str, together: bool) -> None:
    timed = prepared()
    watched = watching(timed, b"k", b"n", b"x", b"e")
    commands = [*CHANGES[name], exec_command(watched, [(b"SET", b"done", b"")])]
    if together:
        *_, result = timed.machine.apply(commands, Position(Index(1), timed.now_ms))
    else:
        *_, result = [timed.apply(*command) for command in commands]
    assert result is None
    assert timed.query(b"EXISTS", b"done") == 0


@pytest.mark.parametrize("divided_at", range(4))
def test_versions_do_not_depend_on_how_the_log_is_divided_among_calls(divided_at: int) -> None:
    """A replica that answers reads of its own clients among the commands of a batch divides it; the others do not."""
    commands = [
        (b"SET", b"k", b"1"),
        (b"INCRBY", b"n", b"1"),
        (b"SET", b"x", b"2"),
        (b"DEL", b"k"),
        (b"SET", b"y", b""),
    ]
    whole, divided = Timed(), Timed()
    whole.machine.apply(commands, Position(Index(1), 0))
    divided.machine.apply(commands[: divided_at + 1], Position(Index(1), 0))
    divided.machine.apply(commands[divided_at + 1 :], Position(Index(1), 0))
    keys = (b"k", b"n", b"x", b"y", b"absent")
    assert watching(whole, *keys) == watching(divided, *keys)
    whole.at(10).at(20)
    assert watching(whole, *keys) == watching(divided, *keys), "nor on entries that only tell the time"


def test_58_a_watched_absent_key_that_was_set_and_deleted() -> None:
    timed = Timed()
    watched = watching(timed, b"k")
    timed.apply(b"SET", b"k", b"v")
    timed.apply(b"DEL", b"k")
    assert transact(timed, watched, (b"SET", b"done", b"")) is None


@pytest.mark.parametrize(
    "command",
    [(b"SET", b"k", b"v", b"NX"), (b"SETNX", b"k", b"v"), (b"DEL", b"x"), (b"CAS", b"k", b"?", b"v"), (b"GETEX", b"k"),
     (b"PERSIST", b"k"), (b"EXPIRE", b"k", b"9", b"0", b"XX"), (b"GETDEL", b"x"), (b"SET", b"other", b"")],
)  # fmt: skip
def test_what_changes_nothing_does_not_abort(command: tuple[bytes, ...]) -> None:
    timed = prepared()
    watched = watching(timed, b"k", b"x")
    timed.apply(*command)
    assert transact(timed, watched, (b"SET", b"done", b"")) == [OK]


def test_a_flush_does_not_change_a_key_that_was_not_there() -> None:
    timed = prepared()
    watched = watching(timed, b"x")
    timed.apply(b"FLUSHALL")
    assert transact(timed, watched) == []


def test_a_key_that_ends_after_it_was_watched_aborts() -> None:
    timed = prepared()
    watched = watching(timed, b"e")
    assert transact(timed, watched) == []
    timed.at(1500)
    assert transact(timed, watched) is None


def test_a_key_that_was_gone_when_it_was_watched_may_be_removed_meanwhile() -> None:
    timed = Timed().at(1000)
    for number in range(3000):
        timed.apply(b"SET", b"e:%d" % number, b"", b"PX", b"%d" % (number + 1), b"0")
    timed.at(5000)
    last = b"e:2999"
    assert any(last in shard for shard in timed.machine._data.shards)
    watched = watching(timed, last)
    timed.at(5000)
    assert not any(last in shard for shard in timed.machine._data.shards)
    assert transact(timed, watched) == []


def test_a_version_that_was_never_learnt_matches_nothing() -> None:
    timed = prepared()
    assert transact(timed, [(b"k", -1)]) is None
    assert transact(Timed(), [(b"absent", -1)]) is None


@pytest.mark.parametrize(
    "command",
    [(b"EXEC",), (b"EXEC", b"", b""), (b"EXEC", b"\x90", b"x"), exec_command([], [(b"NOSUCH",)]),
     exec_command([], [exec_command([], [])])],
)  # fmt: skip
def test_a_transaction_that_should_not_be_in_the_log_stops_the_machine(command: tuple[bytes, ...]) -> None:
    with pytest.raises(UnknownCommand):
        Timed().apply(*command)


def test_a_listing_learns_of_the_changes_inside() -> None:
    timed = Timed()
    keys = [b"key:%d" % number for number in range(5000)]
    for key in keys:
        timed.apply(b"SET", key, b"")
    (listing,) = timed.machine.query([(b"KEYS", b"*")], Position(Index(1), 0))
    next(listing)
    transact(timed, [], (b"DEL", *keys[:4000]), (b"SET", b"new", b""))
    found: list[bytes] = []
    try:
        while True:
            next(listing)
    except StopIteration as end:
        found = end.value
    assert sorted(found) == sorted(keys)


def test_replies_that_are_too_large_together_are_left_out_and_all_is_executed() -> None:
    timed = Timed()
    timed.apply(b"SET", b"large", b"x" * 8_000_000)
    append, get = (b"APPEND", b"large", b"y"), (b"GET", b"large")
    results = transact(timed, [], *[append, get] * 12, (b"KEYS", b"*"), (b"SET", b"after", b"1"))
    assert [type(result) for result in results[1:24:2]] == [bytes] * 8 + [ErrorReply] * 4
    assert [type(result) for result in results[-2:]] == [ErrorReply] * 2
    assert timed.query(b"STRLEN", b"large") == 8_000_012
    assert timed.query(b"GET", b"after") == b"1"
