"""What a core tells of itself."""

import msgspec

from oarlock.types import Index, ReplicaId, Term


class CoreStatus(msgspec.Struct, frozen=True):
    """A snapshot of a core."""

    replica: ReplicaId
    role: str
    """``leader``, ``candidate`` (also while asking for pre-votes), ``follower``, or ``learner``."""
    term: Term
    leader: ReplicaId
    """0 while unknown."""
    commit_index: Index
    applied_index: Index
    last_index: Index
    durable_index: Index
    voters: tuple[ReplicaId, ...]
    sentinel_committed: bool
    """On a leader: whether this term's first entry is committed, and so reads can be verified."""
