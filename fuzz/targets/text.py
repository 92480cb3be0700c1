"""Patterns and integers, from the arguments of commands."""

import re

from tests.kv.test_glob import redis_matches

from fuzz.pieces import controls
from fuzz.target import Target
from oarlock.kv import integers
from oarlock.kv.glob import matcher

LONG = 0xA5
"""Control byte: a pattern and a key of a thousand bytes, to show what takes more than their product."""


def check_glob(data: bytes) -> None:
    """A pattern means what Redis's ``stringmatchlen`` makes of it, and none takes long."""
    text, (how,) = controls(data, 1)
    at = how * len(text) // 0xFF
    pattern, key = text[:at], text[at:]
    if how == LONG and text:
        half = len(text) // 2
        pattern, key = text[:half] * (1024 // max(1, half)), text[half:] * (1024 // (len(text) - half))
        matcher(pattern)(key)
        re.purge()  # it keeps some hundred patterns, and these are large
        return
    matched = bool(matcher(pattern)(key))
    # The transcription backtracks, so it is asked only what it answers quickly.
    if pattern.count(b"*") <= 3 and len(key) <= 16:
        # It does not look at a pattern once the key is used up, save for stars.
        expected = redis_matches(pattern, key) if key else not pattern.strip(b"*")
        assert matched == expected, "Redis says otherwise"


_SPELLING = re.compile(rb"0|-?[1-9][0-9]*")


def check_integers(data: bytes) -> None:
    """An integer is taken in the one spelling that printing it gives, and in no other."""
    value = integers.parse(data)
    spells = _SPELLING.fullmatch(data) is not None and len(data) <= 20 and -(1 << 63) <= int(data) < 1 << 63
    assert (value is not None) == spells
    assert value is None or b"%d" % value == data


def _patterns() -> object:
    from hypothesis import strategies as st

    piece = st.sampled_from([b"*", b"?", b"[a-c]", b"[^a]", b"[", b"]", b"\\", b"-", b"^", b"a", b"b", b"c", b"z"])
    return st.lists(piece, max_size=24).map(b"".join)


TARGETS = [
    Target(
        name="glob", check=check_glob, controls=1, max_bytes=64, valid=_patterns,
        seeds=[
            pattern + key + bytes((how,))
            for pattern in (b"user:*", b"[a-c]?*", b"[^]a]", b"\\*a", b"*a*b", b"[z-a", b"[\\]-a]")
            for key in (b"", b"user:1", b"aab")
            for how in (0, 90, 128, 0xFF)
        ]
        + [b"*a?[ab]*aaaab" + bytes((LONG,))],
    ),
    Target(
        name="integers", check=check_integers, max_bytes=24,
        seeds=[b"0", b"-1", b"-0", b"01", b"+1", b"9223372036854775807", b"-9223372036854775808", b"1 ", b"-", b""],
    ),
]  # fmt: skip
