"""What clients send: requests, whole conversations, inline lines."""

import hiredis
from tests.server.fake_replica import FakeReplica

from fuzz.pieces import WHOLE, controls, cut
from fuzz.target import Target
from fuzz.virtual_loop import VirtualLoop
from oarlock.kv import KeyValue
from oarlock.server.redis import inline
from oarlock.server.redis.connection import Conversation
from oarlock.server.redis.protocol import RequestParser
from oarlock.server.redis.service import Service

LONG = 0xA5
"""Control byte: repeat the stream until it is long, to show what takes more than linear time."""
LONG_BYTES, LONG_PIECE_BYTES = 8 * 1024, 297


def array(*arguments: bytes) -> bytes:
    """A request as clients send it."""
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in arguments)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────


class ExactParser(RequestParser):
    """Without the fast ways, which must change nothing. It takes one stream, whole."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[list[bytes]]:
        requests: list[list[bytes]] = []
        self._piecemeal(data, requests)
        return requests

    def _short_arguments(self, data: bytes, at: int) -> int:
        return at


def parse(parser: RequestParser, pieces: list[bytes]) -> tuple[list[list[bytes]], bytes | None]:
    requests: list[list[bytes]] = []
    fed = 0
    for piece in pieces:
        requests += parser.feed(piece)
        fed += len(piece)
        kept = len(parser._pending) + sum(map(len, parser._arguments))
        assert kept <= fed, "more is kept than has come"
        assert parser.error is None or not kept, "something is kept behind an error"
    return requests, parser.error


def check_requests(data: bytes) -> None:
    """However a stream is cut, and whichever way it is parsed, it gives the same requests and the same error."""
    stream, (how,) = controls(data, 1)
    pieces = cut(stream, how)
    if how == LONG and stream:
        stream *= LONG_BYTES // len(stream)
        pieces = [stream[at : at + LONG_PIECE_BYTES] for at in range(0, len(stream), LONG_PIECE_BYTES)]
    expected = parse(ExactParser(), [stream])
    assert all(request and all(type(word) is bytes for word in request) for request in expected[0])
    assert parse(RequestParser(), [stream]) == expected, "the fast way and the exact way differ"
    assert parse(RequestParser(), pieces) == expected, "it depends on where the stream is cut"


# ── conversations ────────────────────────────────────────────────────────────────────────────────────────────────

SLOW_CLIENT = 0x01
"""Second control byte, a bit: the client takes its replies late."""
BUSY_REPLICA = 0x02
"""A bit: the replica takes no more writes for a while."""
_CLOSERS = (b"QUIT", b"POST", b"HOST:")


class Client:
    """A transport that keeps what is written to it, and breaks when it is used wrongly."""

    def __init__(self, capacity: int | None) -> None:
        self.written = bytearray()
        self.reading = True
        self.closed = False
        self.capacity = capacity
        self.conversation: Conversation

    def write(self, data: bytes, /) -> None:
        assert data and not self.closed, "something is written to a closed transport, or nothing"
        self.written += data
        if self.capacity is not None and len(self.written) > self.capacity:
            self.conversation.output_full()

    def pause_reading(self) -> None:
        assert self.reading, "reading is paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "reading is resumed twice"
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


_spare = KeyValue()


def _fresh_replica() -> FakeReplica:
    """A replica without any keys. Making a key-value machine takes longer than most conversations with it, so one that
    was never written to is used again."""
    global _spare
    if _spare._data.change:
        _spare = KeyValue()
    replica = FakeReplica(_spare)
    replica.recording = False
    return replica


def talk(pieces: list[bytes], manner: int) -> Client:
    """A conversation from its first byte until nothing happens any more."""
    with VirtualLoop().running() as loop:
        replica = _fresh_replica()
        replica.room = not manner & BUSY_REPLICA
        service = Service(replica, replica.machine, loop.time, lambda: 1_700_000_000_000)
        client = Client(64 if manner & SLOW_CLIENT else None)
        conversation = client.conversation = Conversation(service, client, 1)
        for piece in pieces:
            if client.closed:
                break
            conversation.receive(piece)
            loop.run()
            replica.make_room()
            replica.room = not manner & BUSY_REPLICA
        for _ in range(1000):
            loop.run()
            if not (conversation._output_full or replica._writable):
                break
            replica.make_room()
            conversation.output_drained()
        else:
            raise AssertionError("the conversation does not come to rest")
        assert client.closed or client.reading, "nobody is waited for, and nothing is read"
        assert client.closed or conversation._waiting_bytes == 0, "something counts as waiting, and nothing waits"
        conversation.lost()
        loop.run()
    return client


def check_conversation(data: bytes) -> None:
    """Every request has one reply, in valid RESP, whatever it asks; nothing raises; an error of the protocol closes."""
    stream, (how, manner) = controls(data, 2)
    requests, error = RequestParser(), None
    asked = requests.feed(stream)
    error = requests.error
    closing = next((number for number, request in enumerate(asked, 1) if request[0].upper() in _CLOSERS), None)
    expected = closing if closing is not None else len(asked) + (error is not None)

    client = talk(cut(stream, how), manner)
    reader = hiredis.Reader()
    reader.feed(bytes(client.written))
    replies = []
    while (reply := reader.gets()) is not False:  # no command answers with a boolean
        replies.append(reply)
    assert not reader.has_data(), f"part of a reply: {bytes(client.written[-80:])!r}"
    assert len(replies) == expected, f"{len(replies)} replies to {expected} requests"
    assert client.closed == (closing is not None or error is not None), "closed without a reason, or not closed"
    if how != WHOLE and b"info" not in stream.lower():  # which tells how much has come so far
        assert talk([stream], 0).written == client.written, "replies depend on where the stream is cut"


# ── inline lines ─────────────────────────────────────────────────────────────────────────────────────────────────


def check_inline(data: bytes) -> None:
    """No line makes it raise or invent bytes; words that are quoted come out as they went in."""
    words = inline.split(data)
    assert words is None or sum(map(len, words)) <= len(data)
    if b'"' not in data and b"'" not in data:
        assert words == data.split()
    chosen = data.split(b"\xff")
    line = b" ".join(b'"' + b"".join(b"\\x%02x" % byte for byte in word) + b'"' for word in chosen)
    assert inline.split(line) == chosen
    if words is not None:
        assert inline.split((data + b" ") * 16) == words * 16, "a blank ends a word"


COMMANDS = [
    line.split()
    for line in (
        b"SET key value", b"GET key", b"SET k 1 EX 10 NX GET", b"MGET key k x", b"MSET key a k b", b"INCRBY k 41",
        b"APPEND key more", b"GETRANGE key 0 -1", b"DEL key k", b"EXPIRE key 10 NX", b"PTTL key", b"KEYS k*",
        b"SCAN 0 MATCH [a-k]* COUNT 10", b"MULTI", b"EXEC", b"DISCARD", b"WATCH key k", b"UNWATCH", b"HELLO 3",
        b"HELLO 2 SETNAME me", b"CLIENT LIST", b"CLIENT INFO", b"CLIENT SETNAME n", b"COMMAND DOCS get",
        b"COMMAND COUNT", b"CONFIG GET *", b"INFO", b"DBSIZE", b"TIME", b"PING", b"ECHO hello", b"SELECT 0", b"RESET",
        b"QUIT", b"CAS key value new", b"FLUSHALL", b"TYPE key", b"GETEX key PERSIST", b"SETEX k 10 v", b"nonsense a b",
    )
]  # fmt: skip
_STREAMS = [
    *(array(*words) for words in COMMANDS),
    *(b" ".join(words) + b"\r\n" for words in COMMANDS[::5]),
    b"".join(array(*words) for words in COMMANDS[:12]),
    array(b"MULTI") + array(b"SET", b"k", b"1") + array(b"INCR", b"k") + array(b"PING") + array(b"EXEC"),
    array(b"WATCH", b"k") + array(b"SET", b"k", b"2") + array(b"MULTI") + array(b"GET", b"k") + array(b"EXEC"),
    array(b"HELLO", b"3") + array(b"GET", b"x") + array(b"CONFIG", b"GET", b"*"),
    b"*0\r\n*-1\r\n\r\n" + array(b"PING"), b"*1\r\n$4\r\nPI", b"*3\r\n$1000\r\nx", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    array(b"GET", b"k") + b"*x\r\n",
    b"*1048576\r\n$4\r\n", b"*1\r\n:1\r\n", b"*1\r\n%1\r\n", b"SET k 'a b' \"\\x41\"\r\n",
]  # fmt: skip


def _pipelines() -> object:
    from hypothesis import strategies as st

    words = st.one_of(st.binary(max_size=8), st.sampled_from([b"k", b"key", b"0", b"-1", b"10", b"*", b"EX", b"NX"]))
    requests = st.one_of(st.sampled_from(COMMANDS), st.lists(words, min_size=1, max_size=4))
    changed = st.tuples(requests, st.lists(words, max_size=2)).map(lambda both: array(*both[0], *both[1]))
    lines = st.one_of(st.sampled_from(COMMANDS), st.lists(words, max_size=4)).map(lambda line: b" ".join(line) + b"\n")
    return st.lists(st.one_of(changed, changed, lines), max_size=8).map(b"".join)


TARGETS = [
    Target(
        name="requests", check=check_requests, controls=1, valid=_pipelines,
        seeds=[stream + bytes((how,)) for how, stream in enumerate(_STREAMS)],
    ),
    Target(
        name="conversation", check=check_conversation, controls=2, valid=_pipelines,
        seeds=[stream + bytes((how, how % 4)) for how, stream in enumerate(_STREAMS)],
    ),
    Target(
        name="inline", check=check_inline, max_bytes=96,
        seeds=[b"SET k 'a b'", b'SET k "\\x41\\n\\"\\q"', b"SET k 'it\\'s'", b'a"b c"', b'"a"b', b"'", b"  a\tb\v c "],
    ),
]  # fmt: skip
