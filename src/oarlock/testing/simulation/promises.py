"""What a replica says is on its disk when it says it: checked at every message that leaves for another replica.

A vote or an acknowledgement that leaves too early does harm only if its replica is killed, or loses power, before the
write that it should have waited for; and then only if the other replicas go on in one certain way.
"""

from __future__ import annotations

from oarlock.core.invariants import Invariant
from oarlock.core.messages import AppendAck, RequestVote, RequestVoteReply
from oarlock.network.codec import decode_messages
from oarlock.network.frames import FrameDecoder
from oarlock.testing.simulation.host import Host
from oarlock.types import MAX_FRAME_BYTES, ReplicaId

VOTE_IS_DURABLE = Invariant(
    "VOTE_IS_DURABLE",
    "a vote, also a candidate's own, leaves its replica once it is on disk",
    lambda term, vote, durable_term, durable_vote: (durable_term, durable_vote) == (term, vote) or durable_term > term,
)
ACKNOWLEDGED_IS_DURABLE = Invariant(
    "ACKNOWLEDGED_IS_DURABLE",
    "an acknowledgement leaves its replica once its term and the entries that it tells of are on disk",
    lambda term, match, durable_term, durable_index: durable_term >= term and durable_index >= match,
)


def require_durable(host: Host, receiver: ReplicaId, data: bytes) -> None:
    """Look at frames that leave a host for another replica.

    :raises InvariantViolated: they promise what is not durable.
    """
    if host.node is None:
        return
    wal = host.node._wal
    for body in FrameDecoder(MAX_FRAME_BYTES).feed(data):
        for message in decode_messages(body):
            match message:
                case RequestVoteReply(granted=True):
                    VOTE_IS_DURABLE.require(message.term, receiver, wal._term, wal._vote)
                case RequestVote():
                    VOTE_IS_DURABLE.require(message.term, ReplicaId(host.id), wal._term, wal._vote)
                case AppendAck() if message.match:
                    ACKNOWLEDGED_IS_DURABLE.require(message.term, message.match, wal._term, wal._last_index)
