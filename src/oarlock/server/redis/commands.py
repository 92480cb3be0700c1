"""What each command means: its arity, whether it reads or writes, and the canonical form it is checked into.

The state machine trusts canonical commands, so everything that can be wrong with a request is found here, in the
order in which Redis finds it and in its words. Commands that need no replica at all are in
:mod:`oarlock.server.redis.local`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from oarlock.kv import integers
from oarlock.kv.results import ErrorReply
from oarlock.server.redis.lifetimes import Wall, expiring, getex, set_, setting_for
from oarlock.server.redis.requests import SYNTAX_ERROR, Canonical, Refused, Request, integer, pattern, wrong_arity


class Kind(Enum):
    """Where a command is answered."""

    READ = "read"
    LONG_READ = "long read"
    """Its answer may be given in steps, so it can have no place among writes."""
    WRITE = "write"
    LOCAL = "local"


class Spec(msgspec.Struct, frozen=True):
    """One command that reads or writes."""

    kind: Kind
    arity: int
    """Arguments, the name included; negative: at least so many."""
    canonical: Callable[[Request, Wall], Canonical]
    keys: tuple[int, int, int] = (1, 1, 1)
    """Which arguments are keys: the first, the last (negative: from the end), and every how manieth. For clients."""


INVALID_CURSOR: Final = ErrorReply(b"ERR invalid cursor")

_U64: Final = 1 << 64


def _pairs(name: bytes) -> Callable[[Request, Wall], Canonical]:
    def canonical(request: Request, wall: Wall) -> Canonical:
        if len(request) % 2 == 0:
            raise Refused(wrong_arity(name.lower()))
        return (name, *request[1:])

    return canonical


def _incrby(request: Request, wall: Wall) -> Canonical:
    return (b"INCRBY", request[1], b"%d" % integer(request[2]))


def _decrby(request: Request, wall: Wall) -> Canonical:
    decrement = integer(request[2])
    if decrement == integers.MIN:
        raise Refused(ErrorReply(b"ERR decrement would overflow"))
    return (b"INCRBY", request[1], b"%d" % -decrement)


def _getrange(request: Request, wall: Wall) -> Canonical:
    return (b"GETRANGE", request[1], *(b"%d" % integer(end) for end in request[2:]))


def _flushall(request: Request, wall: Wall) -> Canonical:
    if len(request) > 2 or (len(request) == 2 and request[1].upper() not in (b"ASYNC", b"SYNC")):
        raise Refused(SYNTAX_ERROR)
    return (b"FLUSHALL",)


def _keys(request: Request, wall: Wall) -> Canonical:
    return (b"KEYS", pattern(request[1]))


def _scan(request: Request, wall: Wall) -> Canonical:
    position = _cursor(request[1])
    count, match, kind = 10, b"*", b""
    options = iter(request[2:])
    for option in map(bytes.upper, options):
        value = next(options, None)
        if value is None:
            raise Refused(SYNTAX_ERROR)
        if option == b"COUNT":
            count = integer(value)
            if count < 1:
                raise Refused(SYNTAX_ERROR)
        elif option == b"MATCH":
            match = pattern(value)
        elif option == b"TYPE":
            kind = value.lower() or b"none"
        else:
            raise Refused(SYNTAX_ERROR)
    return (b"SCAN", b"%d" % position, b"%d" % count, match, kind)


def _cursor(text: bytes) -> int:
    """Redis reads cursors with ``strtoul``, which also takes a sign and an empty string."""
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    if text and not digits.isdigit():
        raise Refused(INVALID_CURSOR)
    value = int(digits or b"0") if len(digits) <= 20 else _U64
    if value >= _U64:
        raise Refused(INVALID_CURSOR)
    return (_U64 - value) % _U64 if text[:1] == b"-" else value


def _as_it_is(name: bytes) -> Callable[[Request, Wall], Canonical]:
    return lambda request, wall: (name, *request[1:])


def _counting(delta: bytes) -> Callable[[Request, Wall], Canonical]:
    return lambda request, wall: (b"INCRBY", request[1], delta)


_NO_KEYS: Final = (0, 0, 0)
_ALL: Final = (1, -1, 1)
_PAIRS: Final = (1, -1, 2)

COMMANDS: Final[dict[bytes, Spec]] = {
    b"GET": Spec(Kind.READ, 2, _as_it_is(b"GET")),
    b"MGET": Spec(Kind.READ, -2, _as_it_is(b"MGET"), _ALL),
    b"EXISTS": Spec(Kind.READ, -2, _as_it_is(b"EXISTS"), _ALL),
    b"STRLEN": Spec(Kind.READ, 2, _as_it_is(b"STRLEN")),
    b"GETRANGE": Spec(Kind.READ, 4, _getrange),
    b"SUBSTR": Spec(Kind.READ, 4, _getrange),
    b"TYPE": Spec(Kind.READ, 2, _as_it_is(b"TYPE")),
    b"TTL": Spec(Kind.READ, 2, _as_it_is(b"TTL")),
    b"PTTL": Spec(Kind.READ, 2, _as_it_is(b"PTTL")),
    b"EXPIRETIME": Spec(Kind.READ, 2, _as_it_is(b"EXPIRETIME")),
    b"PEXPIRETIME": Spec(Kind.READ, 2, _as_it_is(b"PEXPIRETIME")),
    b"DBSIZE": Spec(Kind.READ, 1, _as_it_is(b"DBSIZE"), _NO_KEYS),
    b"KEYS": Spec(Kind.LONG_READ, 2, _keys, _NO_KEYS),
    b"SCAN": Spec(Kind.LONG_READ, -2, _scan, _NO_KEYS),
    b"SET": Spec(Kind.WRITE, -3, set_),
    b"SETNX": Spec(Kind.WRITE, 3, _as_it_is(b"SETNX")),
    b"SETEX": Spec(Kind.WRITE, 4, setting_for(b"setex", b"EX")),
    b"PSETEX": Spec(Kind.WRITE, 4, setting_for(b"psetex", b"PX")),
    b"MSET": Spec(Kind.WRITE, -3, _pairs(b"MSET"), _PAIRS),
    b"MSETNX": Spec(Kind.WRITE, -3, _pairs(b"MSETNX"), _PAIRS),
    b"CAS": Spec(Kind.WRITE, 4, _as_it_is(b"CAS")),
    b"APPEND": Spec(Kind.WRITE, 3, _as_it_is(b"APPEND")),
    b"INCR": Spec(Kind.WRITE, 2, _counting(b"1")),
    b"DECR": Spec(Kind.WRITE, 2, _counting(b"-1")),
    b"INCRBY": Spec(Kind.WRITE, 3, _incrby),
    b"DECRBY": Spec(Kind.WRITE, 3, _decrby),
    b"GETSET": Spec(Kind.WRITE, 3, _as_it_is(b"GETSET")),
    b"GETDEL": Spec(Kind.WRITE, 2, _as_it_is(b"GETDEL")),
    b"GETEX": Spec(Kind.WRITE, -2, getex),
    b"EXPIRE": Spec(Kind.WRITE, -3, expiring(b"expire", 1000, absolute=False)),
    b"PEXPIRE": Spec(Kind.WRITE, -3, expiring(b"pexpire", 1, absolute=False)),
    b"EXPIREAT": Spec(Kind.WRITE, -3, expiring(b"expireat", 1000, absolute=True)),
    b"PEXPIREAT": Spec(Kind.WRITE, -3, expiring(b"pexpireat", 1, absolute=True)),
    b"PERSIST": Spec(Kind.WRITE, 2, _as_it_is(b"PERSIST")),
    b"DEL": Spec(Kind.WRITE, -2, _as_it_is(b"DEL"), _ALL),
    b"UNLINK": Spec(Kind.WRITE, -2, _as_it_is(b"DEL"), _ALL),
    b"FLUSHALL": Spec(Kind.WRITE, -1, _flushall, _NO_KEYS),
    b"FLUSHDB": Spec(Kind.WRITE, -1, _flushall, _NO_KEYS),
}
