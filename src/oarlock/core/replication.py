"""Replication: what a leader sends, what a follower accepts and acknowledges, and what is committed.

A leader's entries may overtake its own fsync; it counts itself only when that is done. A follower acknowledges
only what is durable, and never past what the leader's messages proved to match. (Paper, 5.3 and 5.4; thesis, 10.2.)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from oarlock.core import authority, election, membership, quorum, snapshot, transfer
from oarlock.core.invariants import (
    ACK_IS_DURABLE,
    COMMIT_OWN_TERM,
    COMMITTED_IS_KEPT,
    LEADER_APPEND_ONLY,
    ONE_LEADERSHIP_PER_TERM,
)
from oarlock.core.messages import AppendAck, AppendEntries, AppendReject, InstallSnapshot
from oarlock.core.roles import NEVER, Follower, Leader
from oarlock.types import NO_REPLICA, Entry, EntryKind, Index, ReplicaId

if TYPE_CHECKING:
    from oarlock.core.progress import Progress
    from oarlock.core.raft import Raft


# ── leader ───────────────────────────────────────────────────────────────────────────────────────────────────────


def append(
    raft: Raft, leader: Leader, kind: EntryKind, payload: bytes, awaited_by: Collection[ReplicaId] | None = None
) -> Index:
    """Append one entry of this term to the leader's own log, stamped with log time; ``ready`` will persist and send
    it. None stands for all."""
    index = Index(raft.log.last_index + 1)
    entry = Entry(index, raft.term, kind, max(raft.log.last_time_ms, raft.log_time.at(raft.now)), payload)
    raft.log.append((entry,))
    leader.uncommitted_bytes += len(payload)
    leader.disk_due = min(leader.disk_due, raft.now + raft.config.election_min_s)
    for peer, progress in leader.progress.items():
        if awaited_by is None or peer in awaited_by:
            progress.awaited = index
    if kind == EntryKind.CONFIGURATION:
        membership.appended(raft, leader, entry)
    return index


def send_entries(raft: Raft, leader: Leader) -> None:
    """To each follower what its window allows; else a bare message, if a heartbeat, a read round or news of the
    commit index is due to it."""
    heartbeat = raft.now >= leader.heartbeat_at
    if heartbeat:
        leader.heartbeat_at = raft.now + raft.config.heartbeat_s
        authority.choose_anew(leader)  # a heartbeat goes to all, and is how the others' latencies are known
    news = raft.now >= leader.news_at
    all_told = True
    config, log = raft.config, raft.log
    leader.more_to_send = False
    for peer, progress in leader.progress.items():
        if progress.behind(log.base_index):
            snapshot.offer(raft, leader, peer, progress, due=heartbeat or peer in leader.round_targets)
            continue
        echo_now = heartbeat or leader.beat > leader.confirmed
        sent_bytes, sent = 0, False
        while progress.next <= log.last_index and progress.window_open(
            config.max_inflight_messages, config.max_inflight_bytes
        ):
            if sent_bytes >= config.max_turn_bytes:
                leader.more_to_send = True
                break
            entries, size_bytes = log.batch_from(progress.next, config.max_append_bytes)
            _send_append(raft, leader, peer, progress, tuple(entries), echo_now)
            progress.sent(entries[-1].index, size_bytes)
            sent_bytes, sent = sent_bytes + size_bytes, True
        told_to = raft.commit_index if news else min(progress.awaited, raft.commit_index)
        if not sent and (heartbeat or peer in leader.round_targets or progress.commit_sent < told_to):
            _send_append(raft, leader, peer, progress, (), echo_now)
        all_told = all_told and progress.commit_sent == raft.commit_index
    leader.round_targets = []
    if all_told:
        leader.news_at = NEVER


def _send_append(
    raft: Raft, leader: Leader, peer: ReplicaId, progress: Progress, entries: tuple[Entry, ...], echo_now: bool
) -> None:
    prev_index = Index(progress.next - 1)
    prev_term = raft.log.term_at(prev_index)
    assert prev_term is not None, "whom the log does not reach is sent a snapshot"
    raft.send(
        peer,
        AppendEntries(
            raft.term,
            leader.beat,
            prev_index,
            prev_term,
            raft.commit_index,
            echo_now,
            raft.log_time.at(raft.now),
            entries,
        ),
    )
    progress.commit_sent = raft.commit_index
    if echo_now:  # else it is echoed when the entries are durable, and how soon tells of the disk
        progress.beat_sent(leader.beat, raft.now)


def on_append_ack(raft: Raft, sender: ReplicaId, message: AppendAck) -> None:
    """A follower echoed a beat and told how far it matches, durably."""
    leader = raft.role
    assert isinstance(leader, Leader)
    progress = leader.progress.get(sender)
    if progress is None or message.match > raft.log.last_index:
        return  # not a member any more; or more than this leader ever sent, which proves nothing
    progress.echo(message.beat, leader.beat, raft.now)
    if progress.acknowledged(message.match):
        advance_commit(raft, leader)
        transfer.proceed(raft, leader)
    authority.confirm(raft, leader)


def on_append_reject(raft: Raft, sender: ReplicaId, message: AppendReject) -> None:
    """The follower's log does not match there: probe where it may, skipping whole terms (paper, end of 5.3)."""
    leader = raft.role
    assert isinstance(leader, Leader)
    progress = leader.progress.get(sender)
    if progress is None:
        return
    progress.echo(message.beat, leader.beat, raft.now)
    if not progress.rejected_is_stale(message.prev_index):
        agreed = raft.log.agreement_hint(min(message.hint_index, message.prev_index), message.hint_term)
        progress.probe_from(Index(agreed + 1))
    authority.confirm(raft, leader)


def advance_commit(raft: Raft, leader: Leader) -> None:
    """Commit what a majority holds durably, if it is of this term: an older entry on a majority may yet be
    overwritten (figure 8 of the paper) and is committed only by one of this term above it."""

    def durable_at(replica: ReplicaId) -> Index:
        return raft.log.durable_index if replica == raft.id else leader.progress[replica].match

    index = Index(quorum.reached(raft.configuration, durable_at))
    if index > raft.commit_index and raft.log.term_at(index) == raft.term:
        COMMIT_OWN_TERM.require(raft.log.term_at(index), raft.term)
        for entry in raft.log.between(max(raft.commit_index + 1, leader.sentinel), index):
            leader.uncommitted_bytes -= len(entry.payload)
        raft.commit_to(index)
        leader.news_at = min(leader.news_at, raft.now + raft.config.commit_news_s)
        authority.confirm(raft, leader)


def leader_deadline(raft: Raft, leader: Leader) -> float:
    """When ``leader_timeout`` has something to do. Who is heard is looked at with each heartbeat."""
    return min(leader.heartbeat_at, leader.news_at, authority.deadline(leader), transfer.deadline(leader))


def leader_timeout(raft: Raft, leader: Leader) -> None:
    """Check-quorum (thesis, 6.2): a leader that hears no echoes from a majority for an election timeout steps down.
    Heartbeats go out by themselves with the next ``ready``."""
    if raft.now >= _quorum_last_heard(raft, leader) + raft.config.election_min_s:
        raft.become_follower(raft.term, NO_REPLICA)
        return
    authority.timeout(raft, leader)
    transfer.timeout(raft, leader)


def _quorum_last_heard(raft: Raft, leader: Leader) -> float:
    """Since when a majority has been heard without fail. Itself a leader hears now; a single voter always does."""
    return quorum.reached(
        raft.configuration, lambda replica: raft.now if replica == raft.id else leader.progress[replica].echoed_at
    )


# ── follower ─────────────────────────────────────────────────────────────────────────────────────────────────────


def accept_leader(raft: Raft, sender: ReplicaId, message: AppendEntries | InstallSnapshot) -> Follower:
    """The sender leads this term: stick to it, take over its log time, and owe its beat an echo."""
    follower = raft.role
    assert isinstance(follower, Follower)
    if follower.leader != sender:
        ONE_LEADERSHIP_PER_TERM.require(follower.leader, sender)
        follower = raft.role = Follower(sender, 0.0)
    follower.heard_at = raft.now
    raft.log_time.heard(message.time_ms, raft.now)
    follower.leader_dead = False
    follower.election_deadline = election.timeout_after(raft)
    follower.beat = max(follower.beat, message.beat)
    return follower


def on_append_entries(raft: Raft, sender: ReplicaId, message: AppendEntries) -> None:
    """Accept the sender as leader of the term, and its entries if they fit on this log. Below the log's base they do:
    what is there is committed."""
    follower = accept_leader(raft, sender, message)
    log = raft.log
    if message.prev_index > log.base_index and log.term_at(message.prev_index) != message.prev_term:
        hint = max(log.base_index, log.agreement_hint(message.prev_index, message.prev_term))  # committed: it agrees
        hint_term = log.term_at(hint)
        assert hint_term is not None
        raft.send(sender, AppendReject(raft.term, follower.beat, message.prev_index, hint, hint_term))
        follower.echoed = follower.beat
        return

    if message.entries:
        _merge(raft, message.entries)
    matched = Index(message.prev_index + len(message.entries))
    follower.matched = max(follower.matched, matched)
    raft.commit_to(Index(max(raft.commit_index, min(message.commit, follower.matched))))
    # What is durable can be acknowledged at once; the rest when it is (``durability_advanced``).
    follower.ack_owed |= message.echo_now or follower.acked < min(follower.matched, log.durable_index)
    follower.ack_owed |= bool(message.entries) and follower.matched <= log.durable_index


def _merge(raft: Raft, entries: tuple[Entry, ...]) -> None:
    """Append what is new; truncate only at a real conflict. A delayed or repeated message, whose entries this log
    already has, must not cut off what came after them."""
    log = raft.log
    if entries[0].index == log.last_index + 1:
        new = entries
    else:
        position = 0
        while position < len(entries) and _has(raft, entries[position]):
            position += 1
        new = entries[position:]
        if not new:
            return
        if new[0].index <= log.last_index:
            LEADER_APPEND_ONLY.require(isinstance(raft.role, Leader))
            COMMITTED_IS_KEPT.require(new[0].index, raft.commit_index)
            log.truncate_from(new[0].index)
            raft.configurations.truncated_from(new[0].index)
    log.append(new)
    raft.configurations.appended(new)


def _has(raft: Raft, entry: Entry) -> bool:
    """By the Log Matching Property an equal (index, term) is an equal entry; below the base everything is committed."""
    return entry.index <= raft.log.base_index or raft.log.term_at(entry.index) == entry.term


def durability_advanced(raft: Raft, follower: Follower) -> None:
    """Entries, or the term itself, became durable: acknowledge them, if the leader has not heard so yet."""
    if follower.leader != NO_REPLICA and (
        follower.acked < _acknowledgeable(raft, follower) or follower.echoed < follower.beat
    ):
        follower.ack_owed = True


def acknowledge(raft: Raft, follower: Follower) -> None:
    """Send the acknowledgement owed, one for all messages of this turn."""
    if not follower.ack_owed:
        return
    match = _acknowledgeable(raft, follower)
    ACK_IS_DURABLE.require(match, raft.log.durable_index, follower.matched)
    raft.send(follower.leader, AppendAck(raft.term, follower.beat, match))
    follower.acked, follower.echoed, follower.ack_owed = match, follower.beat, False


def _acknowledgeable(raft: Raft, follower: Follower) -> Index:
    """Nothing before the term itself is durable: whoever acknowledged in a term and came back in an older one would
    rightly be taken for a replica that lost its past (durability.md, who may vote)."""
    if raft.persisted_term < raft.term:
        return Index(0)
    return min(follower.matched, raft.log.durable_index)
