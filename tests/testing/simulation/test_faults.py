"""Faults end: what two of them did to one thing is undone when both are over, in whatever order they began."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.faults import KINDS, Fault, begin
from oarlock.testing.simulation.keyvalue import KeyValueStore
from oarlock.testing.simulation.network import Conditions
from oarlock.testing.simulation.trace import Trace

DRAWS = range(6)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three replicas, up and at peace, without clients."""
    cluster = Cluster(KeyValueStore(), 3, Random(1), Trace())
    cluster.start(0)
    assert cluster.loop.run(10, lambda: cluster.leader() is not None)
    yield cluster
    cluster.loop.end()


def begins(cluster: Cluster, kind: str, lasts_s: float, draw: int) -> None:
    begin(cluster, Fault(cluster.loop.now, kind, lasts_s, draw))


def is_healed(cluster: Cluster) -> bool:
    paths = [(one.address, other.address) for one in cluster.hosts for other in cluster.hosts]
    return all(cluster.wires.conditions(path) == Conditions() for path in paths) and all(
        host.process is not None
        and host.process.slowness == 1
        and not host.paused
        and host.clock._rate == 1
        and host.disk.capacity_bytes is None
        and (host.disk.troubles.stalled, host.disk.troubles.slowness, host.disk.troubles.failing) == (False, 1, False)
        for host in cluster.hosts
        if not host.broken
    )


@pytest.mark.parametrize("first_ends_first", [True, False], ids=["overlapping", "one in the other"])
@pytest.mark.parametrize("kind", KINDS)
def test_of_two_faults_at_a_time_nothing_is_left(cluster: Cluster, kind: str, first_ends_first: bool) -> None:
    loop = cluster.loop
    for draw in DRAWS:
        begins(cluster, kind, 0.2 if first_ends_first else 0.4, draw)
        loop.run(loop.now + 0.1)
        begins(cluster, kind, 0.2, draw + 100)
        loop.run(loop.now + 0.05)
    loop.run(loop.now + 0.5)
    # Whoever ended by itself is started again within 1.5 s.
    assert loop.run(loop.now + 10, lambda: is_healed(cluster))
    assert not cluster.violations


def test_while_one_of_two_faults_lasts_the_stronger_counts() -> None:
    path = Conditions()
    path.bring("loss", 0.1)
    path.bring("loss", 0.4)
    path.bring("loss", 0.4)
    assert path.loss == 0.4
    path.take_back("loss", 0.4)
    path.take_back("loss", 0.1)
    assert path.loss == 0.4
    path.take_back("loss", 0.4)
    assert path == Conditions()


def test_delays_add_up_and_leave_nothing() -> None:
    path = Conditions()
    for delay_s in (0.005, 0.05, 0.3):
        path.bring("extra_s", delay_s)
    assert path.extra_s == pytest.approx(0.355)
    for delay_s in (0.005, 0.3, 0.05):
        path.take_back("extra_s", delay_s)
    assert path == Conditions()
