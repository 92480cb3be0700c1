"""The Clock seam. Inside asyncio it is the running loop's, so that a loop of virtual time is all a simulation needs."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What a node may know of time."""

    def monotonic_s(self) -> float:
        """Seconds that never go back; the origin means nothing."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970, for people. Decides nothing."""
        ...


class LoopClock:
    """The clock of the running event loop, and the machine's wall clock."""

    def __init__(self) -> None:
        self._loop_time = asyncio.get_running_loop().time

    def monotonic_s(self) -> float:
        return self._loop_time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
