"""How a leadership ends: check-quorum, fast failover, hand-over; and what must not end it."""

import itertools

import pytest

from oarlock.core.messages import AppendEntries, PreVote, RequestVote, TimeoutNow
from oarlock.core.roles import Candidate, Follower, Leader, PreCandidate
from oarlock.errors import NotLeader
from tests.core.cluster import Cluster


def established(voters: int = 3) -> Cluster:
    c = Cluster(voters)
    c.elect(1)
    c.advance(0.5)
    return c


# ── check-quorum ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_leader_that_hears_no_majority_steps_down_after_an_election_timeout() -> None:
    c = established(5)
    c.partition({1, 2}, {3, 4, 5})
    c.advance(c.config.election_min_s - c.config.heartbeat_s - 0.01)
    assert c[1].leads
    c.advance(c.config.heartbeat_s + 0.02)
    assert not c[1].leads


@pytest.mark.parametrize("seed", range(40))
def test_the_deadline_that_a_leader_names_is_late_enough_to_step_down(seed: int) -> None:
    """``(heard + timeout) - heard`` may be less than ``timeout``; then acting at the deadline would change nothing."""
    c = Cluster(2, seed=seed)
    c.elect(1)
    c.partition({1}, {2})
    for _ in range(100):
        if not c[1].leads:
            return
        c.wait(c[1].raft.deadline() - c.now)
        c.timeout(1)
    raise AssertionError("its deadline passes, and passes again, and it still leads")


# ── what a broken connection means ───────────────────────────────────────────────────────────────────────────────


def test_scenario_57_a_middlebox_resets_all_connections_of_a_healthy_leader() -> None:
    c = established()
    c.propose(1, b"x")
    read = c.read(1)
    for follower in (2, 3):
        c.reconnect(1, follower)  # all that was on its way is lost
    c.settle()
    assert c[1].payloads == [b"x"], "entries are sent again at once"
    c.advance(10)
    assert read.index
    assert c.leader == 1 and {replica.raft.term for replica in c.running()} == {1}, "no election"


def test_scenario_57_a_new_link_alone_lifts_no_stickiness() -> None:
    c = established()
    deadlines = [c[follower].raft.deadline() for follower in (2, 3)]
    for follower in (2, 3):
        c.reconnect(1, follower)
        c.drop()
    assert [c[follower].raft.deadline() for follower in (2, 3)] == deadlines
    assert not any(c[follower].raft.role.leader_dead for follower in (2, 3))  # type: ignore[union-attr]


def test_scenario_57_even_where_it_is_taken_for_dead_its_next_message_restores_it() -> None:
    c = established()
    c.process_gone(2, 1)
    role = c[2].raft.role
    assert isinstance(role, Follower) and role.leader_dead
    c.wait(0.1)
    c.timeout(1)
    c.deliver(1, 2, AppendEntries)
    assert not role.leader_dead
    c.advance(10)
    assert c.leader == 1 and c[1].raft.term == 1


def test_one_replica_that_takes_the_leader_for_dead_does_not_depose_it() -> None:
    c = established()
    c.process_gone(2, 1)
    c.stand(2)
    assert isinstance(c[2].raft.role, PreCandidate)
    c.advance(10)
    assert c.leader == 1 and {replica.raft.term for replica in c.running()} == {1}


# ── fast failover ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_leader_whose_process_is_gone_is_replaced_at_once() -> None:
    c = established()
    c.crash(1)
    c.process_gone(2, 1)
    c.process_gone(3, 1)
    c.advance(0.5)
    assert c.leader in (2, 3)


def test_a_sticking_replica_is_made_to_look_for_itself_and_the_retry_finds_it_willing() -> None:
    c = established()
    c.crash(1)
    c.process_gone(2, 1)
    c.stand(2)
    c.deliver(2, 3, PreVote)
    assert c[3].probes == [1]
    c.settle()
    assert not c.leader
    c.process_gone(3, 1)
    c.advance(0.3)
    assert c.leader in (2, 3)


def test_quick_retries_are_few_and_then_normal_timeouts_rule() -> None:
    c = established()
    c.crash(1)
    c.crash(3)
    c.process_gone(2, 1)
    attempts = []
    for _ in range(c.config.failover_retries + 3):
        c.stand(2)
        attempts.append(c.now)
        c.settle()
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert max(gaps[: c.config.failover_retries - 1]) <= c.config.failover_retry_max_s
    assert min(gaps[-2:]) >= c.config.election_min_s


def test_news_about_a_former_leader_is_ignored() -> None:
    c = established()
    c.hand_over(1, 2)
    c.advance(0.5)
    assert c.leader == 2
    deadline = c[3].raft.deadline()
    c.process_gone(3, 1)
    assert c[3].raft.deadline() == deadline


def test_a_higher_term_from_a_disturber_does_not_put_off_an_election() -> None:
    c = established()
    c.crash(1)
    deadline = c[2].raft.deadline()
    c.wait(1.0)
    c.inject(3, 2, RequestVote(c[2].raft.term + 1, c[3].raft.log.last_index - 1, c[3].raft.log.last_term, True))  # type: ignore[arg-type]
    assert c[2].raft.term == 2
    assert c[2].raft.deadline() == deadline


def test_stickiness_no_vote_request_unseats_a_leader_that_works() -> None:
    c = established()
    for voter in (1, 2):
        c.inject(3, voter, RequestVote(c[1].raft.term + 5, c[1].raft.log.last_index, c[1].raft.log.last_term, False))  # type: ignore[arg-type]
    assert {c[1].raft.term, c[2].raft.term} == {1}


# ── hand-over ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hand_over_takes_no_election_timeout() -> None:
    c = established()
    now = c.now
    assert c.hand_over(1, 3)
    c.settle()
    assert (c.leader, c.now) == (3, now)
    c.advance(5)
    assert c.leader == 3


def test_nothing_is_appended_during_a_hand_over_and_the_target_catches_up_first() -> None:
    c = established()
    c.propose(1, b"x")
    c.hold()
    c.hand_over(1, 2)
    assert not c.in_flight(1, 2, TimeoutNow), "2 does not hold everything yet"
    with pytest.raises(AssertionError, match=NotLeader.__name__):
        c.propose(1, b"y")
    c.advance(0.2)
    assert c.leader == 2
    assert c[2].payloads == [b"x"]


def test_a_hand_over_that_does_not_come_about_ends() -> None:
    c = established()
    c.hand_over(1, 2)
    c.drop(1, 2, TimeoutNow)
    c.advance(c.config.election_min_s + 0.01)
    assert c.leader == 1
    c.propose(1, b"x")
    c.settle()
    assert c[1].payloads == [b"x"]


def test_no_hand_over_to_who_could_not_take_over() -> None:
    c = Cluster(3, learners=1)
    c.elect(1)
    c.advance(0.2)
    assert not c.hand_over(1, 4), "a learner"
    assert not c.hand_over(1, 1), "itself"
    assert not c.hand_over(1, 9), "a stranger"
    assert not c.hand_over(2, 3), "no leader"
    c.crash(2)
    c.advance(0.5)
    assert not c.hand_over(1, 2), "silent"
    c.restart(2)
    c.advance(0.2)
    c.crash(2)
    c.restart(2)
    c.drop()
    assert not c.hand_over(1, 2), "just restarted"
    c.advance(0.2)
    assert c.hand_over(1, 2)


def test_no_hand_over_to_a_process_that_is_gone_until_it_is_heard_again() -> None:
    c = established()
    c.process_gone(1, 2)
    assert not c.hand_over(1, 2)
    c.advance(0.2)  # it was not gone after all
    assert c.hand_over(1, 2)


def test_a_hand_over_to_a_process_that_dies_meanwhile_ends_at_once() -> None:
    c = established()
    c.propose(1, b"x")
    c.hold(1, 2)
    c.hand_over(1, 2)
    c.crash(2)
    c.process_gone(1, 2)
    c.propose(1, b"y")
    c.settle()
    assert c[1].payloads == [b"x", b"y"]


def test_a_single_voter_hands_over_to_nobody() -> None:
    c = Cluster(1)
    c.elect(1)
    assert not c.hand_over(1)


def test_only_its_leader_makes_a_follower_stand() -> None:
    c = established()
    c.inject(3, 2, TimeoutNow(c[2].raft.term))
    assert isinstance(c[2].raft.role, Follower)
    c.inject(1, 2, TimeoutNow(c[2].raft.term))
    assert isinstance(c[2].raft.role, Candidate)


def test_two_voters_hand_over() -> None:
    c = established(2)
    c.hand_over(1)
    c.settle()
    assert c.leader == 2
    assert isinstance(c[1].raft.role, Follower) and isinstance(c[2].raft.role, Leader)
