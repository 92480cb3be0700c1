"""What is committed is on the disks of a majority: checked the moment it is committed, at all of them.

A commit without that is found out by clients only if a leader is elected that lacks the entry, which takes several
more failures in the right places.
"""

from __future__ import annotations

from collections.abc import Sequence

from oarlock.core.invariants import Invariant
from oarlock.core.raft import Raft
from oarlock.testing.simulation.host import Host
from oarlock.types import Configuration, Index, Term

COMMITTED_IS_DURABLE = Invariant(
    "COMMITTED_IS_DURABLE",
    "an entry is committed once more than half of the voters have it on disk, of either half of a joint configuration",
    lambda index, term, holders, configurations: any(_are_quorum(holders, each) for each in configurations),
)


def _are_quorum(holders: Sequence[int], configuration: Configuration) -> bool:
    """Counted here and not by the core's own ``quorum.py``, which is among what is judged."""
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return all(2 * sum(voter in holders for voter in half) > len(half) for half in halves)


class Committed:
    """Watches what each replica has on disk, dead ones included, and each first commit."""

    def __init__(self, committed: Sequence[Term]) -> None:
        """``committed``: the term of each entry that has been, by index; grows."""
        self._committed = committed
        self._durable: dict[int, list[Term]] = {}
        """By replica: the term of each entry that has been synced, by index."""
        self._epochs: dict[int, tuple[int, int]] = {}
        """By replica: the life and the epoch of its log when it was looked at last."""
        self._looked: dict[int, int] = {}
        """By replica: up to where its log was looked at in that epoch."""
        self._configurations: dict[int, Configuration] = {}
        """By replica: the one that was in force when it was looked at last."""
        self._commit = Index(0)

    def stepped(self, host: Host) -> None:
        """Look at a replica that has moved.

        :raises InvariantViolated: it has committed what is not durable.
        """
        assert host.node is not None
        raft = host.node._raft
        self._look_at_disk(host, raft)
        if raft.commit_index > self._commit:
            self._look_at_commits(raft, self._configurations.get(host.id, raft.configuration))
        self._configurations[host.id] = raft.configuration

    def _look_at_disk(self, host: Host, raft: Raft) -> None:
        assert host.node is not None
        log, durable = raft.log, self._durable.setdefault(host.id, [Term(0)])
        # What storage has synced, not what the core takes for synced. An entry that the core has replaced and not yet
        # synced is beyond what it takes for synced.
        last = min(log.durable_index, host.node._wal._last_index)
        epoch = (host.lives, log.epoch)
        if self._epochs.get(host.id) != epoch:
            self._epochs[host.id] = epoch
            # A disk that was damaged or lost may not have what its replica had promised; that it had it still counts.
            kept = max(last, len(durable) - 1) if host.damaged or host.wiped else last
            del durable[kept + 1 :]
            self._looked[host.id] = 0
        base = log.base_index
        if base >= len(durable):  # a snapshot of another replica's stands in for the log, and is durable
            durable += self._committed[len(durable) : base + 1]
        for index in range(max(self._looked[host.id], base) + 1, last + 1):
            durable[index : index + 1] = [_term(raft, index)]  # in place of what stood there before, or at the end
        self._looked[host.id] = last

    def _look_at_commits(self, raft: Raft, before: Configuration) -> None:
        """The first to commit is a leader. Where its configuration has changed in the very step, ``before`` may have
        been the one that counted."""
        for index in range(max(self._commit, raft.log.base_index) + 1, raft.commit_index + 1):
            term = _term(raft, index)
            holders = [id for id, terms in self._durable.items() if len(terms) > index and terms[index] == term]
            COMMITTED_IS_DURABLE.require(index, term, holders, (before, raft.configuration))
        self._commit = raft.commit_index


def _term(raft: Raft, index: int) -> Term:
    term = raft.log.term_at(Index(index))
    assert term is not None, "it is not looked at below the base"
    return term
