"""What replicas say to each other beside the core's messages: handshake, forwarded writes, read requests."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from oarlock.core.messages import CoreMessage, InstallSnapshot
from oarlock.types import Boot, Index, ReplicaId, Slice, Term

PROTOCOL_VERSION = 2
"""Newest version of the wire protocol that this program speaks."""
OLDEST_PROTOCOL_VERSION = 1
"""Oldest version that this program still speaks."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=32):
    """First frame of either side of a link: who I am and what I durably know."""

    oldest_version: int
    newest_version: int
    cluster_id: str
    replica: ReplicaId
    incarnation: int
    boot: Boot
    nonce: int
    """Random number of this process."""
    durable_term: Term
    last_term: Term
    last_index: Index
    redis_address: str
    http_address: str
    raft_address: str = ""
    """Where this replica can be dialled. Empty from one that speaks version 1."""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=33):
    """Answer to a Hello that is not accepted; the link closes after it."""

    code: str
    """``cluster``, ``version``, ``replica``, ``incarnation``, ``past``, ``removed`` or ``busy``."""
    text: str
    """A sentence for the operator of the refused side."""


class ForwardSlice(msgspec.Struct, frozen=True, array_like=True, tag=34):
    """Follower to leader of ``term``: append this slice. Never dropped while the link lives."""

    term: Term
    slice: Slice


class SliceExpected(msgspec.Struct, frozen=True, array_like=True, tag=35):
    """Leader of ``term`` to origin: the next number I take of your stream is ``number``; send again from there."""

    term: Term
    boot: Boot
    number: int


class ReadRequest(msgspec.Struct, frozen=True, array_like=True, tag=36):
    """Follower to leader: confirm your authority and tell me the index my reads must have applied."""

    boot: Boot
    number: int
    """Fresh for every request, so that a late answer is never taken for another's."""


class ReadReply(msgspec.Struct, frozen=True, array_like=True, tag=37):
    """Answer to a ReadRequest of that boot and number; ``index`` is None when the read was refused."""

    boot: Boot
    number: int
    index: Index | None
    time_ms: int
    """The leader's log time when the read was confirmed."""


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag=38):
    """Follower to leader: send ``size`` bytes from ``offset`` of your snapshot of that index and term."""

    index: Index
    term: Term
    offset: int
    size: int


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, tag=39):
    """Answer to a SnapshotRequest: bytes of the snapshot's file, which is ``total_bytes`` long."""

    index: Index
    term: Term
    total_bytes: int
    offset: int
    data: bytes


class SnapshotGone(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Answer to a SnapshotRequest: I do not have that snapshot, or not any more."""

    index: Index
    term: Term


NodeMessage: TypeAlias = (
    ForwardSlice | SliceExpected | ReadRequest | ReadReply | SnapshotRequest | SnapshotChunk | SnapshotGone
)
PeerMessage: TypeAlias = CoreMessage | NodeMessage
"""All that a frame of an established link may hold."""

SINCE_VERSION: dict[type, int] = {InstallSnapshot: 2, SnapshotRequest: 2, SnapshotChunk: 2, SnapshotGone: 2}
"""The protocol version that brought a message; those that are not here were there from the first."""


def spoken(messages: Sequence[PeerMessage], version: int) -> list[PeerMessage]:
    """Those of the messages that one who speaks this version understands. For it the others never existed."""
    return [message for message in messages if SINCE_VERSION.get(type(message), version) <= version]
