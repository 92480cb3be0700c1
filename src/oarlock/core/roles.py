"""State by role. A role object is made on entering the role and dropped on leaving it, so that nothing of a
leadership (beats, tokens, match indexes) can outlive its term, and nothing of a candidacy its election."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

import msgspec

from oarlock.core.progress import Progress
from oarlock.types import NO_REPLICA, Beat, Configuration, Index, ReplicaId

NEVER = float("inf")


class Follower:
    """Follows ``leader``, or waits for one."""

    def __init__(self, leader: ReplicaId, election_deadline: float) -> None:
        self.leader = leader
        self.election_deadline = election_deadline
        self.heard_at = -NEVER
        """When this leader's last AppendEntries was accepted: the start of stickiness."""
        self.leader_dead = False
        """The leader's process is known to be gone: no stickiness until it is heard again."""
        self.beat = Beat(0)
        """Highest beat handled of this leader."""
        self.matched = Index(0)
        """How far this log is proved equal to this leader's. Bounds the commit index and acknowledgements."""
        self.acked = Index(0)
        self.echoed = Beat(0)
        """What was last acknowledged and echoed."""
        self.ack_owed = False


class PreCandidate:
    """Asks whether an election could be won, changing no term (thesis, section 9.6)."""

    def __init__(self, deadline: float, *, leader_dead: bool, retries: int) -> None:
        self.deadline = deadline
        self.votes: dict[ReplicaId, bool] = {}
        self.leader_dead = leader_dead
        """This pre-vote was started because the leader's process is gone."""
        self.retries = retries
        """Quick retries left (fast failover)."""


class Candidate:
    """Stands for election in the current term. Its own vote counts once it is durable."""

    def __init__(self, deadline: float, *, transfer: bool, retries: int) -> None:
        self.deadline = deadline
        self.votes: dict[ReplicaId, bool] = {}
        self.incarnations: dict[ReplicaId, int] = {}
        """As the granted votes named them; the first leader of a cluster fixes them in the first entry."""
        self.transfer = transfer
        self.retries = retries
        """As of the pre-vote before it (fast failover)."""


class ReadToken(msgspec.Struct):
    """One waiting ``verify_authority``: released once a majority has echoed ``beat`` or a later one."""

    request: Any
    peer: ReplicaId
    """Who asked for it; 0 for a reader at this replica."""
    beat: Beat
    index: Index
    deadline: float


class Transfer(msgspec.Struct):
    """A hand-over under way (thesis, section 3.10)."""

    target: ReplicaId
    deadline: float
    sent: bool = False


class Leader:
    """Leads the current term."""

    def __init__(self, peers: list[ReplicaId], sentinel: Index, now: float) -> None:
        self.sentinel = sentinel
        """Index of this term's first entry."""
        self.progress = {peer: Progress(sentinel, now) for peer in peers}
        self.uncommitted_bytes = 0
        self.heartbeat_at = now
        self.news_at = NEVER
        """When followers that do not wait for it are told the commit index, if they have not been by then."""
        self.more_to_send = False
        """The last turn left entries unsent although a follower's window was open."""

        self.beat = Beat(0)
        """The newest beat sent."""
        self.confirmed = Beat(0)
        """The newest beat that a majority has echoed."""
        self.tokens: deque[ReadToken] = deque()
        self.round_targets: list[ReplicaId] = []
        """Voters to which the present read round has yet to be sent."""
        self.asked_first: list[ReplicaId] = []
        """The voters to which a round goes first,"""
        self.asked_in: Configuration | None = None
        """chosen in this configuration; None: to be chosen again."""
        self.round_widen_at = NEVER
        self.next_token_deadline = NEVER

        self.transfer: Transfer | None = None
        self.disk_due = NEVER
        """When what its own disk has not finished by then makes it look whether it hands over (``transfer.py``)."""
        self.last_when_hung: Index | None = None
        """Where its log ended when its own disk had hung for an election timeout."""
        self.disk_overtaken = False
        """Whether a majority of the others held more than that when it looked last."""


Role: TypeAlias = Follower | PreCandidate | Candidate | Leader

__all__ = ["NEVER", "NO_REPLICA", "Candidate", "Follower", "Leader", "PreCandidate", "ReadToken", "Role", "Transfer"]
