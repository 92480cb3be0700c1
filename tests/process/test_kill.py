"""Replicas that die by ``kill -9`` or are asked to stop, under load."""

import statistics
import time

from tests.process.conftest import ClusterOf
from tests.process.load import Load
from tests.process.replicas import until


def test_kill_9_of_the_leader_five_times_in_a_row_loses_nothing(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    outages = []
    with Load(lambda: cluster.living, clients=8) as load:
        for _ in range(5):
            until(lambda: len(load.acknowledged_at) > 50, "the load runs")
            leader = cluster.leader()
            killed_at = time.monotonic()
            leader.kill()
            cluster.leader()
            seen = len(load.acknowledged_at)
            until(lambda seen=seen: len(load.acknowledged_at) > seen + 100, "writes go on")  # type: ignore[misc]
            outages.append(load.longest_pause(killed_at))
            leader.start()
            until(lambda dead=leader: dead.info()["leader_id"] != "0", "it is back")  # type: ignore[misc]
    cluster.caught_up()
    for replica in cluster.all:
        load.check(replica)
    print("outages:", [f"{outage:.3f} s" for outage in outages], "acknowledged:", len(load.acknowledged))
    assert statistics.median(outages) < 0.5, outages


def test_scenario_65_all_replicas_are_killed_at_once_and_everything_acknowledged_is_there(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3)
    with Load(lambda: cluster.living, clients=4) as load:
        for _ in range(3):
            seen = len(load.acknowledged_at)
            until(lambda seen=seen: len(load.acknowledged_at) > seen + 50, "writes go on")  # type: ignore[misc]
            for replica in cluster.all:
                assert replica.process is not None
                replica.process.kill()
            for replica in cluster.all:
                replica.kill()
                replica.start()
            cluster.leader()
    for replica in cluster.all:
        load.check(replica)


def test_a_rolling_restart_by_sigterm_hands_over_and_is_hardly_noticed(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    with Load(lambda: cluster.living, clients=4) as load:
        until(lambda: len(load.acknowledged_at) > 50, "the load runs")
        leader = cluster.leader()
        for replica in [leader, *(other for other in cluster.all if other is not leader)]:
            stopped_at = time.monotonic()
            assert replica.end() == 0
            seen = len(load.acknowledged_at)
            until(lambda seen=seen: len(load.acknowledged_at) > seen + 20, "writes go on")  # type: ignore[misc]
            assert load.longest_pause(stopped_at) < 1.0
            replica.start()
            until(lambda back=replica: back.info()["leader_id"] != "0", "it is back")  # type: ignore[misc]

    assert not [error for error in load.errors if error.startswith("UNKNOWN")]
    cluster.caught_up()
    for replica in cluster.all:
        load.check(replica)
