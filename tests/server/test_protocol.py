"""Requests from bytes: what is taken, what is refused and in which words, however the bytes are cut."""

import itertools
import tracemalloc
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oarlock.server.redis import inline
from oarlock.server.redis.protocol import RequestParser
from oarlock.types import MAX_COMMAND_BYTES


def array(*arguments: bytes) -> bytes:
    return b"*%d\r\n" % len(arguments) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in arguments)


def parsed(*pieces: bytes) -> tuple[list[list[bytes]], bytes | None]:
    parser = RequestParser()
    requests = [request for piece in pieces for request in parser.feed(piece)]
    return requests, parser.error


def cut_up(stream: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


ARGUMENTS = st.one_of(st.binary(max_size=12), st.text(alphabet="*$%~>|+-:\r\n12a", max_size=8).map(str.encode))
REQUESTS = st.lists(st.lists(ARGUMENTS, min_size=1, max_size=5), max_size=6)
CUTS = st.lists(st.integers(0, 400), max_size=6)


@given(REQUESTS, CUTS)
@example([[b"SET", b"k", b"a\r\n*"]], [])
@example([[b"SET", b"k", b"$*%"], [b"GET", b"k"]], [5, 21])
@settings(max_examples=200, deadline=None)
def test_requests_come_out_as_they_went_in_however_they_are_cut(requests: list[list[bytes]], cuts: list[int]) -> None:
    stream = b"".join(array(*request) for request in requests)
    assert parsed(*cut_up(stream, cuts)) == (requests, None)


def test_an_empty_argument_is_waited_for_to_its_last_byte() -> None:
    parser = RequestParser()
    assert [parser.feed(piece) for piece in (b"*2\r\n$3\r\nGET\r\n$0\r\n", b"\r", b"\n")] == [[], [], [[b"GET", b""]]]


def test_a_good_pipeline_goes_through_hiredis() -> None:
    stream = array(b"SET", b"key:1", b"value") * 64
    with mock.patch.object(RequestParser, "_argument", side_effect=AssertionError):
        requests, _ = parsed(stream + stream[:3], stream[3:])
    assert requests == [[b"SET", b"key:1", b"value"]] * 128


@pytest.mark.interpreted
def test_many_arguments_are_taken_in_one_go() -> None:
    request = [b"x" * length for length in (*range(1001), 0, 5000, 3)]
    stream = array(*request)
    with mock.patch.object(RequestParser, "_argument", autospec=True, side_effect=RequestParser._argument) as exact:
        assert parsed(stream, stream) == ([request] * 2, None)
        assert exact.call_count == 2 * 3 * 2  # header and body of the two long ones and of the last, twice
    assert parsed(*(stream[start : start + 999] for start in range(0, len(stream), 999))) == ([request], None)


NOISE = st.lists(
    st.sampled_from(
        [b"*1\r\n", b"*2\r\n", b"$1\r\na\r\n", b"$3\r\n", b"GET\r\n", *map(bytes, zip(b"*$+-:_,#!=(%~>|0129\r\na"))]
    ),
    max_size=14,
).map(b"".join)


@given(NOISE, CUTS)
@example(b"*2\r\n$1\r\na\r\n*1\r\n$1\r\na\r\n", [])
@example(b"*1\r\n+a\r\n", [])
@example(b"*1\r\n$1\r\na\r\n=10\r\n", [])
@example(b"*1\r\n:1\r\n*1\r\n$1\r\na\r\n", [])
@example(b"*1\r\n$1\r\na\r\n:0\r\n", [])
@example(b"*1\r\n$1\r\na\r\n,0\r\n", [])
@example(b"*2\r\n$1\r\n$\r\n+a\r\n", [])
@example(b"*2\r\n$1\r\na\r\n+$1\r\n", [])
@example(b"*2\r\n$2\r\n$$\r\n=7\r\ntxt:abc\r\n", [])
@example(b"*2\r\n$1\r\n$\r\n(12\r\n", [])
@example(b"*1\r\n$2\r\n*1\r\n+\r\n", [])
@settings(max_examples=300, deadline=None)
def test_the_fast_way_takes_nothing_that_the_exact_one_refuses(stream: bytes, cuts: list[int]) -> None:
    with (
        mock.patch.object(RequestParser, "_whole", lambda self, data, requests: data),
        mock.patch.object(RequestParser, "_short_arguments", lambda self, data, at: at),
    ):
        expected = parsed(stream)
    assert parsed(stream) == expected
    assert parsed(*cut_up(stream, cuts)) == expected


PING = array(b"PING")
MALFORMED = [
    (b"*1\r\n:1\r\n", b"expected '$', got ':'"),
    (b"*1\r\n+PING\r\n", b"expected '$', got '+'"),
    (b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\na\r\n", b"expected '$', got '*'"),
    (b"*1\r\n_\r\n", b"expected '$', got '_'"),
    (b"*1\r\n%1\r\n", b"expected '$', got '%'"),
    (b"*1\r\n$-1\r\n", b"invalid bulk length"),
    (b"*1\r\n$abc\r\n", b"invalid bulk length"),
    (b"*1\r\n$01\r\n", b"invalid bulk length"),
    (b"*1\r\n$%d\r\n" % (MAX_COMMAND_BYTES + 1), b"invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", b"invalid bulk length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (MAX_COMMAND_BYTES - 3), b"invalid bulk length"),
    (b"*1048577\r\n", b"invalid multibulk length"),
    (b"*2000000000\r\n", b"invalid multibulk length"),
    (b"*abc\r\n", b"invalid multibulk length"),
    (b"*\r\n", b"invalid multibulk length"),
    (b'SET "a\r\n', b"unbalanced quotes in request"),
    (b"SET 'a'b\r\n", b"unbalanced quotes in request"),
]


@pytest.mark.parametrize(("stream", "error"), MALFORMED, ids=[repr(stream[:24]) for stream, _ in MALFORMED])
def test_malformed_input_is_named_and_ends_the_stream(stream: bytes, error: bytes) -> None:
    assert parsed(PING + stream + PING, PING) == ([[b"PING"]], error)
    assert parsed(PING, stream, PING) == ([[b"PING"]], error)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"*" + b"1" * 70_000, b"too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70_000, b"too big bulk count string"),
        (b"a" * 70_000, b"too big inline request"),
    ],
)
def test_a_line_without_end_is_given_up(stream: bytes, error: bytes) -> None:
    assert parsed(PING + stream) == ([[b"PING"]], error)
    assert parsed(PING, *(stream[start : start + 1000] for start in range(0, 70_001, 1000))) == ([[b"PING"]], error)


@pytest.mark.parametrize("stream", [b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b"   \r\n"])
def test_empty_requests_are_passed_over(stream: bytes) -> None:
    assert parsed(PING + stream + PING) == ([[b"PING"], [b"PING"]], None)
    assert parsed(stream, PING) == ([[b"PING"]], None)


def test_the_largest_command_and_most_arguments_are_taken() -> None:
    value = b"x" * (MAX_COMMAND_BYTES - 4)
    stream = array(b"SET", b"k", value)
    pieces = [stream[start : start + 65_536] for start in range(0, len(stream), 65_536)]
    assert parsed(*pieces) == ([[b"SET", b"k", value]], None)
    assert parsed(array(*[b"x" * 512] * 16_385)) == ([], b"invalid bulk length")
    many = [b"DEL", *[b"k"] * (1024 * 1024 - 1)]
    stream = array(*many)
    assert parsed(*(stream[start : start + 65_536] for start in range(0, len(stream), 65_536))) == ([many], None)


def test_announced_sizes_reserve_no_memory() -> None:
    parser = RequestParser()
    tracemalloc.start()
    parser.feed(b"*1048576\r\n$4\r\nPING\r\n$8388604\r\nx")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert parser.error is None and peak_bytes < 100_000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"PING", [b"PING"]),
        (b"  SET  k\tv ", [b"SET", b"k", b"v"]),
        (b'SET k "a b"', [b"SET", b"k", b"a b"]),
        (b"SET k 'a b'", [b"SET", b"k", b"a b"]),
        (rb'SET k "\x41\n\"\q"', [b"SET", b"k", b'A\n"q']),
        (rb"SET k 'it\'s \n'", [b"SET", b"k", rb"it's \n"]),
        (b'SET k ""', [b"SET", b"k", b""]),
        (b'a"b c"', [b"ab c"]),
        (b'"', None),
        (b'"a"b', None),
        (b"'a", None),
        (b"", []),
    ],
)
def test_inline_words(line: bytes, words: list[bytes] | None) -> None:
    assert inline.split(line) == words


def test_inline_and_arrays_mix_at_request_boundaries() -> None:
    stream = b"PING\r\n" + array(b"GET", b"k") + b"SET k v\n" + array(b"GET", b"k")
    assert parsed(stream) == ([[b"PING"], [b"GET", b"k"], [b"SET", b"k", b"v"], [b"GET", b"k"]], None)
    assert parsed(*(bytes([byte]) for byte in stream)) == parsed(stream)
