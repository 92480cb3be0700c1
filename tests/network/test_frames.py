"""Frames survive any splitting of the stream, and nothing else passes for one."""

import itertools

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock.network.frames import HEADER_BYTES, FrameDecoder, MalformedFrame, encode_frame

LIMIT = 1000


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at the given places (wherever they are)."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[here:there] for here, there in itertools.pairwise(places)]


def decode(chunks, limit=LIMIT):
    decoder = FrameDecoder(limit)
    return [bytes(body) for chunk in chunks for body in decoder.feed(chunk)]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_bodies_come_out_as_they_went_in_however_the_stream_is_split(bodies, cuts):
    assert decode(split(b"".join(map(encode_frame, bodies)), cuts)) == bodies


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_single_bytes_are_enough(bodies):
    stream = b"".join(map(encode_frame, bodies))
    assert decode([stream[at : at + 1] for at in range(len(stream))]) == bodies


@settings(deadline=None)
@given(st.binary(max_size=600), st.lists(st.integers(0, 10_000), max_size=10))
def test_arbitrary_bytes_give_only_bodies_of_the_right_crc_or_malformed_frame(stream, cuts):
    decoder = FrameDecoder(LIMIT)
    place = 0
    try:
        for chunk in split(stream, cuts):
            for body in decoder.feed(chunk):
                header = stream[place : place + HEADER_BYTES]
                fields = len(body).to_bytes(4, "big") + crc32c(body).to_bytes(4, "big")
                assert header == fields + crc32c(fields).to_bytes(4, "big")
                place += HEADER_BYTES + len(body)
    except MalformedFrame:
        pass


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100), st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_frame_never_yields_its_body(body, place, flip):
    frame = bytearray(encode_frame(body))
    frame[place % len(frame)] ^= flip
    with pytest.raises(MalformedFrame):
        decode([bytes(frame)])


def test_a_damaged_length_is_noticed_before_anything_is_waited_for():
    frame = bytearray(encode_frame(b"body"))
    frame[2] ^= 1
    with pytest.raises(MalformedFrame, match="header"):
        decode([bytes(frame[:HEADER_BYTES])])


def test_a_frame_of_the_limit_passes_and_a_longer_one_is_refused_by_its_header_alone():
    assert decode([encode_frame(bytes(LIMIT))]) == [bytes(LIMIT)]
    with pytest.raises(MalformedFrame, match="1001"):
        decode([encode_frame(bytes(LIMIT + 1))[:HEADER_BYTES]])


def test_a_whole_frame_above_the_limit_is_refused_like_its_header():
    with pytest.raises(MalformedFrame, match="1001"):
        decode([encode_frame(bytes(LIMIT + 1))])


def test_what_looks_like_a_frame_within_a_body_is_part_of_the_body():
    body = b"a value that holds " + encode_frame(b"a frame")
    frame = encode_frame(body)
    at = frame.index(encode_frame(b"a frame"))
    assert decode([frame[:at], frame[at:]]) == [body]


def test_bodies_before_the_malformed_one_are_delivered():
    decoder = FrameDecoder(LIMIT)
    stream = decoder.feed(encode_frame(b"good") + b"\xff" * HEADER_BYTES)
    assert bytes(next(stream)) == b"good"
    with pytest.raises(MalformedFrame):
        next(stream)


def test_the_limit_may_grow_between_two_bodies_of_one_chunk():
    decoder = FrameDecoder(10)
    bodies = []
    for body in decoder.feed(encode_frame(b"hello") + encode_frame(bytes(500))):
        bodies.append(len(body))
        decoder.limit_bytes = LIMIT
    assert bodies == [5, 500]


def test_a_body_stays_valid_while_later_chunks_arrive():
    decoder = FrameDecoder(LIMIT)
    frame = encode_frame(b"first")
    assert list(decoder.feed(frame[:6])) == []
    [first] = decoder.feed(frame[6:] + encode_frame(b"second")[:9])
    [second] = decoder.feed(encode_frame(b"second")[9:])
    assert (bytes(first), bytes(second)) == (b"first", b"second")


def test_a_large_frame_in_small_chunks_is_copied_once():
    decoder = FrameDecoder(1 << 24)
    frame = encode_frame(bytes(1 << 22))
    buffers = set()
    for at in range(0, len(frame) - 1, 4096):
        assert list(decoder.feed(frame[at : min(at + 4096, len(frame) - 1)])) == []
        buffers.add(id(decoder._kept))
    assert len(buffers) == 1, "the unfinished frame grows in place"
    assert len(list(decoder.feed(frame[-1:]))) == 1
