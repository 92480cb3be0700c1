"""Replicas that die by ``kill -9`` or are asked to stop, under load."""

import signal
import statistics
import time
from pathlib import Path

import pytest

from tests.process.conftest import ClusterOf
from tests.process.load import Load
from tests.process.replicas import Process, until


def acknowledges(load: Load, more: int) -> None:
    """Wait until so many more writes are acknowledged."""
    enough = len(load.acknowledged_at) + more
    until(lambda: len(load.acknowledged_at) > enough, "writes go on")


def seconds(outages: list[float]) -> str:
    return " ".join(f"{outage:.3f}" for outage in outages)


@pytest.mark.long
def test_kill_9_of_the_leader_five_times_in_a_row_loses_nothing(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    outages = []
    with Load(lambda: cluster.living, clients=8) as load:
        for _ in range(5):
            acknowledges(load, 50)
            leader = cluster.leader()
            killed_at = time.monotonic()
            leader.kill()
            cluster.leader()
            acknowledges(load, 100)
            outages.append(load.longest_pause(killed_at))
            leader.start()
            until(lambda dead=leader: dead.knows_a_leader, "it is back")  # type: ignore[misc]
    cluster.caught_up()
    for replica in cluster.all:
        load.check(replica)
    assert load.told == [], "a client of a living replica rides through the failover"
    print(f"outages by kill -9: {seconds(outages)} s; {len(load.acknowledged)} writes acknowledged")
    assert statistics.median(outages) < 0.5, seconds(outages)


def test_scenario_65_all_replicas_are_killed_at_once_and_everything_acknowledged_is_there(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3)
    with Load(lambda: cluster.living, clients=4) as load:
        for _ in range(2):
            acknowledges(load, 50)
            for replica in cluster.all:
                replica.signal(signal.SIGKILL)
            for replica in cluster.all:
                replica.kill()
                replica.start()
            cluster.leader()
    for replica in cluster.all:
        load.check(replica)


@pytest.mark.long
def test_a_rolling_restart_by_sigterm_hands_over_and_only_clients_of_the_stopped_replica_notice(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3)
    outages: list[float] = []

    def restart(replica: Process, load: Load) -> None:
        acknowledges(load, 20)
        told = len(load.errors)
        leads = cluster.leader() is replica
        stopped_at = time.monotonic()
        assert replica.end() == 0
        acknowledges(load, 50)
        if leads:
            outages.append(load.longest_pause(stopped_at))
            assert "hands its leadership over" in replica.last_words()
        replica.start()
        until(lambda: replica.knows_a_leader, "it is back")
        assert all(error.replica == replica.number for error in load.errors[told:]), load.errors[told:]

    with Load(lambda: cluster.living, clients=6) as load:
        waiting = list(cluster.all)
        while waiting:
            leader = cluster.leader()
            replica = leader if leader in waiting else waiting[0]
            waiting.remove(replica)
            restart(replica, load)
        while len(outages) < 3:
            restart(cluster.leader(), load)

    assert all("UNKNOWN" not in error.text and "Timeout" not in error.text for error in load.told), load.told
    cluster.caught_up()
    for replica in cluster.all:
        load.check(replica)
    print(f"outages by hand-over: {seconds(outages)} s; {len(load.acknowledged)} writes acknowledged")
    assert statistics.median(outages) < 0.3, seconds(outages)


@pytest.mark.long
def test_a_replica_started_before_its_predecessor_has_ended_takes_over(cluster_of: ClusterOf) -> None:
    """The successor finds the directory locked and the ports in use, and waits for them."""
    cluster = cluster_of(3)
    with Load(lambda: cluster.living, clients=3) as load:
        for end in (signal.SIGTERM, signal.SIGKILL):
            acknowledges(load, 50)
            leader = cluster.leader()
            predecessor = leader.process
            assert predecessor is not None
            leader.start()
            successor = leader.processes[-1].pid
            until(lambda pid=successor: _has_an_event_loop(pid), "the successor has begun")  # type: ignore[misc]
            predecessor.send_signal(end)
            ended_at = time.monotonic()
            predecessor.wait(10)
            until(lambda here=leader: here.knows_a_leader, "the successor takes part", 5.0)  # type: ignore[misc]
            print(f"back {time.monotonic() - ended_at:.2f} s after {end.name}")
            assert leader.runs
    for replica in cluster.all:
        load.check(replica)


def _has_an_event_loop(pid: int) -> bool:
    """Whether the process has come so far that its next act is to lock its directory."""
    return any(link.readlink().name == "anon_inode:[eventpoll]" for link in Path(f"/proc/{pid}/fd").iterdir())
