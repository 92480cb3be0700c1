"""Random sequences of commands to Oarlock and to a real redis-server: every reply must be the same.

Two connections take turns, with pipelines, transactions, wrong arities and wrong types. ``DIFFERENTIAL_SEQUENCES`` says
how many sequences (a few hundred if it is not set).
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import TypeAlias

import hiredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.fake_replica import FakeReplica
from tests.server.redis_server import REDIS, running_redis
from tests.server.test_connection import Scene
from tests.server.test_protocol import array

pytestmark = pytest.mark.skipif(REDIS is None, reason="no redis-server is installed")

SEQUENCES = int(os.environ.get("DIFFERENTIAL_SEQUENCES", "300"))
CONNECTIONS = 2
DEADLINE_S = 20

Words: TypeAlias = tuple[bytes, ...]
Step: TypeAlias = tuple[int, list[Words]]

KEYS = st.sampled_from([b"a", b"b", b"c", b""])
INTEGERS = st.sampled_from([b"0", b"1", b"-1", b"7", b"9223372036854775807", b"-9223372036854775808"])
ODD = st.sampled_from([b"x", b"", b"01", b"1.5", b"+1", b" 1", b"9223372036854775808", b"NX", b"\r\n", b"\x00\xff"])
VALUES = st.one_of(INTEGERS, ODD, st.sampled_from([b"hello", b"v"]))
# Lifetimes are compared by TTL when they are relative, with time to spare before a second is over, and by
# EXPIRETIME when they are absolute. A sequence has lifetimes of one sort.
AFTER = st.one_of(st.sampled_from([b"1000", b"2000", b"0", b"-1", b"9223372036854775807", b"9223372036854775"]), ODD)
AFTER_MS = st.one_of(st.sampled_from([b"1000000", b"2000000", b"0", b"-1", b"9223372036854775807"]), ODD)
UNTIL = st.one_of(st.sampled_from([b"4000000000", b"4000000001", b"1", b"0", b"-1", b"9223372036854775807"]), ODD)
UNTIL_MS = st.one_of(st.sampled_from([b"4000000000000", b"4000000000501", b"1", b"0", b"-1"]), ODD)


def words(name: bytes, *arguments: st.SearchStrategy[bytes]) -> st.SearchStrategy[Words]:
    return st.tuples(st.just(name), *arguments)


def options(*choices: st.SearchStrategy[Words], most: int = 3) -> st.SearchStrategy[Words]:
    return st.lists(st.one_of(*choices), max_size=most).map(lambda chosen: sum(chosen, ()))


def also(first: st.SearchStrategy[Words], rest: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    return st.tuples(first, rest).map(lambda parts: parts[0] + parts[1])


def flags(*names: bytes) -> st.SearchStrategy[Words]:
    return st.sampled_from(names).map(lambda name: (name,))


def many(name: bytes, *arguments: st.SearchStrategy[bytes], least: int = 0) -> st.SearchStrategy[Words]:
    rest = st.lists(st.tuples(*arguments), min_size=least, max_size=3).map(lambda items: sum(items, ()))
    return also(st.just((name,)), rest)


TIMELESS = [
    words(b"GET", KEYS), words(b"get", KEYS), words(b"SET", KEYS, VALUES), words(b"set", KEYS, VALUES),
    words(b"SETNX", KEYS, VALUES), words(b"INCR", KEYS), words(b"DECR", KEYS), words(b"INCRBY", KEYS, VALUES),
    words(b"DECRBY", KEYS, VALUES), words(b"APPEND", KEYS, VALUES), words(b"STRLEN", KEYS),
    words(b"GETSET", KEYS, VALUES),
    words(b"GETDEL", KEYS), words(b"GETRANGE", KEYS, VALUES, VALUES), words(b"SUBSTR", KEYS, INTEGERS, INTEGERS),
    words(b"TYPE", KEYS), words(b"PERSIST", KEYS), words(b"GETEX", KEYS), words(b"GETEX", KEYS, st.just(b"PERSIST")),
    many(b"MGET", KEYS), many(b"EXISTS", KEYS), many(b"DEL", KEYS), many(b"UNLINK", KEYS), many(b"MSET", KEYS, VALUES),
    many(b"MSETNX", KEYS, VALUES), many(b"MSET", KEYS), many(b"FLUSHALL", flags(b"ASYNC", b"x").map(lambda w: w[0])),
    words(b"KEYS", st.sampled_from([b"a", b"[b]", b"\\c", b"x*"])), words(b"PING"),
    words(b"ECHO", VALUES),
    words(b"SCAN", st.sampled_from([b"0", b"x"]), st.just(b"COUNT"), st.just(b"1000"), st.just(b"MATCH"),
          st.just(b"a")),
    words(b"CLIENT", st.just(b"GETNAME")), words(b"CLIENT", st.just(b"SETNAME"), VALUES), words(b"NOSUCH", VALUES),
    words(b"CLIENT", ODD), words(b"SELECT", st.just(b"0")), words(b"FLUSHDB"), words(b"RESET"),
    also(words(b"SET", KEYS, VALUES), options(flags(b"NX", b"XX", b"GET", b"KEEPTTL", b"PERSIST", b"x", b"EX"))),
]  # fmt: skip
CONTROL = [
    words(b"MULTI"), words(b"EXEC"), words(b"EXEC"), words(b"DISCARD"), words(b"UNWATCH"),
    many(b"WATCH", KEYS, least=1),
    many(b"WATCH", KEYS),
]  # fmt: skip
# DBSIZE only here: Redis goes on counting a key that was given a time in the past until something looks at it.
RELATIVE = [
    words(b"DBSIZE"),
    words(b"TTL", KEYS), words(b"SETEX", KEYS, AFTER, VALUES), words(b"PSETEX", KEYS, AFTER_MS, VALUES),
    also(words(b"EXPIRE", KEYS, AFTER), options(flags(b"NX", b"XX", b"xx", b"x"), most=2)),
    also(words(b"PEXPIRE", KEYS, AFTER_MS), options(flags(b"NX", b"XX"), most=1)),
    also(words(b"SET", KEYS, VALUES), options(flags(b"NX", b"XX", b"GET", b"KEEPTTL"), words(b"EX", AFTER),
                                              words(b"px", AFTER_MS))),
    also(words(b"GETEX", KEYS), options(flags(b"PERSIST"), words(b"EX", AFTER), words(b"PX", AFTER_MS), most=2)),
]  # fmt: skip
ABSOLUTE = [
    words(b"EXPIRETIME", KEYS), words(b"PEXPIRETIME", KEYS),
    also(words(b"EXPIREAT", KEYS, UNTIL), options(flags(b"NX", b"XX", b"GT", b"LT", b"x"), most=2)),
    also(words(b"PEXPIREAT", KEYS, UNTIL_MS), options(flags(b"NX", b"XX", b"GT", b"LT"), most=2)),
    also(words(b"SET", KEYS, VALUES), options(flags(b"NX", b"XX", b"GET", b"KEEPTTL"), words(b"EXAT", UNTIL),
                                              words(b"PXAT", UNTIL_MS))),
    also(words(b"GETEX", KEYS), options(flags(b"PERSIST"), words(b"EXAT", UNTIL), words(b"PXAT", UNTIL_MS), most=2)),
]  # fmt: skip


def misshapen(request: Words) -> st.SearchStrategy[Words]:
    """The request with the wrong number of arguments, perhaps."""
    return st.sampled_from([request, request[:1], request[:-1] or request, (*request, b"z")])


def sequences(lifetimes: list[st.SearchStrategy[Words]]) -> st.SearchStrategy[list[Step]]:
    sound = st.one_of(st.one_of(TIMELESS), st.one_of(lifetimes), st.one_of(CONTROL))
    request = st.one_of(sound, sound, sound, sound.flatmap(misshapen))
    transaction = st.lists(request, max_size=4).map(lambda inner: [(b"MULTI",), *inner, (b"EXEC",)])
    pipeline = st.one_of(st.lists(request, min_size=1, max_size=5), transaction)
    return st.lists(st.tuples(st.integers(0, CONNECTIONS - 1), pipeline), min_size=1, max_size=12)


SEQUENCE = st.one_of(sequences(RELATIVE), sequences(ABSOLUTE))


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with running_redis() as port:
        yield port


class Theirs:
    """The connections to the real one, which all sequences share."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.create_connection(("127.0.0.1", port), DEADLINE_S) for _ in range(CONNECTIONS)]
        self.start()

    def start(self) -> None:
        for connection in range(CONNECTIONS):
            self.say(connection, [(b"RESET",), (b"FLUSHALL",)])

    def say(self, connection: int, requests: list[Words]) -> bytes:
        sock = self._sockets[connection]
        sock.sendall(b"".join(array(*request) for request in requests))
        reader, answer, missing = hiredis.Reader(), b"", len(requests)
        while missing:
            data = sock.recv(65536)
            assert data, "redis-server closed the connection"
            answer += data
            reader.feed(data)
            while missing and reader.gets() is not False:
                missing -= 1
        return answer

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


async def ours(steps: list[Step], protocols: tuple[int, ...]) -> list[bytes]:
    scene = Scene()
    assert isinstance(scene.replica, FakeReplica)
    scene.replica.recording = False
    talks = [(scene.wire, scene.talk), *(scene.connect() for _ in range(CONNECTIONS - 1))]
    for (_, talk), protocol in zip(talks, protocols, strict=True):
        talk.resp3 = protocol == 3
    answers = []
    for connection, requests in steps:
        wire, talk = talks[connection]
        talk.receive(b"".join(array(*request) for request in requests))
        for _ in range(1000):
            if not talk._queue:
                break
            await asyncio.sleep(0)
        answers.append(wire.taken())
    return answers


def test_random_sequences(redis_port: int) -> None:
    theirs = Theirs(redis_port)

    @settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(SEQUENCE, st.tuples(*[st.sampled_from([2, 3])] * CONNECTIONS))
    def compare(steps: list[Step], protocols: tuple[int, ...]) -> None:
        expected = []
        theirs.start()
        for connection, protocol in enumerate(protocols):
            theirs.say(connection, [(b"HELLO", b"%d" % protocol)])
        for connection, requests in steps:
            expected.append(theirs.say(connection, requests))
        answers = runner.run(ours(steps, protocols))
        for step, answer, reply in zip(steps, answers, expected, strict=True):
            assert answer == reply, step

    with asyncio.Runner() as runner:
        try:
            compare()
        finally:
            theirs.close()
