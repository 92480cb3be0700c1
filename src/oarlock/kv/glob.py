"""Patterns of KEYS and SCAN, with the meaning that Redis gives them.

A pattern is translated to a regular expression over bytes. Every ``*`` but the last becomes an atomic group around a
lazy search for the fixed-length piece behind it: taking the leftmost match of a piece never spoils a later one, so
nothing needs to be tried again, and no pattern costs more than the product of its length and the key's.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

MAX_PATTERN_BYTES: Final = 4096
"""Longest pattern that servers let through. Translating one takes some 10 µs a byte, so that a megabyte would
stop a leader for longer than its followers wait for it."""

_STAR, _ANY, _OPEN, _CLOSE, _ESCAPE, _NOT, _TO = b"*?[]\\^-"


def matcher(pattern: bytes) -> Callable[[bytes], Any]:
    """A function that is true of the keys that match ``pattern``.

    >>> match = matcher(b"user:[0-9]*")
    >>> [key for key in (b"user:1", b"user:x", b"user:12") if match(key)]
    [b'user:1', b'user:12']
    """
    return re.compile(_translate(pattern), re.DOTALL).fullmatch


def _translate(pattern: bytes) -> bytes:
    pieces = _pieces(pattern)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return first
    middle = b"".join(b"(?>.*?" + piece + b")" for piece in pieces[1:-1] if piece)
    # Only the last piece is tied to the end of the key, so it alone may have to look further than its leftmost match.
    return first + middle + b".*" + last


def _pieces(pattern: bytes) -> list[bytes]:
    """The pattern cut at its stars; each piece is a regular expression of fixed length."""
    pieces: list[bytes] = []
    piece: list[bytes] = []
    at, end = 0, len(pattern)
    while at < end:
        byte = pattern[at]
        if byte == _STAR:
            pieces.append(b"".join(piece))
            piece = []
        elif byte == _ANY:
            piece.append(b".")
        elif byte == _OPEN:
            expression, at = _set(pattern, at + 1)
            piece.append(expression)
        else:
            if byte == _ESCAPE and at + 1 < end:
                at += 1
                byte = pattern[at]
            piece.append(b"\\x%02x" % byte)
        at += 1
    pieces.append(b"".join(piece))
    return pieces


def _set(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The set whose first byte stands at ``at``, and the position of its closing bracket.

    Redis is lenient here, and clients may lean on it: a set that is not closed ends with the pattern, a range may run
    backwards, and the byte after a dash ends the range whatever it is, a bracket too.
    """
    end = len(pattern)
    negated = at < end and pattern[at] == _NOT
    if negated:
        at += 1
    members = bytearray(256)
    while at < end and pattern[at] != _CLOSE:
        if pattern[at] == _ESCAPE and at + 1 < end:
            at += 1
            members[pattern[at]] = 1
        elif at + 2 < end and pattern[at + 1] == _TO:
            low, high = sorted((pattern[at], pattern[at + 2]))
            for byte in range(low, high + 1):
                members[byte] = 1
            at += 2
        else:
            members[pattern[at]] = 1
        at += 1
    listed = b"".join(_runs(members))
    if not listed:
        return (b"." if negated else b"(?!)"), at
    return (b"[^" if negated else b"[") + listed + b"]", at


def _runs(members: bytearray) -> Iterator[bytes]:
    """The members as ranges: listed one by one, five bytes of pattern could make a thousand of expression."""
    low = members.find(1)
    while low >= 0:
        after = members.find(0, low)
        high = (after if after >= 0 else len(members)) - 1
        yield b"\\x%02x-\\x%02x" % (low, high)
        low = members.find(1, high + 1)
