"""What a replica says is on its disk is looked at when it says it."""

from types import SimpleNamespace
from typing import Any

import pytest

from oarlock.core.messages import AppendAck, CoreMessage, RequestVote, RequestVoteReply
from oarlock.errors import InvariantViolated
from oarlock.network.codec import encode_messages
from oarlock.testing.simulation.promises import require_durable
from oarlock.types import Beat, Index, ReplicaId, Term


def host(term: int, vote: int, last_index: int) -> Any:
    """Replica 1, with this on its disk."""
    wal = SimpleNamespace(_term=term, _vote=vote, _last_index=last_index)
    return SimpleNamespace(id=1, node=SimpleNamespace(_wal=wal))


def vote(term: int, granted: bool = True) -> CoreMessage:
    return RequestVoteReply(Term(term), granted, 1, 0)


def ask(term: int) -> CoreMessage:
    return RequestVote(Term(term), Index(0), Term(0), False)


def ack(term: int, match: int) -> CoreMessage:
    return AppendAck(Term(term), Beat(1), Index(match))


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        (host(3, 2, 0), vote(3)),
        (host(4, 0, 0), vote(3)),
        (host(2, 0, 0), vote(3, granted=False)),
        (host(3, 1, 0), ask(3)),
        (host(3, 0, 7), ack(3, 7)),
        (host(2, 0, 0), ack(3, 0)),
    ],
)
def test_what_is_durable_may_be_said(disk: Any, message: CoreMessage) -> None:
    require_durable(disk, ReplicaId(2), encode_messages([message]))


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        (host(2, 2, 0), vote(3)),
        (host(3, 0, 0), vote(3)),
        (host(3, 3, 0), vote(3)),
        (host(3, 0, 0), ask(3)),
        (host(3, 0, 6), ack(3, 7)),
        (host(2, 0, 7), ack(3, 7)),
    ],
)
def test_what_is_not_durable_may_not(disk: Any, message: CoreMessage) -> None:
    with pytest.raises(InvariantViolated, match="IS_DURABLE"):
        require_durable(disk, ReplicaId(2), encode_messages([message]))
