"""What a core wants done: ordered obligations, taken once a turn. The order is in the types.

1. Send ``messages`` at any time.
2. Make ``persist`` durable, strictly after every earlier persist; then call ``Raft.persisted(persist.mark)``, and
   only then send ``messages_after_persist``.
3. Apply ``committed`` in order; then call ``Raft.applied``.
4. Tell the readers in ``reads``: a confirmed one may answer once its index is applied.
5. Dial the replicas in ``probes`` at once, and report through ``Raft.peer_unreachable`` if one's process is gone.
"""

from typing import Any

import msgspec

from oarlock.core.log import Mark
from oarlock.core.messages import CoreMessage
from oarlock.errors import NotExecuted
from oarlock.types import Entry, Index, ReplicaId, Term


class Persist(msgspec.Struct, frozen=True):
    """The current term and vote, and entries that overwrite the log from the first one's index on."""

    term: Term
    vote: ReplicaId
    entries: tuple[Entry, ...]
    mark: Mark


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
