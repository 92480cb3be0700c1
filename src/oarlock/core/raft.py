"""The Raft core: messages and time in, obligations out. No I/O, no clock, no randomness of its own.

This module holds what every role shares (term, vote, log, commit index), the gate that every message passes, and
the table (role, message) → handler. The rules themselves have a home each: ``election.py``, ``replication.py``,
``authority.py`` (reads), ``transfer.py``, ``snapshot.py``, ``membership.py`` and ``change.py``, ``quorum.py``.

    raft = Raft(ReplicaId(1), incarnation, Config(), restored, random.Random(), now)
    raft.receive(sender, message, now)        # feed whatever has arrived ...
    raft.timeout(now)                         # ... and time, whenever deadline() has passed,
    ready = raft.ready()                      # then take one Ready and carry it out, in its order
    raft.persisted(ready.persist.mark, now)   # and report what became durable
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from oarlock.core import authority, election, membership, replication, snapshot, transfer
from oarlock.core.change import Change
from oarlock.core.config import Config
from oarlock.core.invariants import (
    APPLIED_WITHIN_COMMIT,
    COMMIT_IS_MONOTONIC,
    COMMIT_WITHIN_LOG,
    ONE_LEADERSHIP_PER_TERM,
    RESTORED_AS_A_WHOLE,
    SNAPSHOT_STANDS_IN_LOG,
    TERM_IS_MONOTONIC,
)
from oarlock.core.log import Log
from oarlock.core.log_time import LogTime
from oarlock.core.membership import Configurations
from oarlock.core.messages import (
    AppendAck,
    AppendEntries,
    AppendReject,
    CoreMessage,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    StaleTerm,
    TimeoutNow,
)
from oarlock.core.ready import Fetch, Mark, Persist, ReadConfirmed, ReadRefused, Ready
from oarlock.core.restored import Restored
from oarlock.core.roles import Candidate, Follower, Leader, PreCandidate, Role
from oarlock.core.status import CoreStatus
from oarlock.errors import NotLeader, Overloaded
from oarlock.types import (
    NO_REPLICA,
    Boot,
    Configuration,
    Entry,
    EntryKind,
    Index,
    ReplicaId,
    SnapshotPoint,
    Term,
)


class Raft:
    """One replica's part in the algorithm. Feed it from one thread; inputs must not go back in time."""

    def __init__(
        self,
        replica: ReplicaId,
        incarnation: int,
        config: Config,
        restored: Restored,
        rng: random.Random,
        now: float,
    ) -> None:
        self.id = replica
        self.incarnation = incarnation
        self.config = config
        self.rng = rng
        self.now = now
        """Time of the input being handled."""

        self.term = restored.term
        self.vote = restored.vote
        self.log = Log(restored.base_index, restored.base_term, restored.entries, restored.base_time_ms)
        self.log_time = LogTime(self.log.last_time_ms, now)
        self.snapshot = restored.snapshot
        """The newest that is durable here."""
        if self.snapshot is None:
            start, configuration = restored.base_index, restored.configuration
        else:
            start, configuration = self.snapshot.index, self.snapshot.configuration
            SNAPSHOT_STANDS_IN_LOG.require(self.log.term_at(start), self.snapshot.term)
        self.configurations = Configurations(configuration, self.log.between(start + 1, self.log.last_index), start)
        self.commit_index = start
        self.applied_index = start

        self.persisted_term = restored.term
        """Highest term known to be durable; acknowledgements of a term wait for it."""
        self._handed_hard_state = (restored.term, restored.vote)
        self._handed_commit = start
        self.boots: dict[ReplicaId, Boot] = {}
        """Of each peer, when it last connected."""

        self._messages: list[tuple[ReplicaId, CoreMessage]] = []
        self._messages_after_persist: list[tuple[ReplicaId, CoreMessage]] = []
        self.read_outcomes: list[ReadConfirmed | ReadRefused] = []
        self.probes: list[ReplicaId] = []
        self.fetch: Fetch | None = None
        self.restore: SnapshotPoint | None = None

        self.role: Role = Follower(NO_REPLICA, election.first_timeout(self))

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, sender: ReplicaId, message: CoreMessage, now: float) -> None:
        """Handle a message that ``sender`` sent. First the gate of terms, then the table."""
        self.now = now
        kind = type(message)
        if message.term > self.term:
            if kind is RequestVote and election.sticks_to_leader(self) and not message.transfer:  # type: ignore[union-attr]
                return  # thesis, 4.2.3: whoever disturbs a working leadership is not even heard
            if not (kind is PreVote or (kind is PreVoteReply and message.granted)):  # type: ignore[union-attr]
                self.become_follower(message.term, sender if kind in SENT_BY_LEADERS else NO_REPLICA)
        elif message.term < self.term:
            if kind in SENT_BY_LEADERS or kind is RequestVote or kind is PreVote:
                # Unless its sender moves on, pre-vote and stickiness keep it where it is: stuck, and sticking us.
                self.send(sender, StaleTerm(self.term))
            return
        LEGAL_MATRIX[type(self.role), kind](self, sender, message)

    def propose(
        self,
        payload: bytes,
        now: float,
        *,
        kind: EntryKind = EntryKind.BATCH,
        awaited_by: Collection[ReplicaId] | None = None,
    ) -> Index:
        """Append an entry to this leader's log and return its index; it is committed once ``Ready`` says so.

        ``awaited_by``: the replicas whose clients wait for it, which hear of its commit first; None stands for all.

        :raises NotLeader: not a leader, or one that is handing over; nothing was appended, safe to retry elsewhere.
        :raises Overloaded: too much is uncommitted; nothing was appended, safe to retry later.
        """
        self.now = now
        leader = self._proposing_leader()
        if not self.can_propose:
            raise Overloaded("too much is waiting to be committed")
        return replication.append(self, leader, kind, payload, awaited_by)

    def change(self, change: Change, now: float, *, force: bool = False) -> Index:
        """Begin to change the members. It is done once the returned index is committed *and* the configuration in
        force is neither joint nor has those joining whom the change wanted as voters; whoever leads sees to that.

        ``force``: also if the new voters might have no majority that is alive (``membership.change``).

        :raises NotLeader: not a leader, or one that is handing over; nothing was appended, safe to retry elsewhere.
        :raises ChangeRefused: with a sentence that says why; nothing was appended.
        """
        self.now = now
        return membership.change(self, self._proposing_leader(), change, force=force)

    def verify_authority(self, request: Any, now: float, deadline: float, *, peer: ReplicaId = NO_REPLICA) -> None:
        """Prove that this replica leads, after this call, for a reader here or at ``peer``. The outcome comes in a
        later ``Ready.reads``."""
        self.now = now
        authority.verify(self, request, deadline, peer)

    def timeout(self, now: float) -> None:
        """Act on the time: call it when ``deadline()`` has passed and all input that arrived before was fed in."""
        self.now = now
        match self.role:
            case Leader() as leader:
                replication.leader_timeout(self, leader)
            case _:
                election.timeout(self)

    def persisted(self, mark: Mark, now: float) -> None:
        """What a ``Persist`` with this mark asked for is durable now."""
        self.now = now
        self.log.made_durable(mark)
        self.persisted_term = max(self.persisted_term, mark.term)
        match self.role:
            case Candidate() if mark.term == self.term and mark.vote == self.id:
                election.own_vote_is_durable(self)
            case Leader() as leader:
                transfer.disk_worked(self, leader)
                replication.advance_commit(self, leader)
            case Follower() as follower:
                replication.durability_advanced(self, follower)

    def applied(self, index: Index) -> None:
        """The state machine has applied everything up to ``index``, or been restored from a snapshot there."""
        APPLIED_WITHIN_COMMIT.require(self.applied_index, index, self.commit_index)
        RESTORED_AS_A_WHOLE.require(self.applied_index, index, self.log.base_index)
        self.applied_index = index
        self._handed_commit = max(self._handed_commit, index)

    def point(self) -> SnapshotPoint:
        """Where a snapshot of the state stands, taken now that ``applied_index`` is applied and nothing after it."""
        return snapshot.point(self)

    def compact(self, point: SnapshotPoint, through: Index) -> None:
        """A snapshot at ``point``, of what was applied, is durable: drop the entries up to ``through``."""
        snapshot.compact(self, point, through)

    def install(self, point: SnapshotPoint, now: float) -> bool:
        """A snapshot that was fetched is durable. False if it is of no use any more; else it counts from now on, and
        if the state has to be replaced by it, the next ``Ready`` says so."""
        self.now = now
        return snapshot.install(self, point)

    def peer_connected(self, peer: ReplicaId, boot: Boot, now: float) -> None:
        """A fresh link to ``peer`` is up: whatever was on its way before may be lost."""
        self.now = now
        restarted = self.boots.get(peer) != boot
        self.boots[peer] = boot
        if isinstance(self.role, Leader) and (progress := self.role.progress.get(peer)):
            progress.link_is_new()
            if restarted:
                progress.reset(Index(self.log.last_index + 1))
            else:
                # Where nothing has been proved to match yet, ask again at the same place: not from the log's start.
                progress.probe_from(progress.next if progress.probing else Index(progress.match + 1))

    def peer_unreachable(self, peer: ReplicaId, now: float) -> None:
        """``peer``'s process is gone (not slow, not cut off): see *fast failover* in docs/architecture.md."""
        self.now = now
        election.process_gone(self, peer)

    def hand_over(self, now: float, target: ReplicaId | None = None) -> bool:
        """Start handing leadership to ``target``, or to the best voter there is; False if that is impossible."""
        self.now = now
        return isinstance(self.role, Leader) and transfer.start(self, self.role, target)

    # ── outputs ──────────────────────────────────────────────────────────────────────────────────────────────

    def ready(self) -> Ready:
        """Take this turn's obligations. Each is handed out once; see ``ready.py`` for their order."""
        match self.role:
            case Leader() as leader:
                membership.proceed(self, leader)
                authority.open_round(self, leader)
                replication.send_entries(self, leader)
            case Follower() as follower:
                replication.acknowledge(self, follower)
        ready = Ready(
            self._messages,
            self._take_persist(),
            self._messages_after_persist,
            self._take_committed(),
            self.read_outcomes,
            self.probes,
            self.fetch,
            self.restore,
        )
        self._messages, self._messages_after_persist, self.read_outcomes, self.probes = [], [], [], []
        self.fetch = self.restore = None
        return ready

    def deadline(self) -> float:
        """When ``timeout`` wants to be called next."""
        match self.role:
            case Leader() as leader:
                return replication.leader_deadline(self, leader)
            case _:
                return election.deadline(self)

    @property
    def has_more_to_apply(self) -> bool:
        """Whether the next ``Ready`` will hold committed entries, although nothing new arrived."""
        return self._handed_commit < self.commit_index and not snapshot.restoring(self)

    @property
    def has_more_to_send(self) -> bool:
        """Whether the next ``Ready`` will hold entries for a follower that is far behind, although nothing new came."""
        return isinstance(self.role, Leader) and self.role.more_to_send

    @property
    def round_in_flight(self) -> bool:
        """Whether this replica leads and a beat is not yet confirmed, so that another read shares the next round."""
        return isinstance(self.role, Leader) and self.role.confirmed < self.role.beat

    @property
    def beat_goes_out(self) -> bool:
        """Whether this replica leads, and the next ``Ready`` sends something that a read's beat could ride on."""
        return isinstance(self.role, Leader) and (bool(self.role.tokens) or self.log.has_unpersisted)

    @property
    def can_propose(self) -> bool:
        """Whether ``propose`` would be taken now. While False, a leader's commands wait; they are not refused."""
        role = self.role
        return (
            isinstance(role, Leader)
            and role.transfer is None
            and role.uncommitted_bytes < self.config.max_uncommitted_bytes
        )

    @property
    def handing_over(self) -> bool:
        """Whether this replica leads, and is giving its leadership to another."""
        return isinstance(self.role, Leader) and self.role.transfer is not None

    @property
    def restoring(self) -> bool:
        """Whether a snapshot that was installed has yet to become the state; until then nothing is applied."""
        return snapshot.restoring(self)

    @property
    def leader(self) -> ReplicaId:
        """The leader of the current term as far as known, or 0."""
        role = self.role
        if isinstance(role, Leader):
            return self.id
        return role.leader if isinstance(role, Follower) else NO_REPLICA

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.configurations.current

    @property
    def committed_configuration(self) -> Configuration:
        """The last one known to be committed. Who has left by it is refused (``removed``), and never comes back."""
        return self.configurations.at(self.commit_index)

    def status(self) -> CoreStatus:
        """An immutable snapshot, for people and metrics."""
        match self.role:
            case Leader():
                role = "leader"
            case Follower():
                role = "follower" if election.is_voter(self) else "learner"
            case _:
                role = "candidate"
        return CoreStatus(
            self.id,
            role,
            self.term,
            self.leader,
            self.commit_index,
            self.applied_index,
            self.log.last_index,
            self.log.durable_index,
            self.configuration.voters,
            isinstance(self.role, Leader) and self.commit_index >= self.role.sentinel,
        )

    # ── for the modules that hold the rules ──────────────────────────────────────────────────────────────────

    def send(self, peer: ReplicaId, message: CoreMessage) -> None:
        """Have a message sent at once."""
        self._messages.append((peer, message))

    def send_after_persist(self, peer: ReplicaId, message: CoreMessage) -> None:
        """Have a message sent when the present term, vote and log are durable."""
        self._messages_after_persist.append((peer, message))

    def become_follower(self, term: Term, leader: ReplicaId) -> None:
        """Follow ``leader`` (0: nobody yet) in ``term``. A leadership ends here, and every waiting read with it."""
        TERM_IS_MONOTONIC.require(self.term, term)
        left = self.role
        if term > self.term:
            self.term, self.vote = term, NO_REPLICA
        self.role = Follower(leader, election.timeout_after(self))
        match left:
            case Leader():
                authority.refuse_all(self, left)
            case Follower():
                # A disturbance must not put off this replica's own election.
                self.role.election_deadline = left.election_deadline
            case PreCandidate() | Candidate():
                election.keep_urgency(self, self.role, left)

    def commit_to(self, index: Index) -> None:
        """Raise the commit index."""
        COMMIT_IS_MONOTONIC.require(self.commit_index, index)
        COMMIT_WITHIN_LOG.require(index, self.log.last_index)
        self.commit_index = index

    def voters(self) -> list[ReplicaId]:
        """Everyone whose vote or echo may count, in either half of a joint configuration, in a fixed order."""
        configuration = self.configuration
        return sorted(filter(configuration.counts, {*configuration.voters, *configuration.outgoing}))

    def peers(self) -> list[ReplicaId]:
        """Everyone else whom a leader replicates to, in a fixed order."""
        return sorted({*self.voters(), *self.configuration.learners} - {self.id})

    def _proposing_leader(self) -> Leader:
        if not isinstance(self.role, Leader):
            raise NotLeader(self.leader or None)
        if self.role.transfer is not None:
            raise NotLeader(self.role.transfer.target)
        return self.role

    def _take_persist(self) -> Persist | None:
        base = self.log.take_unpersisted_reset()
        entries = self.log.take_unpersisted()
        hard_state = (self.term, self.vote)
        news = base or entries or hard_state != self._handed_hard_state
        if not news and not self._messages_after_persist:
            return None
        self._handed_hard_state = hard_state
        mark = Mark(self.log.epoch, self.log.last_index, self.term, self.vote)
        return Persist(self.term, self.vote, entries, mark, base)

    def _take_committed(self) -> list[Entry]:
        if not self.has_more_to_apply:
            return []
        entries, _ = self.log.batch_from(Index(self._handed_commit + 1), self.config.max_apply_bytes)
        del entries[self.commit_index - self._handed_commit :]
        self._handed_commit = entries[-1].index
        return entries


Handler: TypeAlias = Callable[[Raft, ReplicaId, Any], None]


def _stale(raft: Raft, sender: ReplicaId, message: CoreMessage) -> None:
    """An answer to a role this replica has left since, or news it already has. Nothing to do."""


def _follow_sender(raft: Raft, sender: ReplicaId, message: AppendEntries | InstallSnapshot) -> None:
    """Someone else won this term's election: follow, then handle the message as a follower."""
    raft.become_follower(raft.term, sender)
    LEGAL_MATRIX[Follower, type(message)](raft, sender, message)


def _impossible(raft: Raft, sender: ReplicaId, message: CoreMessage) -> None:
    """Would mean that somebody leads a term that is another's: only a bug, or two replicas under one id, can."""
    ONE_LEADERSHIP_PER_TERM.require(raft.id, sender)


SENT_BY_LEADERS = (AppendEntries, InstallSnapshot)

LEGAL_MATRIX: dict[tuple[type[Role], type[CoreMessage]], Handler] = {
    (Follower, AppendEntries): replication.on_append_entries,
    (PreCandidate, AppendEntries): _follow_sender,
    (Candidate, AppendEntries): _follow_sender,
    (Leader, AppendEntries): _impossible,
    #
    (Follower, InstallSnapshot): snapshot.on_install_snapshot,
    (PreCandidate, InstallSnapshot): _follow_sender,
    (Candidate, InstallSnapshot): _follow_sender,
    (Leader, InstallSnapshot): _impossible,
    #
    (Follower, AppendAck): _stale,  # it led this term and stepped down (check-quorum)
    (PreCandidate, AppendAck): _stale,  # the same, and then its election timed out
    (Candidate, AppendAck): _impossible,  # a candidate has not led its term
    (Leader, AppendAck): replication.on_append_ack,
    #
    (Follower, AppendReject): _stale,
    (PreCandidate, AppendReject): _stale,
    (Candidate, AppendReject): _impossible,
    (Leader, AppendReject): replication.on_append_reject,
    #
    (Follower, PreVote): election.on_pre_vote,
    (PreCandidate, PreVote): election.on_pre_vote,
    (Candidate, PreVote): election.on_pre_vote,
    (Leader, PreVote): election.on_pre_vote,
    #
    (Follower, PreVoteReply): _stale,
    (PreCandidate, PreVoteReply): election.on_pre_vote_reply,
    (Candidate, PreVoteReply): _stale,
    (Leader, PreVoteReply): _stale,
    #
    (Follower, RequestVote): election.on_request_vote,
    (PreCandidate, RequestVote): election.on_request_vote,
    (Candidate, RequestVote): election.on_request_vote,
    (Leader, RequestVote): election.on_request_vote,
    #
    (Follower, RequestVoteReply): _stale,
    (PreCandidate, RequestVoteReply): _stale,
    (Candidate, RequestVoteReply): election.on_request_vote_reply,
    (Leader, RequestVoteReply): _stale,
    #
    (Follower, TimeoutNow): transfer.on_timeout_now,
    (PreCandidate, TimeoutNow): _stale,  # its own election is on the way
    (Candidate, TimeoutNow): _stale,
    (Leader, TimeoutNow): _impossible,
    #
    (Follower, StaleTerm): _stale,
    (PreCandidate, StaleTerm): _stale,
    (Candidate, StaleTerm): _stale,
    (Leader, StaleTerm): _stale,
}
"""What each role does with each message of its own term (a PreVote is of a later one). Every cell is filled."""
