"""The commands that change data, except the plain SET, which :mod:`oarlock.kv.machine` does in its loop.

Each function executes one canonical command and returns its result. A command of the wrong shape raises: what stands
in the log was checked before it got there, so it is a bug, and guessing would let replicas differ.

A lifetime is written as two words: milliseconds from the entry's time on, which decide, and the same end as Unix time,
which ``EXPIRETIME`` shows.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from oarlock.kv import integers, packing
from oarlock.kv.keyspace import Keyspace
from oarlock.kv.lifetimes import NEVER
from oarlock.kv.results import NOT_AN_INTEGER, OK, OVERFLOW, STRING_TOO_LONG, ErrorReply, Result
from oarlock.types import MAX_COMMAND_BYTES

Write: TypeAlias = Callable[[Keyspace, tuple[bytes, ...]], Result]

SET_CONDITIONS: Final = (b"NX", b"XX")
MAX_VALUE_BYTES: Final = MAX_COMMAND_BYTES
"""Largest value that commands may build up: what one command could carry, so that every value can be carried."""


class UnknownCommand(Exception):
    """A verb or a shape that this version does not know stands in the log. The replica must stop."""


def set_(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``SET key value [NX|XX] [GET] [KEEPTTL | PX lifetime unix]``, the options in this order."""
    _, key, value, *options = command
    before = data.get(key)
    condition = options.pop(0) if options and options[0] in SET_CONDITIONS else None
    get = options[:1] == [b"GET"]
    if get:
        del options[0]
    store = condition is None or (before is None) == (condition == b"NX")
    match options:
        case []:
            if store:
                data.put(key, value)
        case [b"KEEPTTL"]:
            if store:
                data.alter(key, value)
        case [b"PX", after_ms, unix_ms]:
            if store:
                data.put(key, value)
                data.end(key, int(after_ms), int(unix_ms))
        case _:
            raise UnknownCommand(command[:1] + command[3:])
    if get:
        return before
    return OK if store else None


def setnx(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key, value = command
    if data.get(key) is not None:
        return 0
    data.put(key, value)
    return 1


def mset(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    for key, value in zip(command[1::2], command[2::2], strict=True):
        data.put(key, value)
    return OK


def msetnx(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    if any(data.get(key) is not None for key in command[1::2]):
        return 0
    mset(data, command)
    return 1


def cas(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``CAS key expected new``: set the key, for ever, if it is there with just this value."""
    _, key, expected, value = command
    if data.get(key) != expected:
        return 0
    data.put(key, value)
    return 1


def append(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key, tail = command
    value = data.get(key) or b""
    if len(value) + len(tail) > MAX_VALUE_BYTES:
        return STRING_TOO_LONG
    data.alter(key, value + tail)
    return len(value) + len(tail)


def incrby(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``INCRBY key delta``: INCR, DECR and DECRBY are spelled so in the log."""
    _, key, text = command
    delta = int(text)
    value = data.get(key)
    before = 0 if value is None else integers.parse(value)
    if before is None:
        return NOT_AN_INTEGER
    after = before + delta
    if not integers.MIN <= after <= integers.MAX:
        return OVERFLOW
    data.alter(key, b"%d" % after)
    return after


def getset(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key, value = command
    before = data.get(key)
    data.put(key, value)
    return before


def getdel(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key = command
    return data.remove(key)


def getex(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``GETEX key [PERSIST | PX lifetime unix | REFUSE error]``: Redis finds fault with a lifetime only if it finds the
    key first."""
    _, key, *option = command
    value = data.get(key)
    match option:
        case []:
            pass
        case [b"PERSIST"]:
            if value is not None and data.lifetimes.forget(key):
                data.touch(key)
        case [b"PX", after_ms, unix_ms]:
            if value is not None:
                data.end(key, int(after_ms), int(unix_ms))
        case [b"REFUSE", message]:
            return None if value is None else ErrorReply(message)
        case _:
            raise UnknownCommand(command)
    return value


def expire(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    """``EXPIRE key lifetime unix condition…``, whatever the unit and the origin of the time were."""
    _, key, after_ms, unix_ms, *conditions = command
    if data.get(key) is None:
        return 0
    lifetimes = data.lifetimes
    present = lifetimes.deadlines.get(key, NEVER)
    deadline_ms = lifetimes.now_ms + int(after_ms)
    if lifetimes.unix_ms(key) == int(unix_ms):
        deadline_ms = present  # The same end, told at another moment.
    for condition in conditions:
        match condition:
            case b"NX":
                met = present == NEVER
            case b"XX":
                met = present != NEVER
            case b"GT":
                met = present < deadline_ms
            case b"LT":
                met = deadline_ms < present
            case _:
                raise UnknownCommand(command)
        if not met:
            return 0
    data.end(key, int(after_ms), int(unix_ms))
    return 1


def persist(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    _, key = command
    if data.get(key) is None or not data.lifetimes.forget(key):
        return 0
    data.touch(key)
    return 1


def del_(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    removed = 0
    for key in command[1:]:
        removed += data.remove(key) is not None
    return removed


def flushall(data: Keyspace, command: tuple[bytes, ...]) -> Result:
    (_,) = command
    data.flush()
    return OK


WRITES: Final[dict[bytes, Write]] = {
    b"SET": set_,
    b"SETNX": setnx,
    b"MSET": mset,
    b"MSETNX": msetnx,
    b"CAS": cas,
    b"APPEND": append,
    b"INCRBY": incrby,
    b"GETSET": getset,
    b"GETDEL": getdel,
    b"GETEX": getex,
    b"EXPIRE": expire,
    b"PERSIST": persist,
    b"DEL": del_,
    b"FLUSHALL": flushall,
}

_FIRST: Final = slice(1, 2)
_KEYS: Final[dict[bytes, slice]] = {
    b"MSET": slice(1, None, 2),
    b"MSETNX": slice(1, None, 2),
    b"DEL": slice(1, None),
}
"""Which words of a command are keys, if not the first after the verb alone."""


def keys_of(commands: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    """All keys that these commands may change, save by FLUSHALL, and perhaps some words more."""
    keys: list[bytes] = []
    for command in commands:
        if command[0] == b"EXEC":
            keys += keys_of(packing.commands(command[2]))
        else:
            keys += command[_KEYS.get(command[0], _FIRST)]
    return keys
