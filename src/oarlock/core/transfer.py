"""Hand-over: a leader gives its leadership to a voter that is caught up (thesis, section 3.10).

From the start of a hand-over nothing new is appended, so that the target can catch up; if the target has not taken
over within an election timeout, the leader goes on leading.

A leader hands over when it is told to, and by itself when its disk hangs while those of a majority go on: its messages
flow, and nobody else would ever stand against it. That the others hold more of the log than it does not say that they
go on: a disk that all share may have served them a moment longer before it hung, and what they acknowledged may arrive
late. Only entries do that came when the leader's disk had hung for an election timeout already. Where all hang, an
election would help nobody; and where nothing is written, nobody needs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.core import election, quorum
from oarlock.core.messages import TimeoutNow
from oarlock.core.roles import NEVER, Follower, Leader, Transfer
from oarlock.types import Index

if TYPE_CHECKING:
    from oarlock.core.raft import Raft
    from oarlock.types import ReplicaId


def start(raft: Raft, leader: Leader, target: ReplicaId | None) -> bool:
    """Begin, to ``target`` or to the voter that is furthest; False if there is none that could take over now."""
    if leader.transfer is None:
        candidates = [voter for voter in raft.configuration.voters if could_take_over(raft, leader, voter)]
        if target is None:
            target = max(candidates, key=lambda voter: _readiness(leader, voter), default=None)
        if target not in candidates or target is None:
            return False
        leader.transfer = Transfer(target, raft.now + raft.config.election_min_s)
    proceed(raft, leader)
    return True


def proceed(raft: Raft, leader: Leader) -> None:
    """Once the target holds every entry, ask it to stand."""
    transfer = leader.transfer
    if transfer and not transfer.sent and leader.progress[transfer.target].match == raft.log.last_index:
        transfer.sent = True
        raft.send(transfer.target, TimeoutNow(raft.term))


def deadline(leader: Leader) -> float:
    """When ``timeout`` has something to do."""
    return min(leader.transfer.deadline, leader.disk_due) if leader.transfer else leader.disk_due


def timeout(raft: Raft, leader: Leader) -> None:
    """The target did not make it in time: lead on. This leader's own disk did not: see who could."""
    if leader.transfer and raft.now >= leader.transfer.deadline:
        leader.transfer = None
    if raft.now >= leader.disk_due:
        leader.disk_due = raft.now + raft.config.heartbeat_s
        if leader.last_when_hung is None:
            leader.last_when_hung = raft.log.last_index
        # Seen twice: when a disk that all share gets on again, it may serve the others a moment sooner.
        seen, leader.disk_overtaken = leader.disk_overtaken, _held_by_others(raft, leader) > leader.last_when_hung
        if seen and leader.disk_overtaken:
            start(raft, leader, None)


def disk_worked(raft: Raft, leader: Leader) -> None:
    """The leader's disk has finished something: the time begins anew for what is left."""
    leader.last_when_hung = None
    idle = raft.log.durable_index == raft.log.last_index
    leader.disk_due = NEVER if idle else raft.now + raft.config.election_min_s


def _held_by_others(raft: Raft, leader: Leader) -> Index:
    """Up to where a majority without this leader holds the log durably."""

    def held(voter: ReplicaId) -> int:
        return 0 if voter == raft.id else leader.progress[voter].match

    return Index(quorum.reached(raft.configuration, held))


def on_timeout_now(raft: Raft, sender: ReplicaId, message: TimeoutNow) -> None:
    """The leader wants this replica to take over: stand at once, without a pre-vote, over everyone's stickiness."""
    if isinstance(raft.role, Follower) and raft.role.leader == sender and election.may_stand(raft):
        election.campaign(raft, transfer=True)


def target_gone(leader: Leader, peer: ReplicaId) -> None:
    """The target's process is gone: lead on at once, or let another be chosen."""
    if leader.transfer and leader.transfer.target == peer:
        leader.transfer = None


def _readiness(leader: Leader, voter: ReplicaId) -> tuple[Index, float]:
    """The furthest first; of equals, the one heard last."""
    progress = leader.progress[voter]
    return progress.match, progress.echoed_at


def could_take_over(raft: Raft, leader: Leader, peer: ReplicaId) -> bool:
    """One that answers, and that is being pipelined to: one that was just restarted is probed until it has
    acknowledged something in its new life, and one that is behind has a snapshot to fetch first."""
    progress = leader.progress.get(peer)
    return (
        progress is not None
        and not progress.probing
        and not progress.behind(raft.log.base_index)
        and not progress.gone
        and raft.now - progress.echoed_at < 3 * raft.config.heartbeat_s
    )
