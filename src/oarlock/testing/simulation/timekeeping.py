"""Log time against the clocks of the world: it may run no faster than the fastest of them, nor stand still.

Whoever replays a log believes the times in it; that they are true can only be seen from outside. A lifetime that ends
early or late is a wrong answer all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from oarlock.core.invariants import Invariant
from oarlock.testing.simulation.host import Host, HostClock

SLOWEST, FASTEST = 0.9, 1.1
"""Seconds a second, of any clock; what goes beyond is a jump."""
OFTEN_S = 0.05
"""Clocks are read at least as often, while anybody moves."""
SLACK_MS = 2
"""For times in whole milliseconds."""

LOG_TIME_IS_NOT_AHEAD = Invariant(
    "LOG_TIME_IS_NOT_AHEAD",
    "no entry has a time that no clocks could have come to since the cluster began, in milliseconds",
    lambda entry_ms, limit_ms: entry_ms <= limit_ms + SLACK_MS,
)
LOG_TIME_GOES_ON = Invariant(
    "LOG_TIME_GOES_ON",
    "a replica advances the log time that it knows of by its own clock, in milliseconds",
    lambda advanced_ms, elapsed_ms: advanced_ms >= elapsed_ms - SLACK_MS,
)


class _Life(msgspec.Struct, frozen=True):
    """When a life was first looked at."""

    number: int
    now_s: float
    log_time_ms: int


class Timekeeping:
    """Watches the log time of every replica, and all their clocks."""

    def __init__(self, clocks: Sequence[HostClock]) -> None:
        self._clocks = list(clocks)
        self._read_s = [clock.monotonic_s() for clock in clocks]
        self._at_s = 0.0
        self._limit_ms = 0.0
        self._lives: dict[int, _Life] = {}

    def watch(self, clock: HostClock) -> None:
        """One more."""
        self._clocks.append(clock)
        self._read_s.append(clock.monotonic_s())

    def stepped(self, host: Host) -> None:
        """Look at a replica that has moved.

        :raises InvariantViolated: its log is ahead of all clocks, or its log time behind its own.
        """
        assert host.node is not None
        raft = host.node._raft
        now_s = host.loop.now
        if now_s > self._at_s + OFTEN_S or raft.log.last_time_ms > self._limit_ms:
            self._advance(now_s)
        LOG_TIME_IS_NOT_AHEAD.require(raft.log.last_time_ms, self._limit_ms)
        log_time_ms = raft.log_time.at(raft.now)
        life = self._lives.get(host.id)
        if life is None or life.number != host.lives:
            self._lives[host.id] = _Life(host.lives, raft.now, log_time_ms)
        else:
            LOG_TIME_GOES_ON.require(log_time_ms - life.log_time_ms, 1000 * (raft.now - life.now_s))

    def latest_ms(self, now_s: float) -> float:
        """What log time can have come to by now, by the fastest of clocks."""
        if now_s > self._at_s:
            self._advance(now_s)
        return self._limit_ms + SLACK_MS

    def _advance(self, now_s: float) -> None:
        """The leaders of a stretch of time may have been any, so the fastest clock counts; and whoever's clock jumped
        may have passed that on to the next."""
        length_s, self._at_s = now_s - self._at_s, now_s
        before_s, self._read_s = self._read_s, [clock.monotonic_s() for clock in self._clocks]
        elapsed_s = [after - before for after, before in zip(self._read_s, before_s, strict=True)]
        jumps_s = [elapsed - SLOWEST * length_s for elapsed in elapsed_s if elapsed > FASTEST * length_s + 1e-6]
        self._limit_ms += 1000 * (FASTEST * length_s + sum(jumps_s) if jumps_s else max(elapsed_s))
