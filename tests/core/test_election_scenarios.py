"""Elections, by the numbers of the catalogue of what a Raft must survive."""

import pytest

from oarlock.core.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply, StaleTerm
from oarlock.core.roles import Candidate
from oarlock.types import Index, ReplicaId, Term
from tests.core.cluster import Cluster


def ask_for_votes(c: Cluster, candidate: int, voters: list[int]) -> None:
    """``candidate`` passes its pre-vote; its vote requests to ``voters`` are on their way, those to others lost."""
    c.stand(candidate)
    for voter in voters:
        c.deliver(candidate, voter, PreVote)
        c.deliver(voter, candidate, PreVoteReply)
    c.drop(candidate, kind=PreVote)
    for envelope in c.hold(candidate, kind=RequestVote):
        if envelope.receiver in voters:
            c.release([envelope])


def test_scenario_02_a_vote_is_durable_before_the_reply_leaves() -> None:
    c = Cluster(3)
    c.stall_disk(2)
    ask_for_votes(c, 1, [2])
    c.deliver(1, 2, RequestVote)
    assert not c.in_flight(2, 1, RequestVoteReply), "the reply left before the vote was durable"

    c.crash(2)
    c.restart(2)
    ask_for_votes(c, 3, [2])
    c.deliver(3, 2, RequestVote)
    c.persist(2)
    assert c.in_flight(2, 3, RequestVoteReply)[0].granted, "the lost vote for 1 never counted, so 3 may have it"


def test_scenario_02_a_vote_that_was_durable_binds_after_a_crash() -> None:
    c = Cluster(3)
    ask_for_votes(c, 1, [2])
    c.deliver(1, 2, RequestVote)
    assert c.in_flight(2, 1, RequestVoteReply)[0].granted
    c.drop(2, 1, RequestVoteReply)

    c.crash(2)
    c.restart(2)
    c.inject(3, 2, RequestVote(Term(1), Index(0), Term(0), False))
    assert not c.in_flight(2, 3, RequestVoteReply)[0].granted


def test_scenario_03_of_two_candidates_in_one_term_one_wins() -> None:
    c = Cluster(3)
    c.stand(1)
    c.stand(3)
    c.settle()
    c.advance(10)
    assert sum(replica.leads for replica in c.running()) == 1


def test_scenario_03_a_voter_votes_once_in_a_term_whoever_asks() -> None:
    c = Cluster(5)
    ask_for_votes(c, 1, [2, 3])
    c.hold(1)
    ask_for_votes(c, 5, [2, 4])
    requests = c.hold(5, 2, RequestVote)
    c.inject(1, 2, RequestVote(Term(1), Index(0), Term(0), False))
    c.release(requests)
    c.deliver(5, 2, RequestVote)
    assert c.in_flight(2, 1, RequestVoteReply)[0].granted
    assert not c.in_flight(2, 5, RequestVoteReply)[0].granted


def test_scenario_03_a_leader_votes_for_nobody_in_its_own_term() -> None:
    c = Cluster(3)
    c.elect(1)
    c.inject(3, 1, RequestVote(Term(1), Index(99), Term(1), True))
    assert not c.in_flight(1, 3, RequestVoteReply)[0].granted
    assert c[1].leads


def test_scenario_03_nor_after_it_has_stepped_down() -> None:
    c = Cluster(3)
    c.elect(1)
    c.partition({1}, {2, 3})
    c.wait(1.5)
    c.timeout(1)
    assert not c[1].leads and c[1].raft.term == 1
    c.inject(3, 1, RequestVote(Term(1), Index(99), Term(1), True))
    assert not c.in_flight(1, 3, RequestVoteReply)[0].granted


@pytest.mark.parametrize(
    ("candidate", "voter", "wins"),
    [
        ([1, 2], [1, 1, 1], True),  # a later last term beats a longer log
        ([1, 1, 1], [1, 2], False),
        ([1, 1, 1], [1, 1], True),  # in an equal last term, the longer log
        ([1, 1], [1, 1, 1], False),
        ([1, 2], [1, 2], True),
        ([], [1], False),
    ],
)
def test_scenario_04_up_to_date_is_by_last_term_then_last_index(
    candidate: list[int], voter: list[int], wins: bool
) -> None:
    c = Cluster(2, logs={1: candidate, 2: voter}, terms={1: 2, 2: 2})
    c.stand(1)
    c.settle()
    assert c[1].leads is wins
    assert c[1].raft.term == (3 if wins else 2), "who cannot win raises no term"
    # The vote itself decides so too, not the pre-vote alone.
    c = Cluster(2, logs={1: candidate, 2: voter}, terms={1: 2, 2: 2})
    last_term = Term(candidate[-1] if candidate else 0)
    c.inject(1, 2, RequestVote(Term(3), Index(len(candidate)), last_term, False))
    assert c.in_flight(2, 1, RequestVoteReply)[0].granted is wins


def test_scenario_31_a_partial_partition_neither_deposes_nor_raises_terms() -> None:
    for leader in (1, 2, 3):
        c = Cluster(3)
        c.elect(leader)
        term = c[leader].raft.term
        c.partition({1}, {2})
        c.advance(30)
        assert c.leader == leader
        assert {replica.raft.term for replica in c.running()} == {term}
        c.propose(leader, b"x")
        c.settle()
        assert c[leader].payloads == [b"x"]


def test_scenario_31_without_a_leader_someone_becomes_one_and_stays() -> None:
    c = Cluster(3)
    c.partition({1}, {2})
    c.advance(20)
    leader, term = c.leader, c[3].raft.term
    assert leader
    c.advance(30)
    assert (c.leader, c[3].raft.term) == (leader, term)


def test_scenario_49_a_candidate_asks_for_votes_only_once_its_own_is_durable() -> None:
    c = Cluster(3)
    c.stall_disk(1)
    c.stand(1)
    c.settle()
    assert isinstance(c[1].raft.role, Candidate)
    assert not c.in_flight(1, kind=RequestVote)

    c.crash(1)
    c.restart(1)
    assert c[1].raft.term == 0
    c.recover_disk(1)
    c.elect(1)  # ``checks.py`` remembers who led which term, and how often


def test_scenario_49_a_single_voter_leads_only_once_its_own_vote_is_durable() -> None:
    c = Cluster(1)
    c.stall_disk(1)
    c.stand(1)
    assert not c[1].leads
    c.persist(1, 1)
    assert c[1].leads


def test_scenario_56_a_replica_at_a_higher_durable_term_gets_unstuck() -> None:
    c = Cluster(3, logs={1: [1, 1], 2: [1, 1], 3: [1]}, terms={3: 5})
    c.partition({1, 2}, {3})
    c.elect(1)
    assert c[1].raft.term < 5
    c.heal()
    c.advance(10)
    assert c.leader and c[3].raft.term == c[c.leader].raft.term
    assert c[3].terms == c[c.leader].terms


def test_scenario_56_an_old_term_is_answered_with_the_newer() -> None:
    c = Cluster(3, logs={1: [1, 1], 2: [1, 1], 3: [1]}, terms={3: 5})
    c.partition({1, 2}, {3})
    c.elect(1)
    c.heal()
    c.drop()
    c.wait(0.1)
    c.timeout(1)
    c.deliver(1, 3)
    assert c.in_flight(3, 1) == [StaleTerm(Term(5))]
    c.deliver(3, 1, StaleTerm)
    assert not c[1].leads and c[1].raft.term == 5


def test_scenario_71_a_wiped_member_and_one_that_never_ran_form_no_cluster() -> None:
    c = Cluster(3, formed=False)
    c.partition({1, 3}, {2})
    c.advance(60)
    assert not c.leader
    # Not the pre-vote alone keeps them from it: two of three votes do not win the first election either.
    c.inject(1, 3, RequestVote(Term(9), Index(0), Term(0), False))
    c.settle()
    assert not c.leader


def test_scenario_71_two_of_three_real_votes_do_not_win_the_first_election() -> None:
    c = Cluster(3, formed=False)
    c.stand(1)
    c.deliver(1, 2, PreVote)
    c.deliver(1, 3, PreVote)
    c.settle_only(PreVoteReply)
    c.partition({1, 3}, {2})
    c.settle()
    assert isinstance(c[1].raft.role, Candidate)
    assert c[1].raft.role.votes == {ReplicaId(1): True, ReplicaId(3): True}


def test_scenario_71_all_together_they_do_and_fix_everyones_incarnation() -> None:
    c = Cluster(3, formed=False)
    c.elect(1)
    c.advance(0.2)
    for replica in c.running():
        assert [member.incarnation for member in replica.raft.configuration.members] == [101, 102, 103]
    c.crash(3)
    c.propose(1, b"from now on a majority is enough")
    c.settle()
    assert c[2].terms == [1, 1]
    c.crash(1)
    c.restart(3)
    c.advance(10)
    assert c.leader in (2, 3)
