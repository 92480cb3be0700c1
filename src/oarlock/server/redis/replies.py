"""Replies to bytes, in RESP2 and RESP3.

Two shapes of group are by far the commonest and have an encoder each: SETs that went well, and GETs. Everything else
goes through :func:`encoded`, a generator, so that an answer of any size takes memory only as fast as its client reads.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from oarlock.kv.results import OK, ErrorReply, SimpleString

CHUNK_BYTES: Final = 256 * 1024
"""About how much is encoded at a time."""


class Verbatim(msgspec.Struct):
    """Text for people: a bulk string in RESP2, a verbatim string in RESP3."""

    text: bytes


class Encoded(msgspec.Struct):
    """A reply that is encoded already."""

    data: bytes


Single: TypeAlias = SimpleString | ErrorReply | Verbatim | Encoded | bytes | memoryview | int | None
Reply: TypeAlias = "Single | list[Reply] | dict[bytes, Reply]"

OK_LINE: Final = b"+OK\r\n"
_NULL: Final = (b"$-1\r\n", b"_\r\n")
NULL_ARRAY: Final = (Encoded(b"*-1\r\n"), Encoded(b"_\r\n"))
"""No list, as EXEC says when a watched key has changed, in RESP2 and in RESP3."""
_HEADERS: Final = tuple(b"$%d\r\n" % length for length in range(1024))


def error_line(message: bytes) -> bytes:
    """An error reply. Its text may quote what a client sent, so line ends become blanks, as in Redis."""
    return b"-" + message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"


def all_ok(results: Sequence[object]) -> bytes | None:
    """The replies if every result is ``OK``, else None."""
    count = len(results)
    return OK_LINE * count if results.count(OK) == count else None


def small_values(values: Sequence[bytes | None], resp3: bool) -> bytes | None:
    """The replies to GETs if they make no more than a chunk, else None."""
    if len(values) == 1:
        (value,) = values
        if value is None:
            return _NULL[resp3]
        return b"%b%b\r\n" % (_HEADERS[len(value)], value) if len(value) < 1024 else None
    if sum(map(len, filter(None, values))) > CHUNK_BYTES:
        return None
    null = _NULL[resp3]
    headers = _HEADERS
    parts: list[bytes] = []
    append = parts.append
    for value in values:
        if value is None:
            append(null)
        else:
            length = len(value)
            append(headers[length] if length < 1024 else b"$%d\r\n" % length)
            append(value)
            append(b"\r\n")
    return b"".join(parts)


def encoded(replies: Iterable[Reply], resp3: bool) -> Iterator[bytes]:
    """The replies, in chunks of about :data:`CHUNK_BYTES`; a single string is never cut."""
    parts: list[bytes] = []
    size_bytes = 0
    for part in _parts(replies, resp3):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes >= CHUNK_BYTES:
            yield b"".join(parts)
            parts.clear()
            size_bytes = 0
    if parts:
        yield b"".join(parts)


def encode(reply: Reply, resp3: bool) -> bytes:
    """One reply, at once."""
    return b"".join(_parts((reply,), resp3))


def _parts(replies: Iterable[Reply], resp3: bool) -> Iterator[bytes]:
    for reply in replies:
        match reply:
            case bytes() | memoryview():
                yield b"".join((b"$%d\r\n" % len(reply), reply, b"\r\n"))
            case None:
                yield _NULL[resp3]
            case int():
                yield b":%d\r\n" % reply
            case SimpleString():
                yield b"+%b\r\n" % reply.text
            case Encoded():
                yield reply.data
            case ErrorReply():
                yield error_line(reply.message)
            case list():
                yield b"*%d\r\n" % len(reply)
                yield from _parts(reply, resp3)
            case dict():
                yield b"%%%d\r\n" % len(reply) if resp3 else b"*%d\r\n" % (2 * len(reply))
                for key, value in reply.items():
                    yield from _parts((key, value), resp3)
            case Verbatim():
                yield b"=%d\r\ntxt:%b\r\n" % (len(reply.text) + 4, reply.text) if resp3 else encode(reply.text, resp3)
