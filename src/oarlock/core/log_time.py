"""Log time: milliseconds since the cluster began, the only clock that a state machine may use.

The leader advances it by its own monotonic clock and stamps it on entries and AppendEntries; every replica advances
the highest it has heard by *its* monotonic clock; votes carry it, and a new leader starts from the highest. So it never
goes back along the log, no wall clock can poison it, and the idle time before a failover is not lost. (Time in which
no replica runs is: it restarts from the last entry's.)
"""


class LogTime:
    """The highest log time this replica knows of."""

    def __init__(self, time_ms: int, now: float) -> None:
        self._heard_ms = time_ms
        self._heard_at = now

    def at(self, now: float) -> int:
        """Log time now, in milliseconds."""
        return self._heard_ms + max(0, int((now - self._heard_at) * 1000))

    def heard(self, time_ms: int, now: float) -> None:
        """Another replica's log time: the higher one counts."""
        if time_ms > self.at(now):
            self._heard_ms = time_ms
            self._heard_at = now
