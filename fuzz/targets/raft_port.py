"""What arrives at a replica's raft port: frames, what they hold, and the connection as a whole."""

import struct
from collections.abc import Iterator

import msgspec
from crc32c import crc32c

from fuzz.pieces import controls, cut
from fuzz.target import Target
from fuzz.virtual_loop import VirtualLoop
from oarlock.core.messages import (
    AppendAck,
    AppendEntries,
    AppendReject,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    StaleTerm,
    TimeoutNow,
)
from oarlock.network.codec import decode_greeting, decode_messages, encode_greeting, encode_messages
from oarlock.network.complaints import Complaints
from oarlock.network.connection import Connection, Ledger
from oarlock.network.frames import HEADER_BYTES, FrameDecoder, MalformedFrame, encode_frame
from oarlock.network.handshake import review
from oarlock.network.inbound import Acceptor, InboundConnection
from oarlock.network.limits import Limits
from oarlock.network.messages import (
    ForwardSlice,
    Hello,
    PeerMessage,
    ReadReply,
    ReadRequest,
    Refusal,
    SliceExpected,
    SnapshotChunk,
    SnapshotGone,
    SnapshotRequest,
)
from oarlock.network.presence import Presence
from oarlock.types import MAX_FRAME_BYTES, Beat, Boot, Entry, EntryKind, Index, ReplicaId, Slice, Term

SEALED = 0x01
"""A bit of the last control byte: the stream's parts become bodies of frames with the right CRC. Without it hardly
anything would ever pass the checksum."""
GREETED = 0x02
"""A bit: a good Hello comes first."""
_BETWEEN = b"\xff\xfe"
"""Ends a part of a sealed stream."""


def sealed(stream: bytes) -> bytes:
    """The parts of the stream as frames; what stands behind the last end is left as it is."""
    *bodies, rest = stream.split(_BETWEEN)
    return b"".join(map(encode_frame, bodies)) + rest


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

_LIMIT_BYTES = 100


def frames(stream: bytes, limit_bytes: int) -> Iterator[bytes | None]:
    """The bodies, and None where the stream is malformed: what the decoder should say, said plainly."""
    at = 0
    while at + HEADER_BYTES <= len(stream):
        length, checksum, header_checksum = struct.unpack_from(">III", stream, at)
        body = stream[at + HEADER_BYTES : at + HEADER_BYTES + length]
        if crc32c(stream[at : at + 8]) != header_checksum or length > limit_bytes:
            yield None
            return
        if len(body) < length:
            return
        if crc32c(body) != checksum:
            yield None
            return
        yield body
        at += HEADER_BYTES + length


def check_frames(data: bytes) -> None:
    """The bodies and the error are the same however the stream is cut, and no more is kept than must be."""
    stream, (how, mode) = controls(data, 2)
    if mode & SEALED:
        stream = sealed(stream)
    decoder = FrameDecoder(_LIMIT_BYTES)
    found: list[bytes | None] = []
    try:
        for piece in cut(stream, how):
            found += map(bytes, decoder.feed(piece))
            assert len(decoder._kept) < _LIMIT_BYTES + HEADER_BYTES, "more is kept than one frame"
    except MalformedFrame:
        found.append(None)
    assert found == list(frames(stream, _LIMIT_BYTES))


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_messages(data: bytes) -> None:
    """A body is a greeting, a list of messages, or malformed; what is understood says the same when it is repeated."""
    body = memoryview(data)
    try:
        greeting = decode_greeting(body)
    except MalformedFrame:
        pass
    else:
        assert decode_greeting(encode_greeting(greeting)[HEADER_BYTES:]) == greeting
    try:
        messages = decode_messages(body)
    except MalformedFrame:
        pass
    else:
        assert decode_messages(encode_messages(messages)[HEADER_BYTES:]) == messages


# ── the port ─────────────────────────────────────────────────────────────────────────────────────────────────────

OWN = Hello(1, 2, "cluster", ReplicaId(1), 11, Boot(3), 111, Term(2), Term(2), Index(9), "a:1", "b:2", "c:3")
PEER = msgspec.structs.replace(OWN, replica=ReplicaId(2), incarnation=22, nonce=222)
LIMITS = Limits(handshake_frame_bytes=300)


class Ear(Complaints):
    """Counts complaints."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0

    def say(self, subject: str, text: str, level: int = 0, *, again: bool = True) -> None:
        assert text and len(text) < 10_000, "what a stranger says is repeated at length"
        self.heard += 1


class Owner:
    """Whom the acceptor asks, and a record of what it was told."""

    def __init__(self) -> None:
        self.inbox: list[list[PeerMessage]] = []
        self.hellos: list[Hello] = []
        self.downs = 0
        self._presence = Presence()

    def own_hello(self) -> Hello:
        return OWN

    def admit(self, hello: Hello) -> Refusal | None:
        return review(OWN, hello, None) or self._presence.examine(hello)

    def arrived(self, connection: InboundConnection, hello: Hello) -> None:
        self._presence.meet(hello)
        self.hellos.append(hello)

    def inbound_down(self, connection: InboundConnection) -> None:
        self.downs += 1

    def received(self, peer: ReplicaId, messages: list[PeerMessage]) -> None:
        assert self.hellos and peer == self.hellos[-1].replica, "messages of one who has not been admitted"
        self.inbox.append(messages)


class Wire:
    """The transport of a connection."""

    def __init__(self, loop: VirtualLoop, connection: Connection) -> None:
        self._loop, self._connection = loop, connection
        self.written = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        assert not self.closing
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 7)

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self._loop.call_soon(self._connection.connection_lost, None)

    close = abort


class Outcome(msgspec.Struct):
    """What becomes of a connection that sent a stream."""

    admitted: Hello | None = None
    inbox: list[list[PeerMessage]] = []
    complaints: int = 0
    written: bytes = b""


def outcome(stream: bytes) -> Outcome:
    """What the port should make of a stream, from its parts' own words."""
    result = Outcome()
    bodies = frames(stream, LIMITS.handshake_frame_bytes)
    first = next(bodies, b"")
    try:
        if first is None:
            raise MalformedFrame
        if not first and not stream.startswith(encode_frame(b"")):
            return result  # not there yet
        greeting = decode_greeting(first)
    except MalformedFrame:
        return Outcome(complaints=1)
    if isinstance(greeting, Refusal):
        return Outcome(complaints=1)
    refusal = review(OWN, greeting, None)
    if refusal is not None:
        return Outcome(complaints=1, written=encode_greeting(refusal))
    result.admitted, result.written = greeting, encode_greeting(OWN)
    try:
        for body in frames(stream[HEADER_BYTES + len(first) :], MAX_FRAME_BYTES):
            if body is None:
                raise MalformedFrame
            if messages := decode_messages(body):
                result.inbox.append(messages)
    except MalformedFrame:
        result.complaints = 1
    return result


def check_port(data: bytes) -> None:
    """A frame is delivered, or the link ends with one line in the log; nothing is raised, nothing is left behind."""
    stream, (how, mode) = controls(data, 2)
    if mode & SEALED:
        stream = sealed(stream)
    if mode & GREETED:
        stream = encode_greeting(PEER) + stream
    expected = outcome(stream)
    with VirtualLoop().running() as loop:
        owner, ear, ledger = Owner(), Ear(), Ledger()
        acceptor = Acceptor(None, owner, LIMITS, ear, ledger)  # type: ignore[arg-type]
        connection = acceptor._accept()
        assert isinstance(connection, InboundConnection)
        wire = Wire(loop, connection)
        connection.connection_made(wire)  # type: ignore[arg-type]
        for piece in cut(stream, how):
            connection.data_received(piece)
            bound = MAX_FRAME_BYTES if connection.proven else LIMITS.handshake_frame_bytes
            assert len(connection._decoder._kept) < bound + HEADER_BYTES
        loop.run()
        assert owner.inbox == expected.inbox
        assert owner.hellos == ([expected.admitted] if expected.admitted else [])
        assert (ear.heard, wire.written) == (expected.complaints, expected.written)
        assert wire.closing == bool(expected.complaints)
        loop.pass_time(LIMITS.handshake_s + 1)
        assert wire.closing != connection.proven or expected.complaints, "strangers have a deadline, and peers none"
        wire.abort()
        loop.run()
        assert not ledger._open and not acceptor._strangers, "a connection that is gone is remembered"
        assert not loop._timers, "a timer outlives its connection"
        assert owner.downs == bool(expected.admitted)


MESSAGES: list[PeerMessage] = [
    AppendEntries(
        Term(2), Beat(3), Index(1), Term(1), Index(1), True, 77,
        (Entry(Index(2), Term(2), EntryKind.BATCH, 70, b"payload"), Entry(Index(3), Term(2), EntryKind.CLOCK, 71, b"")),
    ),
    AppendAck(Term(2), Beat(3), Index(2)),
    AppendReject(Term(2), Beat(3), Index(9), Index(4), Term(1)),
    PreVote(Term(3), Index(9), Term(2), False),
    PreVoteReply(Term(3), True),
    RequestVote(Term(3), Index(9), Term(2), False),
    RequestVoteReply(Term(3), True, 22, 80),
    TimeoutNow(Term(2)),
    StaleTerm(Term(4)),
    ForwardSlice(Term(2), Slice(ReplicaId(2), Boot(3), 1, (b"one", (b"SET", b"k", b"v")), ((1, 2), None))),
    SliceExpected(Term(2), Boot(3), 4),
    ReadRequest(Boot(3), 1),
    ReadReply(Boot(3), 1, Index(9), 80),
    SnapshotRequest(Index(9), Term(2), 262_144, 262_144),
    SnapshotChunk(Index(9), Term(2), 300_000, 262_144, b"piece"),
    SnapshotGone(Index(9), Term(2)),
]  # fmt: skip
_BODIES = [encode_messages([message])[HEADER_BYTES:] for message in MESSAGES] + [encode_messages([])[HEADER_BYTES:]]
_GREETINGS = [
    encode_greeting(greeting)[HEADER_BYTES:]
    for greeting in (
        PEER, OWN, msgspec.structs.replace(PEER, cluster_id="other"), msgspec.structs.replace(PEER, newest_version=9),
        msgspec.structs.replace(PEER, replica=ReplicaId(9)), Refusal("busy", "come back later"),
    )
]  # fmt: skip
STREAMS = [
    *(body + _BETWEEN for body in _BODIES + _GREETINGS),
    _GREETINGS[0] + _BETWEEN + _BODIES[1] + _BETWEEN + _BODIES[0] + _BETWEEN,
    _BODIES[1] + _BETWEEN + _BODIES[-1] + _BETWEEN + b"garbage" + _BETWEEN,
    *(bytes(size) + _BETWEEN + b"behind it" + _BETWEEN for size in (_LIMIT_BYTES, _LIMIT_BYTES + 1)),
]


def _hello(field: int, value: int) -> bytes:
    """A Hello of which one field is something else."""
    fields = list(msgspec.structs.astuple(PEER))
    fields[field] = str(value) if isinstance(fields[field], str) else value
    return encode_greeting(Hello(*fields))[HEADER_BYTES:]


def _bodies() -> object:
    from hypothesis import strategies as st

    return st.one_of(
        st.lists(st.sampled_from(MESSAGES), max_size=4).map(lambda messages: encode_messages(messages)[HEADER_BYTES:]),
        st.sampled_from(_GREETINGS),
        st.builds(_hello, st.integers(0, 12), st.one_of(st.integers(-3, 5), st.integers(-(1 << 63), (1 << 64) - 1))),
    )


def streams() -> object:
    from hypothesis import strategies as st

    return st.lists(_bodies(), max_size=4).map(lambda bodies: b"".join(body + _BETWEEN for body in bodies))  # type: ignore[arg-type]


TARGETS = [
    Target(
        name="frames", check=check_frames, controls=2, valid=streams,
        seeds=[sealed(stream) + b"\x05\0" for stream in STREAMS] + [stream + b"\x0b\x01" for stream in STREAMS],
    ),
    Target(
        name="messages", check=check_messages, valid=_bodies, max_bytes=2400,
        seeds=[*_BODIES, *_GREETINGS, b"\x91\x93\x09\x01" + b"\x91" * 2000],
    ),
    Target(
        name="raft-port", check=check_port, controls=2, valid=streams,
        seeds=[stream + bytes((how, mode)) for mode in (0, 1, 2, 3) for how, stream in enumerate(STREAMS)],
    ),
]  # fmt: skip
