"""The queries. None changes anything; of time, each gets the log time up to which the reader knows that it went by.

GET is here for transactions: by itself :mod:`oarlock.kv.machine` answers it in its loop.

A query over many keys is a generator that yields about every thousand, so that whoever runs it can let other work in
between; its return value is the result.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeAlias

from oarlock.kv.glob import matcher
from oarlock.kv.keyspace import Keyspace
from oarlock.kv.results import Result, SimpleString

LongAnswer: TypeAlias = Generator[None, None, Result]
Query: TypeAlias = "Callable[[Keyspace, tuple[bytes, ...], int], Result | LongAnswer]"

_STEP: Final = 1000
"""Keys looked at between two yields; about 0.3 ms."""

_COPIED_BYTES: Final = 256
"""A part no larger than this is copied; a view takes about as much, and keeps the whole value."""

_STRING: Final = SimpleString(b"string")
_NONE: Final = SimpleString(b"none")


def get(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    _, key = query
    return data.get(key)


def mget(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    return [data.get(key) for key in query[1:]]


def exists(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    return sum(data.get(key) is not None for key in query[1:])


def strlen(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    _, key = query
    return len(data.get(key) or b"")


def getrange(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    """``GETRANGE key first last``, the last one included; negative positions count from the end.

    A large part is a view of the value: a pipeline may ask for thousands before the first has left.
    """
    _, key, *ends = query
    value = data.get(key) or b""
    first, last = map(int, ends)
    if first < 0 and last < 0 and first > last:
        return b""
    first, last = (max(end + len(value), 0) if end < 0 else end for end in (first, last))
    part = memoryview(value)[first : last + 1]
    return part.toreadonly() if len(part) > _COPIED_BYTES else bytes(part)


def type_(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    _, key = query
    return _NONE if data.get(key) is None else _STRING


def pttl(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    """``PTTL key``: what is left of its lifetime, and 0 if that is over but no entry of the log has said so yet."""
    _, key = query
    if data.get(key) is None:
        return -2
    deadline_ms = data.lifetimes.deadlines.get(key)
    return -1 if deadline_ms is None else max(deadline_ms - time_ms, 0)


def ttl(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    """``TTL key``: as PTTL, rounded to seconds."""
    return _seconds(pttl(data, query, time_ms))


def pexpiretime(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    _, key = query
    if data.get(key) is None:
        return -2
    unix_ms = data.lifetimes.unix_ms(key)
    return -1 if unix_ms is None else unix_ms


def expiretime(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    return _seconds(pexpiretime(data, query, time_ms))


def _seconds(milliseconds: Result) -> Result:
    assert isinstance(milliseconds, int)
    return milliseconds if milliseconds < 0 else (milliseconds + 500) // 1000


def version(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    """``VERSION key…``: what WATCH remembers."""
    return [data.version(key) for key in query[1:]]


def dbsize(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> Result:
    (_,) = query
    return len(data)


def keys(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> "Result | LongAnswer":
    """``KEYS pattern``. The keys are those of the moment of the call, however long matching them takes."""
    _, pattern = query
    answer = _matching((list(values) for values, _ in data.image()), pattern)
    return answer if len(data) > _STEP else drained(answer)


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


def scan(data: Keyspace, query: tuple[bytes, ...], time_ms: int) -> "Result | LongAnswer":
    """``SCAN position count pattern type``: the next position, then keys.

    An empty type stands for every type. ``count`` is of keys looked at, not of those that match, so that a pattern
    that matches nothing costs no more than one that matches all.
    """
    _, position, count, pattern, kind = query
    answer = _scan(data, int(position), int(count), pattern, kind in (b"", b"string"))
    return drained(answer) if int(count) <= _STEP else answer


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


def drained(answer: LongAnswer) -> Result:
    """A long answer at once, however long it takes."""
    while True:
        try:
            next(answer)
        except StopIteration as end:
            result: Result = end.value
            return result


def inside(data: Keyspace, query: tuple[bytes, ...]) -> Result:
    """The answer inside a transaction: at once, since nothing may come between, and the same at every replica.

    The order in which a dict gives its keys tells of its history, which a replica that was restored does not share.
    """
    answer = QUERIES[query[0]](data, query, data.lifetimes.now_ms)
    result = drained(answer) if isinstance(answer, Generator) else answer
    match query[0], result:
        case b"KEYS", list(found):
            return _in_order(found)
        case b"SCAN", [position, list(found)]:
            return [position, _in_order(found)]
    return result


def _in_order(keys: list[Result]) -> Result:
    ordered: list[Result] = sorted(keys)  # type: ignore[type-var]
    return ordered


QUERIES: Final[dict[bytes, Query]] = {
    b"GET": get,
    b"MGET": mget,
    b"EXISTS": exists,
    b"STRLEN": strlen,
    b"GETRANGE": getrange,
    b"TYPE": type_,
    b"TTL": ttl,
    b"PTTL": pttl,
    b"EXPIRETIME": expiretime,
    b"PEXPIRETIME": pexpiretime,
    b"VERSION": version,
    b"DBSIZE": dbsize,
    b"KEYS": keys,
    b"SCAN": scan,
}
