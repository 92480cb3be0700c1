"""Log time: it never goes back along the log, is not lost with a leader, and no wall clock has a part in it."""

from oarlock.core.log_time import LogTime
from oarlock.testing.script.cluster import Cluster

IDLE_S = 60.0


def test_the_highest_time_heard_counts_and_goes_on_by_this_replicas_clock() -> None:
    time = LogTime(1_000, now=50.0)
    assert time.at(50.5) == 1_500
    time.heard(900, now=50.5)
    assert time.at(50.5) == 1_500, "an older time is no news"
    time.heard(9_000, now=51.0)
    assert time.at(51.25) == 9_250
    assert time.at(49.0) == 9_000, "it does not go back, whatever it is asked"


def test_70_idle_time_is_not_lost_in_a_failover() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"before")
    c.deliver_all()
    before = c[1].raft.log.between(2, 2)[0].time_ms
    c.run(IDLE_S)
    c.crash(1)
    c.elect(2)
    c.deliver_all()
    c.propose(2, b"after")
    c.deliver_all()
    after = c[2].raft.log.between(c[2].raft.log.last_index, c[2].raft.log.last_index)[0].time_ms
    assert IDLE_S * 1000 * 0.99 <= after - before <= IDLE_S * 1000 * 1.2


def test_55_a_replica_that_just_started_hears_the_time_from_the_leader() -> None:
    c = Cluster(3)
    c.elect(1)
    c.crash(3)
    c.run(IDLE_S)
    c.restart(3)
    fresh = c[3].raft
    assert fresh.log_time.at(fresh.now) < 10_000, "what it knows is its last entry's time"
    c.run(1)
    assert fresh.log_time.at(fresh.now) >= IDLE_S * 1000 * 0.99


def test_55_a_new_leader_goes_on_from_its_voters_time() -> None:
    c = Cluster(3)
    c.elect(1)
    c.crash(3)
    c.run(IDLE_S)
    c.crash(1)
    c.restart(3)
    c.elect(3)
    c.deliver_all()
    log = c[3].raft.log
    assert log.between(log.last_index, log.last_index)[0].time_ms >= IDLE_S * 1000 * 0.99, "a vote told it"


def test_times_never_decrease_along_the_log() -> None:
    c = Cluster(3)
    c.elect(1)
    for leader in (1, 2, 3):
        for _ in range(3):
            c.propose(leader, b"x")
            c.run(0.05)
        c.deliver_all()
        if leader < 3:
            c.hand_over(leader, leader + 1)
            c.deliver_all()
    times = [entry.time_ms for entry in c[1].raft.log.between(1, c[1].raft.log.last_index)]
    assert times == sorted(times)
    assert times[-1] > 0
