"""Log time is as fast as the clocks of the world, whatever those do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from oarlock.core.log_time import LogTime
from oarlock.errors import InvariantViolated
from oarlock.testing.simulation.host import HostClock
from oarlock.testing.simulation.timekeeping import Timekeeping


class Watched:
    """Hosts whose replicas do nothing but keep time, as told by ``speed`` and by each other."""

    def __init__(self, *speeds: float) -> None:
        self.loop = SimpleNamespace(now=0.0)
        self.clocks = [HostClock(self.loop, 1000.0 * number, 0) for number in range(len(speeds))]  # type: ignore[arg-type]
        self.judge = Timekeeping(self.clocks)
        self.hosts: list[Any] = []
        self.speeds = speeds
        for id, clock in enumerate(self.clocks):
            raft = SimpleNamespace(log=SimpleNamespace(last_time_ms=0), log_time=LogTime(0, clock.monotonic_s()), now=0)
            node = SimpleNamespace(_raft=raft)
            self.hosts.append(SimpleNamespace(id=id, lives=1, loop=self.loop, node=node))

    def go(self, seconds: float, leader: int = 0) -> None:
        """Entries are stamped and heard of, ten times a second."""
        for _ in range(round(seconds * 10)):
            self.loop.now += 0.1
            for host, clock in zip(self.hosts, self.clocks, strict=True):
                host.node._raft.now = clock.monotonic_s()
            raft = self.hosts[leader].node._raft
            stamp = int(raft.log_time.at(raft.now) * self.speeds[leader])
            for host in self.hosts:
                raft = host.node._raft
                raft.log.last_time_ms = max(raft.log.last_time_ms, stamp)
                raft.log_time.heard(stamp, raft.now)
                self.judge.stepped(host)


def test_clocks_that_go_as_they_should_are_no_news() -> None:
    Watched(1, 1, 1).go(60)


def test_drift_and_jumps_are_passed_on_from_leader_to_leader() -> None:
    world = Watched(1, 1, 1)
    for turn in range(40):
        leader = turn % 3
        world.clocks[leader].set_rate((0.9, 1.1, 0.99)[turn % 3])
        world.go(0.7, leader)
        world.clocks[(turn + 1) % 3].jump((0.2, 1.0, 5.0)[turn % 3])
        world.clocks[leader].set_rate(1.0)
    assert world.hosts[0].node._raft.log.last_time_ms > 60_000


def test_a_log_that_is_ahead_of_every_clock_is_noticed() -> None:
    with pytest.raises(InvariantViolated, match="LOG_TIME_IS_NOT_AHEAD"):
        Watched(1.05, 1, 1).go(5)


def test_what_log_time_can_be_follows_the_fastest_clock_and_every_jump() -> None:
    world = Watched(1, 1, 1)
    world.clocks[1].set_rate(1.1)
    world.go(10)
    assert 11_000 <= world.judge.latest_ms(world.loop.now) < 11_100
    world.clocks[2].jump(5)
    world.loop.now += 0.01
    assert 16_000 <= world.judge.latest_ms(world.loop.now) < 16_200


def test_a_replica_that_lags_behind_its_own_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Watched(1, 1, 1)
    world.go(1)
    monkeypatch.setattr(LogTime, "at", lambda self, now: 0)
    with pytest.raises(InvariantViolated, match="LOG_TIME_GOES_ON"):
        world.go(1)


def test_a_life_begins_at_the_last_entry_s_time() -> None:
    """Time in which nobody runs is lost, and that is no breach."""
    world = Watched(1, 1, 1)
    world.go(5)
    for host, clock in zip(world.hosts, world.clocks, strict=True):
        host.lives += 1
        clock.jump(100)
        raft = host.node._raft
        raft.log_time = LogTime(raft.log.last_time_ms, clock.monotonic_s())
    world.go(5)
