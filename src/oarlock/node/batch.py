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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, tuple[Slice, ...]]).decode
"""The version, and the slices in the order in which they are applied."""


def encode_batch(slices: Sequence[Slice]) -> bytes:
    """One call for the whole batch."""
    return _encode((BATCH_VERSION, slices))


def decode_batch(payload: bytes) -> tuple[Slice, ...]:
    """The slices of a batch.

    :raises ReplicaFailed: if a newer version wrote it. Skipping it would let the replicas' states part.
    """
    try:
        version, slices = _decode(payload)
    except (ValueError, RecursionError) as error:
        raise ReplicaFailed(f"an entry of the log cannot be understood by this version: {error}", error) from error
    if version != BATCH_VERSION:
        raise ReplicaFailed(f"an entry of the log has batch version {version}; this program knows {BATCH_VERSION}")
    return slices
