"""What each command means: its arity, whether it reads or writes, and the canonical form it is checked into.

The state machine trusts canonical commands, so everything that can be wrong with a request is found here, in the
order in which Redis finds it and in its words. Commands that need no replica at all are in
:mod:`oarlock.server.redis.local`.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

import msgspec

from oarlock.kv import integers
from oarlock.kv.glob import MAX_PATTERN_BYTES
from oarlock.kv.results import NOT_AN_INTEGER, ErrorReply

Request: TypeAlias = list[bytes]
Canonical: TypeAlias = tuple[bytes, ...]


class Kind(Enum):
    """Where a command is answered."""

    READ = "read"
    WRITE = "write"
    LOCAL = "local"


class Refused(Exception):
    """The request is wrong; ``reply`` says how. Nothing was executed."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply)
        self.reply = reply


class Spec(msgspec.Struct, frozen=True):
    """One command that reads or writes."""

    kind: Kind
    arity: int
    """Arguments, the name included; negative: at least so many."""
    canonical: Callable[[Request], Canonical]


SYNTAX_ERROR: Final = ErrorReply(b"ERR syntax error")
INVALID_CURSOR: Final = ErrorReply(b"ERR invalid cursor")

_EXPIRY: Final = (b"EX", b"PX", b"EXAT", b"PXAT")
_U64: Final = 1 << 64


def wrong_arity(name: bytes) -> ErrorReply:
    return ErrorReply(b"ERR wrong number of arguments for '" + name + b"' command")


def unknown_command(request: Request) -> ErrorReply:
    """Redis quotes the arguments until they make 128 bytes."""
    quoted = b""
    for argument in request[1:]:
        if len(quoted) >= 128:
            break
        quoted += b"'" + argument.partition(b"\0")[0][: 128 - len(quoted)] + b"' "
    name = request[0].partition(b"\0")[0][:128]
    return ErrorReply(b"ERR unknown command '" + name + b"', with args beginning with: " + quoted)


def fits(arity: int, request: Request) -> bool:
    """Whether the request has as many arguments as the arity says."""
    return len(request) == arity if arity > 0 else len(request) >= -arity


def integer(text: bytes) -> int:
    """The integer that an argument spells. Refused if it does not spell one of 64 bits."""
    value = integers.parse(text)
    if value is None:
        raise Refused(NOT_AN_INTEGER)
    return value


def pattern(text: bytes) -> bytes:
    """A pattern that an argument gives. Refused if it is too long: Redis has no such limit, but nobody waits for it."""
    if len(text) > MAX_PATTERN_BYTES:
        raise Refused(ErrorReply(b"ERR pattern is longer than %d bytes" % MAX_PATTERN_BYTES))
    return text


def _set(request: Request) -> Canonical:
    if len(request) == 3:
        return (b"SET", request[1], request[2])
    condition: bytes | None = None
    get = False
    later: bytes | None = None
    options = iter(request[3:])
    for option in map(bytes.upper, options):
        if option in (b"NX", b"XX") and condition in (None, option):
            condition = option
        elif option == b"GET":
            get = True
        elif later is None and (option == b"KEEPTTL" or (option in _EXPIRY and next(options, None) is not None)):
            later = option
        else:
            raise Refused(SYNTAX_ERROR)
    if later is not None:
        # Setting the key without its lifetime would look like success and keep the key for ever.
        raise Refused(ErrorReply(b"ERR SET with " + later + b" is not supported yet by this version"))
    return (b"SET", request[1], request[2], *((condition,) if condition else ()), *((b"GET",) if get else ()))


def _mset(request: Request) -> Canonical:
    if len(request) % 2 == 0:
        raise Refused(wrong_arity(b"mset"))
    return (b"MSET", *request[1:])


def _incrby(request: Request) -> Canonical:
    return (b"INCRBY", request[1], b"%d" % integer(request[2]))


def _decrby(request: Request) -> Canonical:
    decrement = integer(request[2])
    if decrement == integers.MIN:
        raise Refused(ErrorReply(b"ERR decrement would overflow"))
    return (b"INCRBY", request[1], b"%d" % -decrement)


def _flushall(request: Request) -> Canonical:
    if len(request) > 2 or (len(request) == 2 and request[1].upper() not in (b"ASYNC", b"SYNC")):
        raise Refused(SYNTAX_ERROR)
    return (b"FLUSHALL",)


def _keys(request: Request) -> Canonical:
    return (b"KEYS", pattern(request[1]))


def _scan(request: Request) -> Canonical:
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


def _as_it_is(name: bytes) -> Callable[[Request], Canonical]:
    return lambda request: (name, *request[1:])


def _counting(delta: bytes) -> Callable[[Request], Canonical]:
    return lambda request: (b"INCRBY", request[1], delta)


COMMANDS: Final[dict[bytes, Spec]] = {
    b"GET": Spec(Kind.READ, 2, _as_it_is(b"GET")),
    b"MGET": Spec(Kind.READ, -2, _as_it_is(b"MGET")),
    b"EXISTS": Spec(Kind.READ, -2, _as_it_is(b"EXISTS")),
    b"STRLEN": Spec(Kind.READ, 2, _as_it_is(b"STRLEN")),
    b"DBSIZE": Spec(Kind.READ, 1, _as_it_is(b"DBSIZE")),
    b"KEYS": Spec(Kind.READ, 2, _keys),
    b"SCAN": Spec(Kind.READ, -2, _scan),
    b"SET": Spec(Kind.WRITE, -3, _set),
    b"SETNX": Spec(Kind.WRITE, 3, _as_it_is(b"SETNX")),
    b"MSET": Spec(Kind.WRITE, -3, _mset),
    b"APPEND": Spec(Kind.WRITE, 3, _as_it_is(b"APPEND")),
    b"INCR": Spec(Kind.WRITE, 2, _counting(b"1")),
    b"DECR": Spec(Kind.WRITE, 2, _counting(b"-1")),
    b"INCRBY": Spec(Kind.WRITE, 3, _incrby),
    b"DECRBY": Spec(Kind.WRITE, 3, _decrby),
    b"GETDEL": Spec(Kind.WRITE, 2, _as_it_is(b"GETDEL")),
    b"DEL": Spec(Kind.WRITE, -2, _as_it_is(b"DEL")),
    b"FLUSHALL": Spec(Kind.WRITE, -1, _flushall),
}
