"""Elections: pre-vote, leader stickiness, randomised timeouts, votes, forming, fast failover.

Here is decided who may stand, who may vote for whom, and what winning means. What a leader then does lives in
``replication.py`` and ``authority.py``; how it gives up on purpose in ``transfer.py``.

(Paper, 5.2 and 5.4.1; thesis, 4.2.3 and 9.6.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from oarlock.core import authority, quorum, replication, transfer
from oarlock.core.invariants import ONE_VOTE_PER_TERM
from oarlock.core.membership import encode_configuration
from oarlock.core.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply
from oarlock.core.quorum import VoteResult
from oarlock.core.roles import Candidate, Follower, Leader, PreCandidate
from oarlock.types import NO_REPLICA, Configuration, EntryKind, Index, ReplicaId, Term

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oarlock.core.raft import Raft


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def timeout_after(raft: Raft) -> float:
    """When an election timeout that starts now ends."""
    config = raft.config
    # What rng.uniform does, which is no built-in function: every message of a leader's comes by here.
    return raft.now + config.election_min_s + (config.election_max_s - config.election_min_s) * raft.rng.random()


def first_timeout(raft: Raft) -> float:
    """The same for a replica that just started: shorter, since a leader would be heard within a few heartbeats, and
    where there is none, everybody waits. Pre-vote and stickiness keep it harmless."""
    return raft.now + raft.rng.uniform(3 * raft.config.heartbeat_s, raft.config.election_min_s)


def deadline(raft: Raft) -> float:
    """When ``timeout`` has something to do. Never, for a replica that may not stand."""
    match raft.role:
        case Follower() as follower:
            return follower.election_deadline if may_stand(raft) else float("inf")
        case PreCandidate() | Candidate() as standing:
            return standing.deadline
        case _:
            return float("inf")


def timeout(raft: Raft) -> None:
    """Start an election, or start it over, if its time has come. Every attempt begins with a pre-vote."""
    if raft.now < deadline(raft):
        return
    match raft.role:
        case Follower() as follower:
            retries = raft.config.failover_retries if follower.leader_dead else 0
            start_pre_vote(raft, leader_dead=follower.leader_dead, retries=retries)
        case PreCandidate() | Candidate() as standing:
            urgent = standing.retries > 0
            start_pre_vote(raft, leader_dead=urgent, retries=standing.retries - 1 if urgent else 0)


def may_stand(raft: Raft) -> bool:
    """Whether to stand for election. Who restores a snapshot does not: leading, it could apply nothing, so nobody would
    learn what became of a write."""
    return is_voter(raft) and not raft.restoring


def is_voter(raft: Raft) -> bool:
    """Learners are none, nor replicas that have left, nor one in the place of another data directory, whose vote is not
    its own."""
    own = raft.configuration.member(raft.id)
    return own is not None and own.incarnation in (0, raft.incarnation) and raft.configuration.counts(raft.id)


def sticks_to_leader(raft: Raft) -> bool:
    """Leader stickiness (thesis, 4.2.3): whoever hears a live leader takes part in no election against it."""
    match raft.role:
        case Leader():
            return True  # check-quorum is what ends a leadership that hears nobody
        case Follower() as follower:
            heard_lately = raft.now - follower.heard_at < raft.config.election_min_s
            return follower.leader != NO_REPLICA and heard_lately and not follower.leader_dead
        case _:
            return False


# ── pre-vote ─────────────────────────────────────────────────────────────────────────────────────────────────────


def start_pre_vote(raft: Raft, *, leader_dead: bool, retries: int) -> None:
    """Ask everyone who could vote whether they would. Changes no term, so it disturbs nobody."""
    role = PreCandidate(_retry_or_timeout(raft, retries), leader_dead=leader_dead, retries=retries)
    raft.role = role
    message = PreVote(Term(raft.term + 1), raft.log.last_index, raft.log.last_term, leader_dead)
    for voter in raft.voters():
        if voter != raft.id:
            raft.send(voter, message)
    _count_pre_vote(raft, role, raft.id, granted=True)


def on_pre_vote(raft: Raft, sender: ReplicaId, message: PreVote) -> None:
    """Would this replica vote for the sender? Not while it sticks to a leader, nor for a log behind its own."""
    sticks = sticks_to_leader(raft)
    if sticks and message.leader_dead and isinstance(raft.role, Follower):
        raft.probes.append(raft.role.leader)  # look for ourselves: if it is gone, the retry will find us willing
    granted = message.term > raft.term and not sticks and raft.log.is_up_to_date(message.last_index, message.last_term)
    raft.send(sender, PreVoteReply(message.term if granted else raft.term, granted))


def on_pre_vote_reply(raft: Raft, sender: ReplicaId, message: PreVoteReply) -> None:
    """Count it, if it answers the present attempt."""
    role = raft.role
    assert isinstance(role, PreCandidate)
    if not message.granted or message.term == raft.term + 1:
        _count_pre_vote(raft, role, sender, granted=message.granted)


def _count_pre_vote(raft: Raft, role: PreCandidate, voter: ReplicaId, *, granted: bool) -> None:
    role.votes[voter] = granted
    if _result(raft, role.votes) is VoteResult.WON:
        campaign(raft, transfer=False, retries=role.retries)


# ── vote ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def campaign(raft: Raft, *, transfer: bool, retries: int = 0) -> None:
    """Stand for election in the next term.

    The requests wait until this replica's own term and vote are durable: one that crashed after asking, came back
    in the old term and asked again could lead the same term twice, and old echoes would match new beats.
    """
    raft.term = Term(raft.term + 1)
    raft.vote = raft.id
    raft.role = Candidate(timeout_after(raft), transfer=transfer, retries=retries)
    message = RequestVote(raft.term, raft.log.last_index, raft.log.last_term, transfer)
    for voter in raft.voters():
        if voter != raft.id:
            raft.send_after_persist(voter, message)


def own_vote_is_durable(raft: Raft) -> None:
    """Only now does a candidate's vote for itself count, also where it is the only voter."""
    _count_vote(raft, raft.id, granted=True, incarnation=raft.incarnation)


def on_request_vote(raft: Raft, sender: ReplicaId, message: RequestVote) -> None:
    """Vote for the sender or refuse (paper, figure 2). A vote leaves only once it is durable."""
    leader = raft.leader
    free_to_vote = raft.vote in (NO_REPLICA, sender) and leader in (NO_REPLICA, sender)
    if not free_to_vote or not raft.log.is_up_to_date(message.last_index, message.last_term):
        raft.send(sender, RequestVoteReply(raft.term, False, raft.incarnation, raft.log_time.at(raft.now)))
        return
    ONE_VOTE_PER_TERM.require(raft.vote, sender)
    raft.vote = sender
    match raft.role:
        case Follower() as follower:
            follower.election_deadline = timeout_after(raft)
        case PreCandidate() as standing:
            standing.deadline = timeout_after(raft)
    raft.send_after_persist(sender, RequestVoteReply(raft.term, True, raft.incarnation, raft.log_time.at(raft.now)))


def on_request_vote_reply(raft: Raft, sender: ReplicaId, message: RequestVoteReply) -> None:
    """Count a vote."""
    raft.log_time.heard(message.time_ms, raft.now)
    _count_vote(raft, sender, granted=message.granted, incarnation=message.incarnation)


def _count_vote(raft: Raft, voter: ReplicaId, *, granted: bool, incarnation: int) -> None:
    role = raft.role
    assert isinstance(role, Candidate)
    role.votes[voter] = granted
    if granted:
        role.incarnations[voter] = incarnation
        if _result(raft, role.votes) is VoteResult.WON:
            _lead(raft, role)
    elif role.retries > 0:
        # Two candidates of one failover split the votes: do not sit out a whole election timeout.
        role.deadline = min(role.deadline, _retry_or_timeout(raft, role.retries))


def _lead(raft: Raft, candidacy: Candidate) -> None:
    """Become leader: a fresh ``Leader``, and the sentinel as the term's first entry."""
    sentinel = Index(raft.log.last_index + 1)
    raft.role = Leader(raft.peers(), sentinel, raft.now)
    if raft.configuration.formed:
        replication.append(raft, raft.role, EntryKind.SENTINEL, b"")
    else:
        formed = _with_incarnations(raft.configuration, candidacy.incarnations)
        replication.append(raft, raft.role, EntryKind.CONFIGURATION, encode_configuration(formed))


# ── forming ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _result(raft: Raft, votes: Mapping[ReplicaId, bool]) -> VoteResult:
    """What the votes amount to. The very first election of a cluster needs all its initial members: with only a
    majority, a wiped and re-initialised replica and one that never ran could form a second history."""
    if not raft.configuration.formed and not all(votes.get(voter) for voter in raft.voters()):
        return VoteResult.PENDING
    return quorum.count_votes(raft.configuration, votes)


def _with_incarnations(initial: Configuration, incarnations: Mapping[ReplicaId, int]) -> Configuration:
    members = tuple(
        msgspec.structs.replace(member, incarnation=incarnations.get(member.id, member.incarnation))
        for member in initial.members
    )
    return msgspec.structs.replace(initial, members=members)


# ── fast failover ────────────────────────────────────────────────────────────────────────────────────────────────


def process_gone(raft: Raft, peer: ReplicaId) -> None:
    """If it was the leader: stop sticking to it, and stand soon. News about a former leader is ignored."""
    match raft.role:
        case Follower() as follower if follower.leader == peer:
            follower.leader_dead = True
            soon = raft.now + raft.rng.uniform(0, raft.config.failover_delay_s)
            follower.election_deadline = min(follower.election_deadline, soon)
        case Leader() as leader if peer in leader.progress:
            leader.progress[peer].gone = True
            authority.choose_anew(leader)
            transfer.target_gone(leader, peer)


def keep_urgency(raft: Raft, follower: Follower, left: PreCandidate | Candidate) -> None:
    """A candidate of a fast failover that learned of a newer term tries again soon, unless a leader is heard."""
    if left.retries > 0 and follower.leader == NO_REPLICA:
        follower.election_deadline = _retry_or_timeout(raft, left.retries)


def _retry_or_timeout(raft: Raft, retries: int) -> float:
    if retries > 0:
        return raft.now + raft.rng.uniform(raft.config.failover_retry_min_s, raft.config.failover_retry_max_s)
    return timeout_after(raft)
