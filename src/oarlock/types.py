"""The vocabulary that every layer shares: ids, terms, indexes, beats, entries, configurations.

Only plain immutable values live here. Nothing in this module decides, waits, or touches the outside.
"""

from enum import IntEnum
from typing import NewType, TypeAlias

import msgspec

ReplicaId = NewType("ReplicaId", int)
"""A replica's number in its cluster, 1 or greater, chosen by the operator and never given to another."""

Term = NewType("Term", int)
"""Raft's logical clock. 0 before the first election."""

Index = NewType("Index", int)
"""Position of an entry in the log. The first entry has index 1; 0 means "before the first"."""

Beat = NewType("Beat", int)
"""Number a leader stamps on its AppendEntries. Grows within a term, restarts with each leadership."""

Boot = NewType("Boot", int)
"""How many times a replica has started. Durable before the first handshake of that start."""

FIRST_BOOTS = 1 << 32
"""Boots of one directory before those of the next under the same id: so they tell whole lives apart, in order."""

NO_REPLICA = ReplicaId(0)

MAX_ENTRY_BYTES = 16 * 1024 * 1024
"""Largest payload of one entry. A constant of the protocol, so that every entry fits every replica's frames."""

MAX_FRAME_BYTES = 32 * 1024 * 1024
"""Largest body of a network frame. Larger than the largest entry by a margin that no flag can remove."""

MAX_COMMAND_BYTES = 8 * 1024 * 1024
"""Largest single command; it fits an entry with room for the envelope."""

Command: TypeAlias = bytes | tuple[bytes, ...]
"""What a client asks the state machine to do: one byte string, or several (a name and its arguments)."""


class EntryKind(IntEnum):
    """What an entry is for. A kind that this version does not know stops the replica; it is never skipped."""

    SENTINEL = 0
    """The empty entry a leader appends on winning; once committed, all of earlier terms is too."""
    BATCH = 1
    """Slices of client commands (``oarlock.node.batch``)."""
    CONFIGURATION = 2
    """A :class:`Configuration`, in force from the moment it is appended."""
    CLOCK = 3
    """Nothing but its log time, for a state machine that waits for one."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the replicated log."""

    index: Index
    term: Term
    kind: int
    time_ms: int
    """Log time: milliseconds since the cluster began. Never goes back along the log."""
    payload: bytes


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """The commands that one replica brought to an entry, numbered per (origin, boot, term) from 1."""

    origin: ReplicaId
    boot: Boot
    first: int
    """Number of the first command; the others follow without gaps."""
    commands: tuple[Command, ...]
    sessions: tuple[tuple[int, int] | None, ...] | None = None
    """Room for a (session, sequence) per command."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One member of a cluster, as the configuration names it."""

    id: ReplicaId
    address: str
    """Where its raft port listens, ``host:port``."""
    incarnation: int = 0
    """Random number of its data directory; 0 while the cluster has not formed and it is unknown."""
    generation: int = 0
    """How often this id has rejoined with an empty directory. It stands in front of its boots (:data:`FIRST_BOOTS`). Of
    one that is to rejoin: for which of them its directory was made; 0 if that is not known."""


class Joining(msgspec.Struct, frozen=True, array_like=True):
    """A learner that becomes a voter by itself once it has caught up."""

    id: ReplicaId
    replaces: ReplicaId = NO_REPLICA
    """Who leaves in the same change; 0 for nobody."""


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """Who votes. While ``outgoing`` is not empty the configuration is joint: both majorities must agree."""

    members: tuple[Member, ...]
    voters: tuple[ReplicaId, ...]
    outgoing: tuple[ReplicaId, ...] = ()
    learners: tuple[ReplicaId, ...] = ()
    joining: tuple[Joining, ...] = ()
    """The learners that are to become voters."""
    removed: tuple[ReplicaId, ...] = ()
    """Who has left for good. An id is never given to another."""

    @property
    def formed(self) -> bool:
        """Whether the cluster has formed: every voter's incarnation is known and fixed."""
        return all(member.incarnation for member in self.members if member.id not in self.learners)

    def member(self, replica: ReplicaId) -> Member | None:
        """The member with this id, or None."""
        for member in self.members:
            if member.id == replica:
                return member
        return None

    def counts(self, replica: ReplicaId) -> bool:
        """Whether its vote or echo may count, in either half of a joint configuration."""
        return (replica in self.voters or replica in self.outgoing) and replica not in self.learners


class SnapshotPoint(msgspec.Struct, frozen=True, array_like=True):
    """Where a snapshot stands in the log: what a replica must know of everything up to there, besides the state."""

    index: Index
    term: Term
    """Of the entry at ``index``."""
    time_ms: int
    """Log time of the entry at ``index``."""
    configuration: Configuration
    """In force at ``index``."""
