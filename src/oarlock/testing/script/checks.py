"""What must hold of a whole cluster after every step, seen from outside, with a memory that no crash erases.

The majorities here are counted naively and on purpose not by ``quorum.py``: a mistake there must not hide itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from oarlock.core import invariants
from oarlock.core.messages import AppendAck, CoreMessage, RequestVote, RequestVoteReply
from oarlock.core.roles import Leader
from oarlock.types import Configuration, Entry, EntryKind, Index, ReplicaId, SnapshotPoint, Term

if TYPE_CHECKING:
    from collections.abc import Callable

    from oarlock.testing.script.cluster import Cluster
    from oarlock.testing.script.replica import Read, Replica


def is_quorum(configuration: Configuration, agrees: Callable[[ReplicaId], bool]) -> bool:
    """More than half of the voters agree; in a joint configuration, of both halves."""
    halves = [configuration.voters, *([configuration.outgoing] if configuration.outgoing else [])]
    return all(2 * sum(map(agrees, half)) > len(half) for half in halves)


class Checks:
    """Remembers every leader, vote and committed entry there ever was, and holds the cluster to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.leaderships: dict[Term, Leader] = {}
        self.leaders: set[tuple[Term, ReplicaId]] = set()
        self.votes: dict[tuple[ReplicaId, int, Term], ReplicaId] = {}
        """By voter, its incarnation, and the term."""
        self.committed: list[Entry] = []
        """Every entry that any replica ever took for committed."""
        self._committed_in: list[Term] = []
        """Of each, the term in which that was: a candidate of an earlier term may yet win, by votes that were late."""
        self.terms: dict[ReplicaId, Term] = {}
        self._complete: set[Term] = set()
        self._seen: dict[ReplicaId, tuple[object, ...]] = {}
        self._commits: dict[ReplicaId, Index] = {}
        self._in_force: dict[ReplicaId, Configuration] = {}
        """At the end of each replica's last turn: what a leader counts by before it appends another."""

    def commit_known_anywhere(self) -> int:
        return len(self.committed)

    def restarted(self, replica: Replica) -> None:
        """Its commit index and its undurable log are gone; its durable term and vote are not."""
        self._seen.pop(replica.id, None)
        self._commits[replica.id] = Index(0)
        self._in_force[replica.id] = replica.raft.configuration
        self.terms[replica.id] = replica.disk.term

    def sent(self, sender: ReplicaId, receiver: ReplicaId, message: CoreMessage) -> None:
        """A message left: what it promises must be durable, and must not contradict an earlier promise."""
        disk = self.cluster[sender].disk
        match message:
            case RequestVoteReply(granted=True):
                self._voted(sender, message.term, receiver)
            case RequestVote():
                self._voted(sender, message.term, sender)
            case AppendAck(match=match) if match:
                assert disk.term >= message.term, f"{sender} acknowledged in a term that is not durable"
                log = self.cluster[sender].raft.log
                entries = [*self.committed[: min(match, log.base_index)], *log.between(log.base_index + 1, match)]
                assert match <= disk.last_index and all(map(disk.holds, entries)), (
                    f"{sender} acknowledged up to {match}, which is not all durable"
                )

    def snapshot_taken(self, replica: Replica, point: SnapshotPoint) -> None:
        """``replica`` takes one of its state: it must say truly where that stands."""
        last = replica.applied[-1] if replica.applied else None
        truth = (last.index, last.term, last.time_ms) if last else (0, 0, 0)
        assert (point.index, point.term, point.time_ms) == truth, f"a snapshot of {truth} says {point}"
        assert point.configuration in self._configurations(replica, replica.applied), f"not in force there: {point}"

    def stepped(self, replica: Replica) -> None:
        """``replica`` has taken a turn: check it against everyone and everything before."""
        raft = replica.raft
        before = self.terms.get(replica.id, Term(0))
        invariants.TERM_IS_MONOTONIC.require(before, raft.term)
        self.terms[replica.id] = raft.term
        if isinstance(raft.role, Leader):
            self._leads(replica, raft.role)
        assert raft.applied_index == len(replica.applied), "applied index and state move together"
        state = (raft.log.epoch, raft.log.base_index, raft.log.last_index, raft.log.last_term, raft.commit_index)
        if self._seen.get(replica.id) != state:
            self._seen[replica.id] = state
            self._commit_advanced(replica)
            self._look_at_configuration(replica)
            for other in self.cluster.running():
                if other is not replica:
                    mine, theirs = raft.log, other.raft.log
                    invariants.LOG_MATCHING.require(mine, theirs)
                    invariants.STATE_MACHINE_SAFETY.require(mine, raft.commit_index, theirs, other.raft.commit_index)
        self._in_force[replica.id] = raft.configuration

    def read_confirmed(self, read: Read, index: Index) -> None:
        assert read.outcome is None, "a read ended twice"
        assert index >= read.floor, (
            f"a read at {read.replica} was confirmed at {index}, but {read.floor} was committed before it began"
        )

    def _voted(self, voter: ReplicaId, term: Term, candidate: ReplicaId) -> None:
        disk, incarnation = self.cluster[voter].disk, self.cluster[voter].incarnation
        assert disk.term > term or (disk.term, disk.vote) == (term, candidate), (
            f"{voter}'s vote for {candidate} in term {term} left before it was durable"
        )
        invariants.ONE_VOTE_PER_TERM.require(self.votes.setdefault((voter, incarnation, term), candidate), candidate)

    def _leads(self, replica: Replica, leader: Leader) -> None:
        term = replica.raft.term
        known = self.leaderships.setdefault(term, leader)
        self.leaders.add((term, replica.id))
        assert invariants.one_leader_per_term(sorted(self.leaders)), f"two leaders in term {term}"
        assert known is leader, f"{replica.id} leads term {term} a second time"
        if term not in self._complete:
            self._complete.add(term)
            below = replica.raft.log.base_index
            for entry, committed_in in zip(self.committed[below:], self._committed_in[below:], strict=True):
                held = entry.index <= replica.raft.log.last_index and replica.raft.log.term_at(entry.index)
                assert held == entry.term or committed_in >= term, (
                    f"leader {replica.id} of term {term} lacks committed entry {entry}"
                )

    def _commit_advanced(self, replica: Replica) -> None:
        raft = replica.raft
        base = raft.log.base_index
        assert base <= len(self.committed), f"{replica.id} dropped what is not committed"
        assert not base or raft.log.base_term == self.committed[base - 1].term, f"{replica.id} has a false base"
        before = self._commits.get(replica.id, Index(0))
        invariants.COMMIT_IS_MONOTONIC.require(before, raft.commit_index)
        self._commits[replica.id] = raft.commit_index
        for entry in raft.log.between(before + 1, raft.commit_index):
            if entry.index > len(self.committed):
                self.committed.append(entry)
                self._committed_in.append(raft.term)
                holders = [other.id for other in self.cluster.replicas.values() if other.disk.holds(entry)]
                assert is_quorum(self._in_force[replica.id], holders.__contains__), (
                    f"{replica.id} took {entry} for committed, but no majority holds it durably"
                )
            known = self.committed[entry.index - 1]
            assert known == entry, f"{replica.id} committed {entry} where {known} was committed before"

    def _look_at_configuration(self, replica: Replica) -> None:
        """The last configuration of the log counts, also if its entry is only in a snapshot any more."""
        log = replica.raft.log
        entries = [*self.committed[: log.base_index], *log.between(log.base_index + 1, log.last_index)]
        expected = self._configurations(replica, entries)
        actual = replica.raft.configuration
        assert actual in expected, f"{replica.id} goes by {actual}, but {expected[0]} is in force in its log"

    def _configurations(self, replica: Replica, entries: list[Entry]) -> list[Configuration]:
        """The one that these entries put in force. If there is none, who joined later goes by the one it was told then,
        or by the cluster's first."""
        payloads = [entry.payload for entry in entries if entry.kind == EntryKind.CONFIGURATION]
        if payloads:
            return [msgspec.msgpack.decode(payloads[-1], type=Configuration)]
        return [replica.disk.configuration, self.cluster.configuration]
