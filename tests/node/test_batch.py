"""The payload of an entry: what is understood, and what stops the replica with the reason."""

import pytest

from oarlock.errors import ReplicaFailed
from oarlock.node.batch import decode_batch, encode_batch
from oarlock.types import Boot, ReplicaId, Slice

SLICE = Slice(ReplicaId(1), Boot(2), 3, (b"one", (b"SET", b"k", b"v"), ()), ((4, 5), None, None))


def test_a_batch_reads_back() -> None:
    assert decode_batch(encode_batch([SLICE, SLICE])) == (SLICE, SLICE)
    assert decode_batch(encode_batch([])) == ()


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x92\x01\x91\x90", encode_batch([SLICE])[:-1], b"\x93\x01\x90" + b"\x91" * 5000],
    ids=["empty", "no msgpack", "no slice", "cut off", "nested without end"],
)
def test_a_payload_that_is_no_batch_stops_the_replica(payload: bytes) -> None:
    with pytest.raises(ReplicaFailed, match="cannot be understood"):
        decode_batch(payload)


def test_a_batch_of_a_newer_version_stops_the_replica() -> None:
    with pytest.raises(ReplicaFailed, match="version 2"):
        decode_batch(b"\x92\x02\x90")
