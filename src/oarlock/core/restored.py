"""What a core starts from."""

from collections.abc import Sequence

import msgspec

from oarlock.types import Configuration, Entry, Index, ReplicaId, SnapshotPoint, Term


class Restored(msgspec.Struct, frozen=True):
    """What a replica's disk holds when it starts."""

    term: Term
    vote: ReplicaId
    configuration: Configuration
    """In force at the log's base, if there is no snapshot."""
    base_index: Index = Index(0)
    base_term: Term = Term(0)
    entries: Sequence[Entry] = ()
    base_time_ms: int = 0
    snapshot: SnapshotPoint | None = None
    """The newest that is on the disk, which the state machine has been restored from. The log may begin before it."""
