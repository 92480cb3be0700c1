"""Simulated machines: the lives of a replica, and clocks of their own."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.host import Host, HostClock
from oarlock.testing.simulation.library import Library, Program
from oarlock.testing.simulation.trace import Trace
from tests.testing.simulation.machines import Words, use_words
from tests.testing.simulation.world import World


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three replicas that have formed a cluster, and nobody who uses them."""
    cluster = Cluster(Library(Program(Words, use_words)), 3, Random(1), Trace())
    cluster.start(0)
    assert cluster.loop.run(10, cluster.leader)
    cluster.loop.run(cluster.loop.now + 1)
    yield cluster
    cluster.loop.end()


def leader(cluster: Cluster) -> Host:
    found = cluster.leader()
    assert found is not None
    return found


def leads_again(cluster: Cluster, but: Host) -> bool:
    """Whether soon another than this one leads."""
    return cluster.loop.run(cluster.loop.now + 5, lambda: cluster.leader() not in (None, but))


def test_a_killed_replica_stays_down_until_it_is_started_and_then_has_its_log(cluster: Cluster) -> None:
    host = leader(cluster)
    host.crash()
    assert (host.running, host.node) == (False, None)
    assert leads_again(cluster, host)
    host.start()
    host.start()  # it runs already
    cluster.loop.run(cluster.loop.now + 3)
    assert host.lives == 2
    assert host.node is not None
    assert host.node._raft.leader == leader(cluster).id
    assert len({one.node._raft.log.last_index for one in cluster.hosts if one.node is not None}) == 1
    assert not cluster.violations


def test_a_host_without_power_cannot_start_anything(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    host.lose_power()
    host.start()
    assert not host.running
    host.restore_power()
    cluster.loop.run(cluster.loop.now + 3)
    assert host.node is not None
    assert host.lives == 2


def test_a_replica_that_stops_in_good_order_hands_over_and_is_started_again(cluster: Cluster) -> None:
    host = leader(cluster)
    host.stop()
    began = cluster.loop.now
    assert leads_again(cluster, host)
    assert cluster.loop.now - began < 0.5  # no timeout had to pass
    cluster.loop.run(cluster.loop.now + 4)
    assert host.lives == 2
    assert host.node is not None


def test_a_paused_replica_is_replaced_and_goes_on_as_a_follower(cluster: Cluster) -> None:
    host = leader(cluster)
    host.pause()
    host.pause()
    assert leads_again(cluster, host)
    cluster.loop.run(cluster.loop.now + 2)
    assert host.paused
    host.resume()
    cluster.loop.run(cluster.loop.now + 1)
    assert host.paused_s > 2
    assert host.lives == 1
    assert host.node is not None
    assert host.node._raft.leader == leader(cluster).id != host.id
    assert not cluster.violations


def test_a_replica_whose_disk_fails_ends_and_is_started_again_by_whoever_watches(cluster: Cluster) -> None:
    host = leader(cluster)
    host.disk_failed = host.disk.troubles.failing = True
    cluster.more_clients(2)
    assert cluster.loop.run(cluster.loop.now + 5, lambda: host.lives == 2)
    assert not cluster.violations


def test_a_replica_that_ends_without_a_reason_is_a_violation(cluster: Cluster) -> None:
    host = leader(cluster)
    host.disk.troubles.failing = True  # of which nobody was told
    cluster.more_clients(2)
    assert cluster.loop.run(cluster.loop.now + 5, lambda: cluster.violations)
    assert cluster.violations[0].startswith(f"replica {host.id} must not have stopped: ")


# Clocks


def test_a_clock_runs_at_its_rate_and_never_jumps() -> None:
    world = World()
    clock = HostClock(world.loop, 1000.0, 5_000)
    world.go(10)
    assert clock.monotonic_s() == pytest.approx(1010)
    clock.set_rate(1.1)
    assert clock.monotonic_s() == pytest.approx(1010)
    world.go(20)
    assert clock.monotonic_s() == pytest.approx(1021)
    clock.set_rate(0.5)
    world.go(30)
    assert clock.monotonic_s() == pytest.approx(1026)


def test_the_time_of_day_may_jump_and_leaves_the_clock_alone() -> None:
    world = World()
    clock = HostClock(world.loop, 1000.0, 5_000)
    world.go(1)
    assert clock.wall_ms() == 6_000
    clock.wall_offset_ms += 10**12
    assert clock.wall_ms() == 10**12 + 6_000
    assert clock.monotonic_s() == pytest.approx(1001)


def test_hosts_have_clocks_of_their_own(cluster: Cluster) -> None:
    assert len({host.clock.monotonic_s() for host in cluster.hosts}) == 3
    assert len({host.clock.wall_ms() for host in cluster.hosts}) == 3
