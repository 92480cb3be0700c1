"""The payload of a BATCH entry: many commands of many clients, in slices by the replica that brought them.

Appending, encoding, fsync, replication and commit are paid once per batch; only parsing, applying and answering
once per command. The envelope is versioned: a version that this program does not know stops the replica.
"""

from collections.abc import Sequence

import msgspec

from oarlock.errors import ReplicaFailed
from oarlock.types import Slice

BATCH_VERSION = 1

BATCH_BYTES = 1024 * 1024
"""Where a batch, a slice or a group is cut; only a single larger command makes any of them larger."""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Slices in the order in which they are applied."""

    version: int
    slices: tuple[Slice, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(slices: Sequence[Slice]) -> bytes:
    """One call for the whole batch."""
    return _encoder.encode((BATCH_VERSION, slices))


def decode_batch(payload: bytes) -> tuple[Slice, ...]:
    """The slices of a batch.

    :raises ReplicaFailed: if a newer version wrote it. Skipping it would let the replicas' states part.
    """
    try:
        batch = _decoder.decode(payload)
    except (ValueError, RecursionError) as error:
        raise ReplicaFailed(f"an entry of the log cannot be understood by this version: {error}") from error
    if batch.version != BATCH_VERSION:
        raise ReplicaFailed(
            f"an entry of the log has batch version {batch.version}; this program knows {BATCH_VERSION}"
        )
    return batch.slices
