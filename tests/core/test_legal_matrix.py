"""The table (role, message) → handler: every cell is filled, and does what it says."""

import typing

import pytest

from oarlock.core import Raft
from oarlock.core.invariants import ONE_LEADERSHIP_PER_TERM
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
from oarlock.core.raft import LEGAL_MATRIX
from oarlock.core.roles import Candidate, Follower, Leader, PreCandidate, Role
from oarlock.errors import InvariantViolated
from oarlock.testing.script.cluster import Cluster
from oarlock.types import Beat, Index, ReplicaId, Term

ROLES = typing.get_args(Role)
MESSAGES = typing.get_args(CoreMessage)
SENDER = ReplicaId(2)
IMPOSSIBLE = {
    (Leader, AppendEntries),
    (Leader, InstallSnapshot),
    (Candidate, AppendAck),
    (Candidate, AppendReject),
    (Leader, TimeoutNow),
}


def in_role(role: type) -> Raft:
    """Replica 1 of three, in this role, in whatever term that takes."""
    c = Cluster(3)
    if role is PreCandidate:
        c.timeout(1)
    elif role is Candidate:
        c.timeout(1)
        c.deliver_all(lambda envelope: isinstance(envelope.message, PreVote))
        c.deliver_all(lambda envelope: isinstance(envelope.message, PreVoteReply))
    elif role is Leader:
        c.elect(1)
    raft = c[1].raft
    assert type(raft.role) is role
    raft.ready()
    return raft


def of_term(message: type, term: Term) -> CoreMessage:
    """A plausible message of this type and term."""
    fields: dict[type, tuple[object, ...]] = {
        AppendEntries: (Beat(1), Index(0), Term(0), Index(0), True, 0, ()),
        AppendAck: (Beat(0), Index(0)),
        AppendReject: (Beat(0), Index(1), Index(0), Term(0)),
        PreVote: (Index(9), term, False),
        PreVoteReply: (False,),
        RequestVote: (Index(9), term, False),
        RequestVoteReply: (False, 102, 0),
        TimeoutNow: (),
        StaleTerm: (),
        InstallSnapshot: (Beat(1), Index(9), term, 0),
    }
    return message(term, *fields[message])  # type: ignore[no-any-return]


def test_every_role_and_every_message_is_in_the_table_and_nothing_else() -> None:
    assert set(LEGAL_MATRIX) == {(role, message) for role in ROLES for message in MESSAGES}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
def test_cell_of_its_own_term(role: type, message: type) -> None:
    raft = in_role(role)
    if (role, message) in IMPOSSIBLE:
        with pytest.raises(InvariantViolated, match=ONE_LEADERSHIP_PER_TERM.name):
            raft.receive(SENDER, of_term(message, raft.term), raft.now)
        return
    term = raft.term
    raft.receive(SENDER, of_term(message, raft.term), raft.now)
    assert raft.term == term
    ready = raft.ready()
    follows = message in (AppendEntries, InstallSnapshot)
    assert type(raft.role) is (Follower if follows else role)
    assert (ready.fetch is not None) is (message is InstallSnapshot)
    answers = {
        AppendEntries: AppendAck,
        InstallSnapshot: AppendAck,
        PreVote: PreVoteReply,
        RequestVote: RequestVoteReply,
    }
    sent = [type(m) for _, m in ready.messages + ready.messages_after_persist if type(m) is not AppendEntries]
    assert sent == ([answers[message]] if message in answers else [])


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
def test_a_message_of_an_old_term_changes_nothing_and_only_requests_are_answered(role: type, message: type) -> None:
    raft = in_role(role)
    raft.receive(ReplicaId(3), of_term(AppendEntries, Term(7)), raft.now)  # whatever it was, it follows in 7 now
    raft.ready()
    raft.receive(SENDER, of_term(message, Term(6)), raft.now)
    ready = raft.ready()
    answered = message in (AppendEntries, InstallSnapshot, PreVote, RequestVote)
    assert ready.messages == ([(SENDER, StaleTerm(Term(7)))] if answered else [])
    assert ready.persist is None
    assert (raft.term, raft.leader) == (7, 3)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
def test_a_message_of_a_newer_term_moves_every_role_on_but_for_pre_votes_and_stickiness(
    role: type, message: type
) -> None:
    raft = in_role(role)
    term = raft.term
    raft.receive(SENDER, of_term(message, Term(term + 3)), raft.now)
    ignored = message is PreVote or (role is Leader and message is RequestVote)
    assert raft.term == (term if ignored else term + 3)
    assert type(raft.role) is (role if ignored else Follower)
    assert raft.leader == (2 if message in (AppendEntries, InstallSnapshot) else 1 if ignored and role is Leader else 0)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
def test_a_granted_pre_vote_reply_of_the_term_asked_for_moves_only_a_pre_candidate(role: type) -> None:
    raft = in_role(role)
    raft.receive(SENDER, PreVoteReply(Term(raft.term + 1), True), raft.now)
    assert type(raft.role) is (Candidate if role is PreCandidate else role)


def test_a_granted_pre_vote_reply_of_another_attempt_counts_for_nothing() -> None:
    raft = in_role(PreCandidate)
    raft.receive(SENDER, PreVoteReply(Term(raft.term + 2), True), raft.now)
    raft.receive(SENDER, PreVoteReply(raft.term, True), raft.now)
    assert type(raft.role) is PreCandidate


def test_a_leader_sent_its_own_message_back_by_itself_is_no_excuse() -> None:
    raft = in_role(Leader)
    with pytest.raises(InvariantViolated):
        raft.receive(ReplicaId(3), of_term(AppendEntries, raft.term), raft.now)


def test_a_follower_hears_of_a_second_leader_of_its_term() -> None:
    raft = in_role(Follower)
    raft.receive(ReplicaId(2), of_term(AppendEntries, Term(1)), raft.now)
    with pytest.raises(InvariantViolated, match=ONE_LEADERSHIP_PER_TERM.name):
        raft.receive(ReplicaId(3), of_term(AppendEntries, Term(1)), raft.now)
