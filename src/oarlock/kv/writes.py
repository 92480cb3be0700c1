"""The commands that change data, except the plain SET, which :mod:`oarlock.kv.machine` does in its loop.

Each function executes one canonical command and returns its result. A command of the wrong shape raises: what stands
in the log was checked before it got there, so it is a bug, and guessing would let replicas differ.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from oarlock.kv import integers
from oarlock.kv.keyspace import Keyspace
from oarlock.kv.results import NOT_AN_INTEGER, OK, OVERFLOW, STRING_TOO_LONG, Result
from oarlock.types import MAX_COMMAND_BYTES

Write: TypeAlias = Callable[[Keyspace, tuple[bytes, ...]], Result]

SET_CONDITIONS: Final = (b"NX", b"XX")
MAX_VALUE_BYTES: Final = MAX_COMMAND_BYTES
"""Largest value that commands may build up: what one command could carry, so that every value can be carried."""


class UnknownCommand(Exception):
    """A verb or a shape that this version does not know stands in the log. The replica must stop."""


def set_(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``SET key value [NX|XX] [GET]``, the options in this order."""
    _, key, value, *options = command
    shard = data.shard(key)
    before = shard.get(key)
    condition = options.pop(0) if options and options[0] in SET_CONDITIONS else None
    if options not in ([], [b"GET"]):
        raise UnknownCommand(command[:1] + command[3:])
    store = condition is None or (before is None) == (condition == b"NX")
    if store:
        shard[key] = value
    if options:
        return before
    return OK if store else None


def setnx(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key, value = command
    shard = data.shard(key)
    if key in shard:
        return 0
    shard[key] = value
    return 1


def mset(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    for key, value in zip(command[1::2], command[2::2], strict=True):
        data.shard(key)[key] = value
    return OK


def append(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key, tail = command
    shard = data.shard(key)
    value = shard.get(key, b"")
    if len(value) + len(tail) > MAX_VALUE_BYTES:
        return STRING_TOO_LONG
    shard[key] = value + tail
    return len(value) + len(tail)


def incrby(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``INCRBY key delta``: INCR, DECR and DECRBY are spelled so in the log."""
    _, key, text = command
    delta = int(text)
    shard = data.shard(key)
    before = integers.parse(shard.get(key, b"0"))
    if before is None:
        return NOT_AN_INTEGER
    after = before + delta
    if not integers.MIN <= after <= integers.MAX:
        return OVERFLOW
    shard[key] = b"%d" % after
    return after


def getdel(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key = command
    return data.shard(key).pop(key, None)


def del_(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    removed = 0
    for key in command[1:]:
        removed += data.shard(key).pop(key, None) is not None
    return removed


def flushall(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    (_,) = command
    data.flush()
    return OK


WRITES: Final[dict[bytes, Write]] = {
    b"SET": set_,
    b"SETNX": setnx,
    b"MSET": mset,
    b"APPEND": append,
    b"INCRBY": incrby,
    b"GETDEL": getdel,
    b"DEL": del_,
    b"FLUSHALL": flushall,
}
