"""Commands that give keys a lifetime, and the canonical form of one: milliseconds from now, and the end as Unix time.

This is the edge where wall clocks end. What is written to the log is relative, so that a clock that is wrong, or that
jumps, spoils one command of its own clients and nothing else; the Unix time goes along for ``EXPIRETIME`` alone.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from oarlock.kv import integers
from oarlock.kv.results import NOT_AN_INTEGER, ErrorReply
from oarlock.server.redis.requests import SYNTAX_ERROR, Canonical, Refused, Request, integer

Wall: TypeAlias = Callable[[], int]
"""Milliseconds since 1970, by the clock of this replica."""

_MILLISECONDS: Final = {b"EX": 1000, b"PX": 1, b"EXAT": 1000, b"PXAT": 1}
_ABSOLUTE: Final = (b"EXAT", b"PXAT")


def set_(request: Request, wall: Wall) -> Canonical:
    """``SET key value`` and its options, in any order."""
    if len(request) == 3:
        return (b"SET", request[1], request[2])
    condition: tuple[bytes, ...] = ()
    get: tuple[bytes, ...] = ()
    later: bytes | None = None
    text = b""
    options = iter(request[3:])
    for option in map(bytes.upper, options):
        if option in (b"NX", b"XX") and condition in ((), (option,)):
            condition = (option,)
        elif option == b"GET":
            get = (option,)
        elif option == b"KEEPTTL" and later in (None, option):
            later = option
        elif option in _MILLISECONDS and later in (None, option):
            text, later = _value(options), option
        else:
            raise Refused(SYNTAX_ERROR)
    lifetime: tuple[bytes, ...] = ()
    if later == b"KEEPTTL":
        lifetime = (b"KEEPTTL",)
    elif later is not None:
        lifetime = (b"PX", *_lifetime(b"set", later, text, wall))
    return (b"SET", request[1], request[2], *condition, *get, *lifetime)


def setting_for(name: bytes, unit: bytes) -> Callable[[Request, Wall], Canonical]:
    """``SETEX key lifetime value``, and the same in milliseconds."""
    return lambda request, wall: (
        *(b"SET", request[1], request[3], b"PX"),
        *_lifetime(name, unit, request[2], wall),
    )


def getex(request: Request, wall: Wall) -> Canonical:
    """``GETEX key [PERSIST | EX seconds | …]``."""
    later: bytes | None = None
    text = b""
    options = iter(request[2:])
    for option in map(bytes.upper, options):
        if option == b"PERSIST" and later in (None, option):
            later = option
        elif option in _MILLISECONDS and later in (None, option):
            text, later = _value(options), option
        else:
            raise Refused(SYNTAX_ERROR)
    if later is None:
        return (b"GETEX", request[1])
    if later == b"PERSIST":
        return (b"GETEX", request[1], later)
    try:
        return (b"GETEX", request[1], b"PX", *_lifetime(b"getex", later, text, wall))
    except Refused as refused:
        return (b"GETEX", request[1], b"REFUSE", refused.reply.message)


def expiring(name: bytes, milliseconds: int, absolute: bool) -> Callable[[Request, Wall], Canonical]:
    """``EXPIRE key lifetime [NX | XX | GT | LT]``, its unit, and whether it is a time rather than a lifetime."""

    def canonical(request: Request, wall: Wall) -> Canonical:
        conditions = _conditions(request[3:])
        value = integer(request[2]) * milliseconds
        now_ms = wall()
        unix_ms = value if absolute else now_ms + value
        if not (value >= integers.MIN and unix_ms <= integers.MAX):
            raise Refused(_invalid(name))
        return (b"EXPIRE", request[1], b"%d" % (unix_ms - now_ms), b"%d" % unix_ms, *conditions)

    return canonical


def _conditions(options: list[bytes]) -> list[bytes]:
    conditions: list[bytes] = []
    for option in options:
        condition = option.upper()
        if condition not in (b"NX", b"XX", b"GT", b"LT"):
            raise Refused(ErrorReply(b"ERR Unsupported option " + option.partition(b"\0")[0]))
        if condition not in conditions:
            conditions.append(condition)
    if b"NX" in conditions and len(conditions) > 1:
        raise Refused(ErrorReply(b"ERR NX and XX, GT or LT options at the same time are not compatible"))
    if b"GT" in conditions and b"LT" in conditions:
        raise Refused(ErrorReply(b"ERR GT and LT options at the same time are not compatible"))
    return conditions


def _lifetime(name: bytes, option: bytes, text: bytes, wall: Wall) -> tuple[bytes, bytes]:
    value = integers.parse(text)
    if value is None:
        raise Refused(NOT_AN_INTEGER)
    now_ms = wall()
    value_ms = value * _MILLISECONDS[option]
    unix_ms = value_ms if option in _ABSOLUTE else now_ms + value_ms
    if value <= 0 or unix_ms > integers.MAX:
        raise Refused(_invalid(name))
    return b"%d" % (unix_ms - now_ms), b"%d" % unix_ms


def _value(options: Iterator[bytes]) -> bytes:
    value = next(options, None)
    if value is None:
        raise Refused(SYNTAX_ERROR)
    return value


def _invalid(name: bytes) -> ErrorReply:
    return ErrorReply(b"ERR invalid expire time in '" + name + b"' command")
