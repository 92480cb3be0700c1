"""What is committed is on the disks of a majority: checked the moment it is committed, at all of them.

A commit without that is found out by clients only if a leader is elected that lacks the entry, which takes several
more failures in the right places.
"""

from __future__ import annotations

from collections.abc import Sequence

from oarlock.core.invariants import Invariant
from oarlock.core.raft import Raft
from oarlock.testing.simulation.host import Host
from oarlock.types import Index, Term

COMMITTED_IS_DURABLE = Invariant(
    "COMMITTED_IS_DURABLE",
    "an entry is committed once more than half of the voters have it on disk",
    lambda index, term, holders, voters: 2 * holders > voters,
)


class Committed:
    """Watches what each replica has on disk, dead ones included, and each first commit."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._durable: dict[int, list[Term]] = {host.id: [Term(0)] for host in hosts}
        """By replica: the term of each entry that has been synced, by index."""
        self._epochs: dict[int, tuple[int, int]] = {}
        """By replica: the life and the epoch of its log when it was looked at last."""
        self._looked: dict[int, int] = {}
        """By replica: up to where its log was looked at in that epoch."""
        self._commit = Index(0)

    def stepped(self, host: Host) -> None:
        """Look at a replica that has moved.

        :raises InvariantViolated: it has committed what is not durable.
        """
        assert host.node is not None
        raft = host.node._raft
        self._look_at_disk(host, raft)
        if raft.commit_index > self._commit:
            self._look_at_commits(raft)

    def _look_at_disk(self, host: Host, raft: Raft) -> None:
        assert host.node is not None
        log, durable = raft.log, self._durable[host.id]
        # What storage has synced, not what the core takes for synced. An entry that the core has replaced and not yet
        # synced is beyond what it takes for synced.
        last = min(log.durable_index, host.node._wal._last_index)
        epoch = (host.lives, log.epoch)
        if self._epochs.get(host.id) != epoch:
            self._epochs[host.id] = epoch
            # A damaged disk may have lost what its replica had promised; that it had it still counts.
            kept = max(last, len(durable) - 1) if host.damaged else last
            del durable[kept + 1 :]
            self._looked[host.id] = 0
        for index in range(self._looked[host.id] + 1, last + 1):
            durable[index : index + 1] = [_term(raft, index)]  # in place of what stood there before, or at the end
        self._looked[host.id] = last

    def _look_at_commits(self, raft: Raft) -> None:
        for index in range(self._commit + 1, raft.commit_index + 1):
            term = _term(raft, index)
            holders = sum(len(terms) > index and terms[index] == term for terms in self._durable.values())
            COMMITTED_IS_DURABLE.require(index, term, holders, len(self._durable))
        self._commit = raft.commit_index


def _term(raft: Raft, index: int) -> Term:
    term = raft.log.term_at(Index(index))
    assert term is not None, "nothing is cut off at the front"
    return term
