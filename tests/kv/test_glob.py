"""The matcher against a transcription of Redis's ``stringmatchlen``, which defines what a pattern means."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oarlock.kv.glob import MAX_PATTERN_BYTES, matcher


def redis_matches(pattern: bytes, key: bytes) -> bool:
    """``stringmatchlen`` of Redis 7, byte for byte; exponential where it backtracks, so for short input only."""
    p = s = 0
    while p < len(pattern) and s < len(key):
        c = pattern[p : p + 1]
        if c == b"*":
            while p + 1 < len(pattern) and pattern[p + 1 : p + 2] == b"*":
                p += 1
            if p + 1 == len(pattern):
                return True
            return any(redis_matches(pattern[p + 1 :], key[at:]) for at in range(s, len(key)))
        if c == b"[":
            p += 1
            negated = pattern[p : p + 1] == b"^"
            p += negated
            match = False
            while True:
                left = len(pattern) - p
                if left >= 2 and pattern[p : p + 1] == b"\\":
                    p += 1
                    match |= pattern[p] == key[s]
                elif pattern[p : p + 1] == b"]":
                    break
                elif left == 0:
                    p -= 1
                    break
                elif left >= 3 and pattern[p + 1 : p + 2] == b"-":
                    low, high = sorted((pattern[p], pattern[p + 2]))
                    match |= low <= key[s] <= high
                    p += 2
                else:
                    match |= pattern[p] == key[s]
                p += 1
            if match == negated:
                return False
        elif c != b"?":
            if c == b"\\" and len(pattern) - p >= 2:
                p += 1
            if pattern[p] != key[s]:
                return False
        s += 1
        p += 1
        if s == len(key):
            while pattern[p : p + 1] == b"*":
                p += 1
            break
    return p >= len(pattern) and s == len(key)


PATTERNS = st.text(alphabet="ab]c*?[^-\\\n", max_size=9).map(str.encode)
KEYS = st.text(alphabet="abc]^-[*\\\n", max_size=7).map(str.encode)


@given(PATTERNS, KEYS)
@example(b"[a-]", b"]")
@example(b"[a", b"a")
@example(b"[^]", b"x")
@example(b"[]", b"]")
@example(b"a\\", b"a\\")
@example(b"*a*b", b"aab")
@example(b"*ab", b"abab")
@example(b"a*a", b"a")
def test_means_what_redis_means(pattern: bytes, key: bytes) -> None:
    # The transcription, like Redis, does not look at a pattern once the key is used up, save for stars.
    expected = pattern.strip(b"*") == b"" if not key else redis_matches(pattern, key)
    assert bool(matcher(pattern)(key)) == expected


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        (b"h?llo", b"hello", True),
        (b"h?llo", b"hllo", False),
        (b"h*llo", b"hllo", True),
        (b"h*llo", b"heeeello", True),
        (b"h[ae]llo", b"hallo", True),
        (b"h[ae]llo", b"hillo", False),
        (b"h[^e]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[b-a]llo", b"hallo", True),
        (b"h\\?llo", b"h?llo", True),
        (b"h\\?llo", b"hello", False),
        (b"*", b"line\nline", True),
        (b"?", b"\xff", True),
        (b"[\\]]", b"]", True),
        (b"", b"", True),
        (b"", b"a", False),
    ],
)
def test_examples(pattern: bytes, key: bytes, expected: bool) -> None:
    assert bool(matcher(pattern)(key)) == expected


def test_no_pattern_makes_it_slow() -> None:
    match = matcher(b"*a" * 30 + b"b")
    started = time.thread_time()
    assert not match(b"a" * 2000)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("unit", [b"?", b"a", b"a*", b"[^x]", b"[\x00-\xfe]", b"[\x00-\xfe]*"])
def test_the_longest_pattern_is_translated_in_no_time(unit: bytes) -> None:
    started = time.thread_time()
    matcher(unit * (MAX_PATTERN_BYTES // len(unit)))
    assert time.thread_time() - started < 0.5
