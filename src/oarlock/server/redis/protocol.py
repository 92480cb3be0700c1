"""Requests from bytes: arrays of bulk strings, and inline commands between them.

``hiredis`` parses replies, so it takes much that a request may not hold: other types, nested arrays, counts that make
it reserve gigabytes. :class:`RequestParser` therefore hands it only input that arrived whole and that a few searches
have cleared; all else goes through a parser of our own, which is exact, resumable and slower. Both give the same.
"""

import re
import sys
from itertools import chain
from typing import Final

import hiredis

from oarlock.kv import integers
from oarlock.server.redis import inline
from oarlock.types import MAX_COMMAND_BYTES

MAX_ARGUMENTS: Final = 1024 * 1024
"""Most arguments of one command, its name included."""

_MAX_LINE_BYTES: Final = 64 * 1024
"""Longest inline command, and where Redis gives up looking for the end of a count."""

_SUSPECT_COUNT: Final = re.compile(rb"\*(?![1-9]\d{0,2}\r)")
_STAR, _DOLLAR = b"*$"
_INCOMPLETE: Final = object()
"""What hiredis answers when it has no more. By default it says False, which a zero equals."""
ARGUMENT_BYTES: Final = 48
"""What an argument takes in memory besides its bytes, about."""
_SHORT_BYTES: Final = 1000
_HEADERS: Final = [b"$%d" % length for length in range(_SHORT_BYTES)]
"""The headers of short arguments,"""
_SHORT: Final = {header: length for length, header in enumerate(_HEADERS)}
_COUNTS: Final = [b"*%d" % count for count in range(_SHORT_BYTES)]
"""and of requests of few."""


class RequestParser:
    """Turns what arrives on one connection into requests, each a list of at least one ``bytes``.

    Memory is bounded by one command (:data:`~oarlock.types.MAX_COMMAND_BYTES`) and what was fed last.
    """

    __slots__ = ("_arguments", "_bulk", "_bytes", "_missing", "_needed", "_pending", "_reader", "error")

    def __init__(self) -> None:
        self.error: bytes | None = None
        """What was wrong with the input, once something was; nothing after it is looked at."""
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._pending = bytearray()
        self._needed = 0
        """Bytes that must be pending before looking again can achieve anything."""
        self._arguments: list[bytes] = []
        """Of the request that has begun."""
        self._missing = 0
        """Arguments it still lacks; 0 between requests."""
        self._bulk = -1
        """Length of the argument whose header has been read."""
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """What the request that has begun takes in memory, about."""
        if not self._missing:
            return len(self._pending)
        taken_bytes = self._bytes - max(self._bulk, 0)  # an argument that is announced only counts as it comes
        return len(self._pending) + taken_bytes + ARGUMENT_BYTES * len(self._arguments)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The requests that are complete now. Those before an error are returned too; then see :attr:`error`."""
        if self.error is not None:
            return []
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        if len(data) < _SHORT_BYTES and not self._missing:
            request = _only_request(data)
            if request:
                return [request]
        requests: list[list[bytes]] = []
        if self._missing:
            data = self._piecemeal(data, requests, most=1)
        if data:
            data = self._whole(data, requests)
        if data:
            self._piecemeal(data, requests)
        return requests

    def _whole(self, data: bytes, requests: list[list[bytes]]) -> bytes:
        """Put ``data``, or all but a request at its end that is cut off, through hiredis; return what is left.

        What is not plainly good is left as it is.
        """
        plain, rest = data, b""
        if not data.endswith(b"\r\n"):
            cut = data.rfind(b"\r\n*")
            if cut < 0:
                return data
            plain, rest = data[: cut + 2], data[cut + 2 :]
        # Only aggregates make hiredis reserve memory before their contents have come; and only statuses, verbatim
        # strings and large numbers come out as bytes although they are no bulk strings.
        if (
            not plain.startswith(b"*")
            or _SUSPECT_COUNT.search(plain)
            or b"%" in plain
            or b"~" in plain
            or b">" in plain
            or b"|" in plain
            or b"\r\n+" in plain
            or b"\r\n=" in plain
            or b"\r\n(" in plain
        ):
            return data
        reader = self._reader
        try:
            reader.feed(plain)
            parsed: list[list[bytes]] = list(iter(reader.gets, _INCOMPLETE))
            b"".join(chain.from_iterable(parsed))  # Raises unless every argument is bytes.
            # An empty string in place of a request has a dollar; a request that is not complete has a star.
            if (
                plain.count(b"*") == len(parsed)
                and plain.count(b"$") == sum(map(len, parsed))
                and not reader.has_data()
            ):
                requests += parsed
                return rest
        except (hiredis.ProtocolError, hiredis.ReplyError, TypeError):
            pass
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        return data

    def _piecemeal(self, data: bytes, requests: list[list[bytes]], most: int = sys.maxsize) -> bytes:
        """Parse ``data`` until ``most`` requests are complete, and return what is left; keep what is cut off."""
        at = 0
        try:
            while most > 0:
                if self._missing:
                    if self._bulk < 0:
                        at = self._short_arguments(data, at)
                    after = self._argument(data, at)
                elif at == len(data):
                    break
                elif data[at] == _STAR:
                    after = self._count(data, at)
                else:
                    after = self._inline(data, at)
                if after is None:
                    self._pending += data[at:] if at else data
                    return b""
                at = after
                if self._arguments and not self._missing:
                    requests.append(self._arguments)
                    self._arguments = []
                    most -= 1
        except _Malformed as malformed:
            self.error = malformed.args[0]
            self._arguments = []
            return b""
        return data[at:]

    def _count(self, data: bytes, at: int) -> int | None:
        """Read ``*count``, and return where to go on; None if it is not all there."""
        end = self._line_end(data, at, b"too big mbulk count string")
        if end is None:
            return None
        count = integers.parse(data[at + 1 : end])
        if count is None or count > MAX_ARGUMENTS:
            raise _Malformed(b"invalid multibulk length")
        self._missing = max(count, 0)
        self._bytes = 0
        return end + 2

    def _short_arguments(self, data: bytes, at: int) -> int:
        """Take the arguments that are all there and short, and return where to go on.

        :meth:`_argument` would do the same at eight times the price, which adds up in commands of very many.
        """
        take, missing, size_bytes = self._arguments.append, self._missing, self._bytes
        while missing > 1:  # The last one is left: it ends the request.
            end = data.find(b"\r", at, at + 6)
            length = _SHORT.get(data[at:end]) if end >= 0 else None
            if length is None or len(data) < end + length + 4 or size_bytes + length > MAX_COMMAND_BYTES:
                break
            at = end + length + 4
            take(data[end + 2 : at - 2])
            size_bytes += length
            missing -= 1
        self._missing, self._bytes = missing, size_bytes
        return at

    def _argument(self, data: bytes, at: int) -> int | None:
        """Read ``$length`` and then the argument, and return where to go on; None if it is not all there."""
        if self._bulk < 0:
            end = self._line_end(data, at, b"too big bulk count string")
            if end is None:
                return None
            if data[at] != _DOLLAR:
                raise _Malformed(b"expected '$', got '%c'" % data[at])
            length = integers.parse(data[at + 1 : end])
            if length is None or length < 0 or self._bytes + length > MAX_COMMAND_BYTES:
                raise _Malformed(b"invalid bulk length")
            self._bulk = length
            self._bytes += length
            return end + 2
        end = at + self._bulk
        if len(data) < end + 2:
            self._needed = self._bulk + 2
            return None
        self._arguments.append(data[at:end])
        self._missing -= 1
        self._bulk = -1
        return end + 2

    def _line_end(self, data: bytes, at: int, too_long: bytes) -> int | None:
        end = data.find(b"\r", at)
        if end < 0 and len(data) - at > _MAX_LINE_BYTES:
            raise _Malformed(too_long)
        self._needed = 0
        return end if 0 <= end < len(data) - 1 else None

    def _inline(self, data: bytes, at: int) -> int | None:
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at > _MAX_LINE_BYTES:
                raise _Malformed(b"too big inline request")
            self._needed = 0
            return None
        words = inline.split(data[at:end].removesuffix(b"\r"))
        if words is None:
            raise _Malformed(b"unbalanced quotes in request")
        self._arguments = words
        return end + 1


def _only_request(data: bytes) -> list[bytes] | None:
    """The one request that ``data`` is, if it is one and no argument holds an end of line; else nothing is known.

    It is what clients without pipelines send, and this takes an eighth of the time that the others would.
    """
    lines = data.split(b"\r\n")
    if len(lines) == 6:  # of two words, as a GET
        count, name_header, name, header, argument, rest = lines
        whole = count == b"*2" and name_header == _HEADERS[len(name)] and header == _HEADERS[len(argument)] and not rest
        return [name, argument] if whole else None
    arguments = lines[2:-1:2]  # without what follows the last end of line: an argument of nothing may yet lack its own
    if (
        lines[0] == _COUNTS[len(arguments)]
        and lines[1:-1:2] == [_HEADERS[len(argument)] for argument in arguments]
        and not lines[-1]
    ):
        return arguments
    return None


class _Malformed(Exception):
    """The input can't be understood from here on. The one argument says why, in Redis's words."""
