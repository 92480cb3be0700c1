"""The queries, except the plain GET, which :mod:`oarlock.kv.machine` does in its loop. None changes anything.

A query over many keys is a generator that yields about every thousand, so that whoever runs it can let other work in
between; its return value is the result.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeAlias

from oarlock.kv.glob import matcher
from oarlock.kv.keyspace import Keyspace
from oarlock.kv.results import Result

LongAnswer: TypeAlias = Generator[None, None, Result]
Query: TypeAlias = "Callable[[Keyspace, tuple[bytes, ...]], Result | LongAnswer]"

_STEP: Final = 1000
"""Keys looked at between two yields; about 0.3 ms."""


def mget(data: Keyspace, query: tuple[bytes, ...]) -> Result:
    return [data.shard(key).get(key) for key in query[1:]]


def exists(data: Keyspace, query: tuple[bytes, ...]) -> Result:
    return sum(key in data.shard(key) for key in query[1:])


def strlen(data: Keyspace, query: tuple[bytes, ...]) -> Result:
    _, key = query
    return len(data.shard(key).get(key, b""))


def dbsize(data: Keyspace, query: tuple[bytes, ...]) -> Result:
    (_,) = query
    return len(data)


def keys(data: Keyspace, query: tuple[bytes, ...]) -> "Result | LongAnswer":
    """``KEYS pattern``. The keys are those of the moment of the call, however long matching them takes."""
    _, pattern = query
    answer = _matching(data.keys(), pattern)
    return answer if len(data) > _STEP else _drain(answer)


def _matching(found: Iterable[list[bytes]], pattern: bytes) -> LongAnswer:
    match = None if pattern == b"*" else matcher(pattern)
    result: list[Result] = []
    looked_at = 0
    for some in found:
        result.extend(some if match is None else [key for key in some if match(key)])
        looked_at += len(some)
        if looked_at >= _STEP:
            looked_at = 0
            yield
    return result


def scan(data: Keyspace, query: tuple[bytes, ...]) -> "Result | LongAnswer":
    """``SCAN position count pattern type``: the next position, then keys.

    An empty type stands for every type. ``count`` is of keys looked at, not of those that match, so that a pattern
    that matches nothing costs no more than one that matches all.
    """
    _, position, count, pattern, kind = query
    answer = _scan(data, int(position), int(count), pattern, kind in (b"", b"string"))
    return _drain(answer) if int(count) <= _STEP else answer


def _scan(data: Keyspace, position: int, count: int, pattern: bytes, wanted: bool) -> LongAnswer:
    match = None if pattern == b"*" else matcher(pattern)
    result: list[Result] = []
    since_yield = 0
    while count > 0:
        position, some = data.scan(position, count)
        if wanted:
            result.extend(some if match is None else [key for key in some if match(key)])
        count -= len(some)
        if position == 0:
            break
        since_yield += len(some)
        if since_yield >= _STEP:
            since_yield = 0
            yield
    return [b"%d" % position, result]


def _drain(answer: LongAnswer) -> Result:
    while True:
        try:
            next(answer)
        except StopIteration as end:
            result: Result = end.value
            return result


QUERIES: Final[dict[bytes, Query]] = {
    b"MGET": mget,
    b"EXISTS": exists,
    b"STRLEN": strlen,
    b"DBSIZE": dbsize,
    b"KEYS": keys,
    b"SCAN": scan,
}
