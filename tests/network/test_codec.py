"""Every message survives the wire, and whatever else arrives is one kind of error."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock.core.messages import (
    AppendAck,
    AppendEntries,
    AppendReject,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    StaleTerm,
    TimeoutNow,
)
from oarlock.network import codec
from oarlock.network.codec import (
    MalformedFrame,
    decode_greeting,
    decode_messages,
    encode_greeting,
    encode_messages,
)
from oarlock.network.frames import HEADER_BYTES, FrameDecoder
from oarlock.network.messages import (
    ForwardSlice,
    Hello,
    ReadReply,
    ReadRequest,
    Refusal,
    SliceExpected,
    SnapshotChunk,
    SnapshotGone,
    SnapshotRequest,
)
from oarlock.types import MAX_ENTRY_BYTES, MAX_FRAME_BYTES, Entry, Slice

from .world import HELLO, ack

EVERY_MESSAGE = [
    AppendEntries(3, 9, 5, 2, 4, True, 1234, (Entry(6, 3, 1, 1234, b"\x00payload"), Entry(7, 3, 0, 0, b""))),
    AppendAck(3, 9, 7),
    AppendReject(3, 9, 5, 4, 2),
    PreVote(4, 7, 3, True),
    PreVoteReply(4, False),
    RequestVote(4, 7, 3, False),
    RequestVoteReply(4, True, 2**63, 99),
    TimeoutNow(4),
    StaleTerm(5),
    InstallSnapshot(3, 9, 7, 3, 1234),
    ForwardSlice(3, Slice(2, 8, 1, (b"one", (b"SET", b"k", b"v")), (None, (1, 2)))),
    SliceExpected(3, 8, 17),
    ReadRequest(8, 5),
    ReadReply(8, 5, None, 0),
    ReadReply(8, 6, 2**40, 12),
    SnapshotRequest(7, 3, 2**40, 262_144),
    SnapshotChunk(7, 3, 2**41, 2**40, b"\x00piece"),
    SnapshotGone(7, 3),
]


def bodies(stream):
    return [bytes(body) for body in FrameDecoder(MAX_FRAME_BYTES).feed(stream)]


def test_every_message_survives_the_wire_in_one_frame():
    [body] = bodies(encode_messages(EVERY_MESSAGE))
    assert decode_messages(body) == EVERY_MESSAGE
    assert decode_messages(memoryview(body)) == EVERY_MESSAGE


@pytest.mark.parametrize("greeting", [HELLO, Refusal("past", "you lost your past")])
def test_greetings_survive_the_wire(greeting):
    [body] = bodies(encode_greeting(greeting))
    assert decode_greeting(body) == greeting


class HelloOfVersion1(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """As the first version has it."""

    oldest_version: int
    newest_version: int
    cluster_id: str
    replica: int
    incarnation: int
    boot: int
    nonce: int
    durable_term: int
    last_term: int
    last_index: int
    redis_address: str
    http_address: str


def test_hellos_of_both_versions_are_understood_by_both():
    fields = msgspec.structs.astuple(HELLO)
    old = HelloOfVersion1(*fields[:12])
    assert decode_greeting(msgspec.msgpack.encode(old)) == Hello(*fields[:12])
    new = msgspec.structs.replace(HELLO, raft_address="a:1")
    [body] = bodies(encode_greeting(new))
    assert msgspec.msgpack.decode(body, type=HelloOfVersion1) == old


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_messages_or_malformed(body):
    for decode in (decode_messages, decode_greeting):
        with contextlib.suppress(MalformedFrame):
            decode(body)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_messages_are_messages_or_malformed(place, flip):
    body = bytearray(encode_messages(EVERY_MESSAGE)[HEADER_BYTES:])
    body[place % len(body)] ^= flip
    with contextlib.suppress(MalformedFrame):
        decode_messages(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\x91\x98\x01\x03\x09\x05\x02\x04\xc3\xdd\xff\xff\xff\xff",  # four billion entries
        b"\x91\x92\x22\xc6\xff\xff\xff\xff",  # four gigabytes
        b"\x91" * 100_000,
        b"\x91\x92\x63\x01",  # an unknown tag
        encode_greeting(HELLO)[HEADER_BYTES:],
    ],
)
def test_hostile_bodies_are_malformed(body):
    with pytest.raises(MalformedFrame):
        decode_messages(body)


def test_a_turn_larger_than_a_frame_goes_out_in_several_in_order(monkeypatch):
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 100)
    messages = [ack(number) for number in range(100)]
    decoded = []
    for body in bodies(encode_messages(messages)):
        assert len(body) <= 100
        decoded += decode_messages(body)
    assert decoded == messages


def test_the_largest_entry_fits_a_frame():
    [body] = bodies(
        encode_messages([AppendEntries(1, 1, 0, 0, 0, True, 0, (Entry(1, 1, 1, 1, bytes(MAX_ENTRY_BYTES)),))])
    )
    assert len(body) <= MAX_FRAME_BYTES
