"""What one input may cost: a second of processor time, and no memory that stays or is merely reserved.

Processor time, because a machine that does other things as well makes any wall clock wrong.
"""

import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

SLOW_S = 1.0
"""Processor time after which an input counts as a hang."""
MAX_GROWTH_MIB = 128.0
"""How much the process may grow over a run. What the fuzzer itself keeps (inputs that reached new code) is in it."""
MAX_RESERVED_BYTES = 2 << 30
"""Address space that may be reserved beyond what the process has at the start, touched or not."""
WARM_UP = 2_000
"""Inputs before growth is counted from: imports, caches and the first of everything."""


class TooSlow(Exception):
    """An input took more than :data:`SLOW_S`."""


class TooLarge(Exception):
    """The process has grown by more than it may."""


class Guard:
    """Wraps a target's check, and counts. One per process."""

    def __init__(self, check: Callable[[bytes], None], max_growth_mib: float = MAX_GROWTH_MIB) -> None:
        self._check = check
        self._max_growth_mib = max_growth_mib
        self.inputs = 0
        self.slowest_s = 0.0
        self._baseline_mib = 0.0
        self._ticked_at = 0
        self._within = False

    def watch(self) -> None:
        """Interrupt an input that does not end, and let large reservations fail."""
        size_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes + MAX_RESERVED_BYTES, resource.RLIM_INFINITY))
        self.tick_every(SLOW_S)

    def tick_every(self, seconds: float) -> None:
        """Look so often, in processor time, whether an input has ended. Never, for 0."""
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, seconds, seconds)

    def __call__(self, data: bytes) -> None:
        """Check one input. Raises what the check raises, and :class:`TooSlow` and :class:`TooLarge`."""
        self.inputs += 1
        began = time.process_time()
        self._within = True
        try:
            self._check(data)
        finally:
            self._within = False
        took = time.process_time() - began
        if took > self.slowest_s:
            self.slowest_s = took
            if took > SLOW_S:
                raise TooSlow(f"{took:.2f} s of processor time for {len(data)} bytes")
        if self.inputs % WARM_UP == 0:
            self._weigh()

    @property
    def growth_mib(self) -> float:
        """By how much the most memory that the process ever had has grown since it was warm."""
        return max(0.0, _peak_mib() - self._baseline_mib) if self._baseline_mib else 0.0

    def _weigh(self) -> None:
        if self.inputs == WARM_UP:
            self._baseline_mib = _peak_mib()
        elif self.growth_mib > self._max_growth_mib:
            raise TooLarge(f"the process has grown by {self.growth_mib:.0f} MiB in {self.inputs} inputs")

    def _tick(self, number: int, frame: FrameType | None) -> None:
        # Two ticks within one input: it has had at least the time between them.
        if self._within and self._ticked_at == self.inputs:
            self._ticked_at = 0
            raise TooSlow("an input does not end within about a second of processor time")
        self._ticked_at = self.inputs if self._within else 0


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
