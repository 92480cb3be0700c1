"""What apply and query answer: ``OK``, ``bytes`` (or a view of some), ``int``, ``None``, a list of these, or an
:class:`ErrorReply`.

A refusal is a result like any other: every replica computes the same one, and only the origin shows it to a client.
The texts are those of Redis 7, since clients match on them.
"""

from typing import Final, TypeAlias

import msgspec


class SimpleString(msgspec.Struct, frozen=True, gc=False):
    """A status for the client rather than data: one line without CR or LF."""

    text: bytes


class ErrorReply(msgspec.Struct, frozen=True, gc=False):
    """The command was refused and changed nothing. ``message`` begins with its code, such as ``ERR``."""

    message: bytes


Result: TypeAlias = "SimpleString | ErrorReply | bytes | memoryview | int | list[Result] | None"

OK: Final = SimpleString(b"OK")
"""The one object that says a write went well; compare it with ``is``."""

NOT_AN_INTEGER: Final = ErrorReply(b"ERR value is not an integer or out of range")
OVERFLOW: Final = ErrorReply(b"ERR increment or decrement would overflow")
STRING_TOO_LONG: Final = ErrorReply(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
TOO_MUCH: Final = ErrorReply(b"ERR executed, but the replies of the transaction are larger than 64 MiB")

MAX_REPLIES_BYTES: Final = 64 * 1024 * 1024
"""Of one transaction: every replica holds them all until it is executed."""

_OVERHEAD_BYTES: Final = 64


def size_bytes(result: Result) -> int:
    """About how much memory a result takes."""
    match result:
        case bytes() | memoryview():
            return _OVERHEAD_BYTES + len(result)
        case list():
            return _OVERHEAD_BYTES + sum(map(size_bytes, result))
        case _:
            return _OVERHEAD_BYTES
