"""What a core wants done: ordered obligations, taken once a turn. The order is in the types.

1. Send ``messages`` at any time.
2. Make ``persist`` durable, strictly after every earlier persist; then call ``Raft.persisted(persist.mark)``, and
   only then send ``messages_after_persist``.
3. Replace the state by the snapshot at ``restore``, as a whole; then call ``Raft.applied`` with its index. Until then
   nothing more is handed out to be applied.
4. Apply ``committed`` in order; then call ``Raft.applied``.
5. Tell the readers in ``reads``: a confirmed one may answer once its index is applied.
6. Dial the replicas in ``probes`` at once, and report through ``Raft.peer_unreachable`` if one's process is gone.
7. Begin to ``fetch`` a snapshot, unless it is on its way; when it is durable, call ``Raft.install``.
"""

from typing import Any

import msgspec

from oarlock.core.messages import CoreMessage
from oarlock.errors import NotExecuted
from oarlock.types import Entry, Index, ReplicaId, SnapshotPoint, Term


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What one persist makes durable; handed back through ``Raft.persisted`` once it is.

    ``epoch`` tells apart two entries that stood at the same place before and after a truncation: the completion of
    an fsync from before a truncation says nothing of what was written after it, even at an equal (index, term).
    """

    epoch: int
    index: Index
    term: Term
    """The current term that became durable, not the last entry's."""
    vote: int


class Persist(msgspec.Struct, frozen=True):
    """The current term and vote, and entries that overwrite the log from the first one's index on."""

    term: Term
    vote: ReplicaId
    entries: tuple[Entry, ...]
    mark: Mark
    base: tuple[Index, Term] | None = None
    """If not None, the log so far is replaced by one that begins after this (index, term)."""


class Fetch(msgspec.Struct, frozen=True):
    """A snapshot that this replica needs, and who has it. Asked for again and again while it is missing."""

    leader: ReplicaId
    index: Index
    term: Term
    """Of the entry at ``index``."""


class ReadConfirmed(msgspec.Struct, frozen=True):
    """The leader still led after the request came; answer it once ``index`` is applied."""

    request: Any
    index: Index
    time_ms: int
    """The leader's log time when a majority confirmed it."""


class ReadRefused(msgspec.Struct, frozen=True):
    """Nothing was read, and ``error`` says why. Trying again is always safe."""

    request: Any
    error: NotExecuted


class Ready(msgspec.Struct, frozen=True):
    """One turn's obligations; see the module's comment for their order."""

    messages: list[tuple[ReplicaId, CoreMessage]]
    persist: Persist | None
    messages_after_persist: list[tuple[ReplicaId, CoreMessage]]
    """Never without a ``persist``."""
    committed: list[Entry]
    reads: list[ReadConfirmed | ReadRefused]
    probes: list[ReplicaId]
    fetch: Fetch | None = None
    restore: SnapshotPoint | None = None
    """A snapshot that was installed, and is durable here."""
