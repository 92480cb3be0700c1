"""Raft's own promises, checked across all replicas whenever one of them has moved, and only as far as it moved.

The promises are those of :mod:`oarlock.core.invariants`; a core checks what it can see by itself. Here are those over
several replicas and over the lives of one.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from oarlock.core.invariants import (
    COMMIT_IS_MONOTONIC,
    LOG_MATCHING,
    ONE_LEADERSHIP_PER_TERM,
    STATE_MACHINE_SAFETY,
    TERM_IS_MONOTONIC,
    Invariant,
)
from oarlock.core.raft import Raft
from oarlock.core.roles import Leader
from oarlock.errors import InvariantViolated
from oarlock.testing.simulation.host import Host
from oarlock.types import Entry, Index, ReplicaId, Term

LEADER_COMPLETENESS = Invariant(
    "LEADER_COMPLETENESS",
    "a leader holds every entry that was committed in terms before its own (paper, 5.4.3)",
    lambda held, committed: held == committed,
)


class _Seen(msgspec.Struct):
    """What was last seen of one life of a replica."""

    life: int
    term: Term = Term(0)
    commit: Index = Index(0)
    epoch: int = -1
    last_index: Index = Index(0)
    leads: Term = Term(0)


class Safety:
    """Watches every core of the cluster."""

    def __init__(self) -> None:
        self.leaderships: dict[Term, tuple[ReplicaId, int]] = {}
        """Who led a term, and in which life."""
        self.committed: list[Term] = [Term(0)]
        """The term of each committed entry, by index."""
        self._contents: dict[tuple[Index, Term], tuple[Term | None, int]] = {}
        """Of each entry that stood in any log: the term of the one before it, and a checksum of itself."""
        self._seen: dict[ReplicaId, _Seen] = {}

    def stepped(self, host: Host) -> None:
        """Look at what is new.

        :raises InvariantViolated: naming the promise that was broken.
        """
        assert host.node is not None
        raft = host.node._raft
        log = raft.log
        seen = self._seen.get(raft.id)
        if seen is None or seen.life != host.lives:
            seen = self._seen[raft.id] = _Seen(host.lives)
        if raft.term != seen.term:
            TERM_IS_MONOTONIC.require(seen.term, raft.term)
            seen.term = raft.term
        if log.last_index != seen.last_index or log.epoch != seen.epoch:
            # A truncation may have replaced what was looked at already, but nothing that is committed.
            first = seen.last_index + 1 if log.epoch == seen.epoch else seen.commit + 1
            self._look_at_base(raft)
            self._look_at_entries(raft, max(first, log.base_index + 1))
            seen.last_index, seen.epoch = log.last_index, log.epoch
        if raft.commit_index != seen.commit:
            COMMIT_IS_MONOTONIC.require(seen.commit, raft.commit_index)
            self._look_at_commits(raft, Index(seen.commit + 1))
            seen.commit = raft.commit_index
        if isinstance(raft.role, Leader) and seen.leads != raft.term:
            seen.leads = raft.term
            self._look_at_leader(raft, host.lives)

    def _look_at_base(self, raft: Raft) -> None:
        """A log begins after something that is committed."""
        base_index, base_term = raft.log.base_index, raft.log.base_term
        if base_index >= len(self.committed) or self.committed[base_index] != base_term:
            raise InvariantViolated(
                f"{STATE_MACHINE_SAFETY.name}: {STATE_MACHINE_SAFETY.statement} (the log of replica {raft.id} begins "
                f"after index {base_index} of term {base_term}, which is not committed)"
            )

    def _look_at_entries(self, raft: Raft, first: int) -> None:
        log = raft.log
        before = log.term_at(Index(first - 1))
        for entry in log.between(first, log.last_index):
            content = (before, _checksum(entry))
            known = self._contents.setdefault((entry.index, entry.term), content)
            if known != content:
                raise InvariantViolated(
                    f"{LOG_MATCHING.name}: {LOG_MATCHING.statement} (replica {raft.id} at index {entry.index}, term "
                    f"{entry.term})"
                )
            before = entry.term

    def _look_at_commits(self, raft: Raft, first: Index) -> None:
        committed = self.committed
        # What a snapshot stands in for was committed by whoever took it.
        for index in range(max(first, raft.log.base_index + 1), raft.commit_index + 1):
            term = raft.log.term_at(Index(index))
            assert term is not None
            if index < len(committed):
                if committed[index] != term:
                    raise InvariantViolated(
                        f"{STATE_MACHINE_SAFETY.name}: {STATE_MACHINE_SAFETY.statement} (replica {raft.id} committed "
                        f"index {index} of term {term}, another that of term {committed[index]})"
                    )
            else:
                committed.append(term)

    def _look_at_leader(self, raft: Raft, life: int) -> None:
        if self.leaderships.setdefault(raft.term, (raft.id, life)) != (raft.id, life):
            raise InvariantViolated(
                f"{ONE_LEADERSHIP_PER_TERM.name}: {ONE_LEADERSHIP_PER_TERM.statement} (replica {raft.id} leads term "
                f"{raft.term} in its life {life}; seen before: {self.leaderships[raft.term]})"
            )
        # Logs match (see above), so holding the last of what was committed is holding all of it.
        last = len(self.committed) - 1
        while self.committed[last] >= raft.term:
            last -= 1
        if last > raft.log.base_index:  # what lies below is committed (see above)
            LEADER_COMPLETENESS.require(raft.log.term_at(Index(last)), self.committed[last])


def _checksum(entry: Entry) -> int:
    return crc32(entry.payload, (entry.kind << 30 ^ entry.time_ms) & 0xFFFFFFFF)
