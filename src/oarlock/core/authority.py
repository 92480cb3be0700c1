"""Authority: how a leader proves, after a read began, that a majority still follows it. Nothing is written.

Every AppendEntries carries a numbered **beat**; a follower that accepts the sender as leader of its term echoes it.
A read gets a token with the next beat *not yet sent*, and is released once a majority has echoed that beat or a
later one and this term's first entry, the **sentinel**, is committed. The argument that this is enough, and the
shortcuts that are not, are in docs/architecture.md (reads).

One round is in flight at a time; reads that arrive meanwhile share the next. A round that goes out alone goes to
just enough voters for a majority, and to the rest only if it is not back soon; when entries are on their way
anyway, they carry the beat and the round costs no message at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarlock.core import quorum
from oarlock.core.invariants import READ_NOT_BEFORE_SENTINEL
from oarlock.core.ready import ReadConfirmed, ReadRefused
from oarlock.core.roles import NEVER, Leader, ReadToken
from oarlock.errors import AuthorityTimedOut, NotLeader, Overloaded, TermElapsed
from oarlock.types import Beat, ReplicaId

if TYPE_CHECKING:
    from oarlock.core.raft import Raft


def verify(raft: Raft, request: Any, deadline: float, peer: ReplicaId) -> None:
    """Take a token for a read that begins now, or refuse it at once."""
    leader = raft.role
    if not isinstance(leader, Leader):
        raft.read_outcomes.append(ReadRefused(request, NotLeader(raft.leader or None)))
    elif len(leader.tokens) >= raft.config.max_reads:
        raft.read_outcomes.append(ReadRefused(request, Overloaded("too many reads are waiting")))
    else:
        leader.tokens.append(ReadToken(request, peer, Beat(leader.beat + 1), raft.commit_index, deadline))
        leader.next_token_deadline = min(leader.next_token_deadline, deadline)


def open_round(raft: Raft, leader: Leader) -> None:
    """Send the beat that waiting reads need: if none is in flight, or if entries go to followers anyway.

    The beat advances whether or not there is anyone to send it to: a single voter confirms itself.
    """
    if not leader.tokens or leader.tokens[-1].beat <= leader.beat:
        return
    in_flight = leader.confirmed < leader.beat
    entries_go_out = raft.log.has_unpersisted
    if in_flight and not entries_go_out:
        return
    leader.beat = Beat(leader.beat + 1)
    if leader.asked_in is not raft.configuration:
        _choose_whom_to_ask(raft, leader)
    leader.round_targets = leader.asked_first
    leader.round_widen_at = raft.now + raft.config.round_widen_s
    if not leader.round_targets:
        confirm(raft, leader)


def confirm(raft: Raft, leader: Leader) -> None:
    """Release every token whose beat a majority has echoed, once the sentinel is committed.

    Called when a beat is echoed or sent and when the commit index moves. Counting echoes of *this* term only is
    sure: the leader object, and every beat on it, began with the term.
    """

    def newest_beat_of(replica: ReplicaId) -> Beat:
        return leader.beat if replica == raft.id else leader.progress[replica].echoed

    leader.confirmed = Beat(quorum.reached(raft.configuration, newest_beat_of))
    if raft.commit_index < leader.sentinel:
        return
    while leader.tokens and leader.tokens[0].beat <= leader.confirmed:
        token = leader.tokens.popleft()
        index = max(token.index, leader.sentinel)
        READ_NOT_BEFORE_SENTINEL.require(index, leader.sentinel, raft.commit_index)
        if (asker := leader.progress.get(token.peer)) is not None:
            asker.awaited = max(asker.awaited, index)
        raft.read_outcomes.append(ReadConfirmed(token.request, index, raft.log_time.at(raft.now)))


def refuse_all(raft: Raft, leader: Leader) -> None:
    """The leadership is over: every token fails, none is forgotten."""
    raft.read_outcomes.extend(ReadRefused(token.request, TermElapsed()) for token in leader.tokens)
    leader.tokens.clear()


def deadline(leader: Leader) -> float:
    """When ``timeout`` has something to do."""
    return min(leader.round_widen_at, leader.next_token_deadline)


def timeout(raft: Raft, leader: Leader) -> None:
    """Widen a round that is not back, and refuse the reads whose deadline has passed."""
    if raft.now >= leader.round_widen_at:
        leader.round_widen_at = NEVER  # from here on heartbeats repeat the beat
        if leader.confirmed < leader.beat:
            leader.round_targets = _other_voters(raft, leader)
            choose_anew(leader)
    if raft.now >= leader.next_token_deadline:
        for token in leader.tokens:
            if token.deadline <= raft.now:
                raft.read_outcomes.append(ReadRefused(token.request, AuthorityTimedOut()))
        leader.tokens = type(leader.tokens)(token for token in leader.tokens if token.deadline > raft.now)
        leader.next_token_deadline = min((token.deadline for token in leader.tokens), default=NEVER)


def choose_anew(leader: Leader) -> None:
    """Something is known of whom rounds go to first, or might go to, that was not known when they were chosen."""
    leader.asked_in = None


def _choose_whom_to_ask(raft: Raft, leader: Leader) -> None:
    """Just enough voters for a majority, those that answer soonest."""
    others = _other_voters(raft, leader)
    others.sort(key=lambda voter: leader.progress[voter].remoteness(raft.now))
    leader.asked_first = quorum.smallest(raft.configuration, raft.id, preferred=others)
    leader.asked_in = raft.configuration


def _other_voters(raft: Raft, leader: Leader) -> list[ReplicaId]:
    return [peer for peer in leader.progress if peer not in raft.configuration.learners]
