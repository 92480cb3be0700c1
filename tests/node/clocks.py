"""Clocks of replicas that a test sets, jumps and stops."""

import asyncio
import time


class Clock:
    """Goes on by itself until it is stopped; whatever the machine's clock is, this one may be elsewhere."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ahead_s = -self._loop.time()  # no clock says when it began: a machine may just have been started
        self.wall_ahead_ms = 0
        self._stands_at: float | None = None

    def monotonic_s(self) -> float:
        return self._loop.time() + self.ahead_s if self._stands_at is None else self._stands_at

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.wall_ahead_ms

    def stop(self) -> None:
        """Stand still."""
        self._stands_at = self.monotonic_s()

    def go_on(self) -> None:
        """Go on from where it stood."""
        if self._stands_at is not None:
            self.ahead_s = self._stands_at - self._loop.time()
            self._stands_at = None


class Clocks:
    """One for each replica, which it keeps when it starts again."""

    def __init__(self) -> None:
        self._clocks: dict[int, Clock] = {}

    def of(self, replica: int) -> Clock:
        return self._clocks.setdefault(replica, Clock())

    def jump(self, seconds: float) -> None:
        """All of them, as when time passes and nothing happens."""
        for clock in self._clocks.values():
            clock.ahead_s += seconds
