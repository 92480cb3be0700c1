"""Reads without commits: what takes counting, and so is no script. The others are in tests/scenarios."""

import pytest

from oarlock.core.messages import AppendEntries
from oarlock.core.roles import Follower
from oarlock.errors import NotLeader
from oarlock.testing.script.cluster import Cluster


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 6, 7])
def test_scenario_44_exactly_a_majority_confirms_commits_and_elects(voters: int) -> None:
    majority = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4}[voters]
    for alive in range(1, voters + 1):
        c = Cluster(voters)
        for number in range(alive + 1, voters + 1):
            c.crash(number)
        c.run(10)
        assert bool(c.leader) is (alive >= majority), f"{alive} of {voters} elect"
        c = Cluster(voters)
        c.elect(1)
        for number in range(alive + 1, voters + 1):
            c.crash(number)
        c.propose(1, b"x")
        read = c.read(1)
        c.heartbeat(1)
        c.deliver_all()
        assert bool(c[1].payloads) is (alive >= majority), f"{alive} of {voters} commit"
        assert read.waiting is (alive < majority), f"{alive} of {voters} confirm a read"


@pytest.mark.parametrize("writes", [False, True])
def test_shortcut_reads_that_keep_a_deaf_leader_in_office(writes: bool) -> None:
    c = Cluster(3)
    c.elect(1)
    for follower in (2, 3):
        c.network.cut(follower, 1)  # followers hear the leader; it does not hear them
    for _ in range(130):
        if writes and c[1].leads:
            c.propose(1, b"x")  # the round rides on the entry
        c.read(1)
        c.run(0.01)
    assert not c[1].leads, "reads do not count as having heard a majority"


def test_shortcut_reads_that_reset_election_timers_more_than_beats_do() -> None:
    c = Cluster(3)
    c.elect(1)
    for follower in (2, 3):
        c.network.cut(follower, 1)
    sent = 0
    for _ in range(90):
        c.read(1)
        sent += len(c.network.between(1, 2, AppendEntries))
        c.run(0.01)
    assert sent <= 2, "while a round is not back, reads send nothing of their own"
    follower = c[2].raft.role
    assert isinstance(follower, Follower)
    deadline = follower.election_deadline
    c.network.partition({1}, {2, 3})
    c.read(1)
    c.deliver_all()
    assert follower.election_deadline == deadline
    c.run(3)
    assert c.leader in (2, 3)


def test_shortcut_reads_that_put_off_heartbeats() -> None:
    c = Cluster(3)
    c.elect(1)
    c.heartbeat(1)
    c.deliver_all()  # from here on every round is confirmed by 2 alone
    for _ in range(300):
        c.read(1)
        c.run(0.01)
        follower = c[3].raft.role
        assert isinstance(follower, Follower)
        late = c.now - follower.heard_at
        assert late <= 1.5 * c.config.heartbeat_s, "3 hears of its leader, although no round needs it"


def test_reads_that_arrive_while_a_round_is_in_flight_share_the_next() -> None:
    c = Cluster(3)
    c.elect(1)
    reads = [c.read(1) for _ in range(51)]
    assert len(c.network.between(1)) == 1
    c.deliver(1, 2)
    c.deliver(2, 1)
    assert [read.waiting for read in reads] == [False] + [True] * 50
    assert len(c.network.between(1)) == 1
    c.deliver_all()
    assert [read.index for read in reads] == [1] * 51


def test_a_follower_refuses_at_once_and_names_the_leader() -> None:
    c = Cluster(3)
    c.elect(1)
    error = c.read(2).error
    assert isinstance(error, NotLeader) and error.leader == 1
