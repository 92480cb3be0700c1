"""Snapshots: which replica may forget what, and how one that needs what was forgotten catches up.

Here is decided what the core may do with a snapshot: stand it in for the beginning of the log, offer it to a follower
that the log does not reach any more, and begin anew with another's. What is in one, where it is kept and how it
travels is not known here: the core knows a ``SnapshotPoint``, and is told when it is durable. (Paper, section 7.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.core import replication
from oarlock.core.invariants import LEADER_APPEND_ONLY, SNAPSHOT_OF_APPLIED, SNAPSHOT_STANDS_IN_LOG
from oarlock.core.messages import InstallSnapshot
from oarlock.core.ready import Fetch
from oarlock.core.roles import Follower, Leader
from oarlock.types import Index, SnapshotPoint

if TYPE_CHECKING:
    from oarlock.core.progress import Progress
    from oarlock.core.raft import Raft
    from oarlock.types import ReplicaId


# ── its own ──────────────────────────────────────────────────────────────────────────────────────────────────────


def point(raft: Raft) -> SnapshotPoint:
    """Where a snapshot of the state as it is now stands."""
    assert not restoring(raft), "the state is about to be replaced"
    index = raft.applied_index
    term = raft.log.term_at(index)
    assert term is not None, "the log is not compacted past what is applied"
    return SnapshotPoint(index, term, raft.log.time_at(index), raft.configurations.at(index))


def compact(raft: Raft, point: SnapshotPoint, through: Index) -> None:
    """The snapshot at ``point`` is durable: drop the entries up to ``through``. If a newer one was installed while
    this one was being written, there is nothing to do."""
    if raft.snapshot is not None and point.index < raft.snapshot.index:
        return
    SNAPSHOT_OF_APPLIED.require(through, point.index, raft.applied_index)
    SNAPSHOT_STANDS_IN_LOG.require(raft.log.term_at(point.index), point.term)
    raft.snapshot = point
    raft.log.compact(through)
    raft.configurations.compacted(through)


def needed_after(raft: Raft, index: Index) -> Index:
    """After which index, at most ``index``, the log should stay: a follower that fetches a snapshot will need what
    follows it, or it would be sent one after another for ever. It goes on with the one that it has begun."""
    if not isinstance(raft.role, Leader):
        return index
    fetching = [progress.fetching for progress in raft.role.progress.values() if progress.behind(raft.log.base_index)]
    return min([index, *(one for one in fetching if one)])


# ── leader ───────────────────────────────────────────────────────────────────────────────────────────────────────


def offer(raft: Raft, leader: Leader, peer: ReplicaId, progress: Progress, *, due: bool) -> None:
    """Tell a follower that is behind of the newest snapshot: at once, and again whenever a heartbeat or a read round
    is ``due`` to it, since it carries the beat like an AppendEntries."""
    snapshot = raft.snapshot
    assert snapshot is not None, "a log that was compacted has a snapshot"
    if due or progress.snapshot_told != snapshot.index:
        progress.snapshot_told = snapshot.index
        if progress.fetching <= progress.match:
            progress.fetching = snapshot.index
        time_ms = raft.log_time.at(raft.now)
        progress.beat_sent(leader.beat, raft.now)
        raft.send(peer, InstallSnapshot(raft.term, leader.beat, snapshot.index, snapshot.term, time_ms))


# ── follower ─────────────────────────────────────────────────────────────────────────────────────────────────────


def on_install_snapshot(raft: Raft, sender: ReplicaId, message: InstallSnapshot) -> None:
    """Accept the sender as leader of the term, and fetch its snapshot unless this log has what it holds."""
    follower = replication.accept_leader(raft, sender, message)
    follower.ack_owed = True
    if message.index <= raft.commit_index or raft.log.term_at(message.index) == message.index_term:
        _matches(raft, follower, message.index)
    elif not restoring(raft):
        raft.fetch = Fetch(sender, message.index, message.index_term)


def install(raft: Raft, point: SnapshotPoint) -> bool:
    """A snapshot that was fetched is durable: begin anew with it, unless it is behind, or another is being restored.

    Where the log has the entry at ``point``, its own entries lead there and further, and it stays.
    """
    if point.index <= raft.commit_index or restoring(raft):
        return False
    if raft.log.term_at(point.index) != point.term:
        LEADER_APPEND_ONLY.require(isinstance(raft.role, Leader))
        raft.log.reset(point)
        raft.configurations.reset(point.configuration, point.index)
        raft.log_time.heard(point.time_ms, raft.now)
        raft.restore = point
    raft.snapshot = point
    if isinstance(raft.role, Follower):
        _matches(raft, raft.role, point.index)
    else:
        raft.commit_to(point.index)
    return True


def restoring(raft: Raft) -> bool:
    """Whether an installed snapshot has yet to become the state: nothing can be applied until then."""
    return raft.applied_index < raft.log.base_index


def _matches(raft: Raft, follower: Follower, index: Index) -> None:
    """What a snapshot holds is committed, and so in the log of every leader of this term or a later one."""
    follower.matched = max(follower.matched, index)
    raft.commit_to(Index(max(raft.commit_index, index)))
