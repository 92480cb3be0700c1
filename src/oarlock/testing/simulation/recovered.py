"""What a replica had synced is there in its next life, or there is none: checked where a life begins, by what the one
before it knew. It may refuse to start on a damaged disk; it may not start without what stood there.

It is looked at as storage itself counts it, because a vote or an entry that is forgotten does its harm much later, and
only if others happen to be forgetful, too.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from oarlock.core.invariants import Invariant
from oarlock.testing.simulation.host import Host
from oarlock.types import Index, ReplicaId, Term


class Durable(NamedTuple):
    """What stands on a replica's disk for sure."""

    term: Term
    vote: ReplicaId
    last_index: Index
    last_term: Term
    base_index: Index
    """What lies up to here is in a snapshot, which is durable."""


def _is_recovered(durable: Durable, found: Durable, idle: bool) -> bool:
    # A write that was under way may be there or not, and may replace entries.
    votes = found.term > durable.term or (found.term == durable.term and durable.vote in (0, found.vote))
    if not idle:
        return votes
    # A snapshot may hold what was applied before it was in this replica's own log; the log then begins after it.
    overtaken = durable.last_index < found.last_index == found.base_index
    return votes if overtaken else found[:4] == durable[:4]


DURABLE_IS_RECOVERED = Invariant(
    "DURABLE_IS_RECOVERED", "a replica starts with the term, the vote and the log that it had synced", _is_recovered
)


class _Life(msgspec.Struct, frozen=True):
    number: int
    durable: Durable
    idle: bool


class Recovered:
    """Watches the logs on all disks."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}

    def forget(self, host: Host) -> None:
        """Its disk has been replaced by an empty one."""
        self._lives.pop(host.id, None)

    def stepped(self, host: Host) -> None:
        """Look at what is durable now.

        :raises InvariantViolated: a life began without what the one before it had synced.
        """
        assert host.node is not None
        wal = host.node._wal
        durable = Durable(wal._term, wal._vote, wal._last_index, wal._last_term, host.node._raft.log.base_index)
        before = self._lives.get(host.id)
        if before is not None and before.number != host.lives:
            DURABLE_IS_RECOVERED.require(before.durable, durable, before.idle)
        self._lives[host.id] = _Life(host.lives, durable, not wal._appending and wal._failure is None)
