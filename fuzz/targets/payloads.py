"""What stands inside entries: batches of commands, and transactions packed into one."""

import msgspec

from fuzz.target import Target
from oarlock.errors import ReplicaFailed
from oarlock.kv import packing
from oarlock.node.batch import decode_batch, encode_batch
from oarlock.types import Boot, ReplicaId, Slice

_SLICES = [
    Slice(ReplicaId(1), Boot(1), 1, (b"command",)),
    Slice(ReplicaId(2), Boot(7), 300, ((b"SET", b"k", b"v"), (b"DEL", b"k", b"x"), b"")),
    Slice(ReplicaId(3), Boot(1 << 40), 1 << 33, ((b"GET",), ()), ((4, 5), None)),
]


def check_batch(data: bytes) -> None:
    """A payload is a batch that says the same when it is written again, or stops the replica with the reason."""
    try:
        slices = decode_batch(data)
    except ReplicaFailed:
        return
    assert decode_batch(encode_batch(slices)) == slices


def check_packing(data: bytes) -> None:
    """The inside of a transaction is one, or no valid msgpack of its type."""
    try:
        watched = packing.watched(data)
    except msgspec.DecodeError:
        watched = []
    try:
        commands = packing.commands(data)
    except msgspec.DecodeError:
        commands = []
    _, packed_watched, packed_commands = packing.exec_command(watched, commands)
    assert (packing.watched(packed_watched), packing.commands(packed_commands)) == (watched, commands)


def _batches() -> object:
    from hypothesis import strategies as st

    return st.lists(st.sampled_from(_SLICES), max_size=4).map(encode_batch)


TARGETS = [
    Target(
        name="batch", check=check_batch, valid=_batches, max_bytes=2400,
        seeds=[encode_batch([]), encode_batch(_SLICES), *(encode_batch([piece]) for piece in _SLICES), b"\x92\x02\x90",
               b"\x93\x01\x90" + b"\x91" * 2000],
    ),
    Target(
        name="packing", check=check_packing,
        seeds=[
            part
            for exec_ in (
                packing.exec_command([], []), packing.exec_command([(b"k", 5), (b"x", -1)], [(b"SET", b"k", b"v"), ()]),
            )
            for part in exec_[1:]
        ],
    ),
]  # fmt: skip
