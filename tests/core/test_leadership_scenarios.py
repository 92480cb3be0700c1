"""How a leadership ends, and what must not end it: what takes clocks and many seeds, and so is no script.

The others are in tests/scenarios.
"""

import itertools

import pytest

from oarlock.core.messages import RequestVote
from oarlock.testing.script.cluster import Cluster
from oarlock.types import Index, Term


def established() -> Cluster:
    c = Cluster(3)
    c.elect(1)
    c.run(0.5)
    return c


@pytest.mark.parametrize("seed", range(40))
def test_the_deadline_that_a_leader_names_is_late_enough_to_step_down(seed: int) -> None:
    """``(heard + timeout) - heard`` may be less than ``timeout``; then acting at the deadline would change nothing."""
    c = Cluster(2, seed=seed)
    c.elect(1)
    c.network.partition({1}, {2})
    for _ in range(100):
        if not c[1].leads:
            return
        c.timeout(1)
    raise AssertionError("its deadline passes, and passes again, and it still leads")


def test_scenario_57_a_new_link_alone_puts_no_election_off_or_forward() -> None:
    c = established()
    deadlines = [c[follower].raft.deadline() for follower in (2, 3)]
    for follower in (2, 3):
        c.reconnect(1, follower)
    assert [c[follower].raft.deadline() for follower in (2, 3)] == deadlines


def test_quick_retries_are_few_and_then_normal_timeouts_rule() -> None:
    c = established()
    c.crash(1)
    c.crash(3)
    c.report_gone(1, observer=2)
    attempts = []
    for _ in range(c.config.failover_retries + 3):
        c.timeout(2)
        attempts.append(c.now)
        c.deliver_all()
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert max(gaps[: c.config.failover_retries - 1]) <= c.config.failover_retry_max_s
    assert min(gaps[-2:]) >= c.config.election_min_s


def test_news_about_a_former_leader_is_ignored() -> None:
    c = established()
    c.hand_over(1, 2)
    c.run(0.5)
    assert c.leader == 2
    deadline = c[3].raft.deadline()
    c.report_gone(1, observer=3)
    assert c[3].raft.deadline() == deadline


def test_a_higher_term_from_a_disturber_does_not_put_off_an_election() -> None:
    c = established()
    c.crash(1)
    deadline = c[2].raft.deadline()
    c.wait(1.0)
    c.inject(3, 2, RequestVote(Term(2), Index(0), Term(0), True))
    assert c[2].raft.term == 2
    assert c[2].raft.deadline() == deadline


def test_a_hand_over_takes_no_time() -> None:
    c = established()
    now = c.now
    c.hand_over(1, 3)
    c.deliver_all()
    assert (c.leader, c.now) == (3, now)
