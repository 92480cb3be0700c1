"""The node's one timer, and why it is sometimes late on purpose.

A process that was stopped, or whose loop stalled, wakes up with timers that are long overdue and with messages
that arrived meanwhile still in its sockets. Acted on in the wrong order, the timers depose a healthy leader. So a
timer that is late is acted on only after the loop has looked at its sockets and nothing new came out of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from oarlock.node.clock import Clock

QUIET_POLLS = 2
"""Polls of the sockets in a row that must bring nothing. One is not enough: loops differ in whether they run ready
callbacks before or after they poll."""
MOST_POLLS = 1000
"""A flood of input may put off a late timer by this much and no more."""


class TurnTimer:
    """Calls ``on_time(now)`` at or after the time set, and after the input that arrived before it."""

    def __init__(
        self, clock: Clock, on_time: Callable[[float], None], late_s: float, inputs_seen: Callable[[], int]
    ) -> None:
        self._clock = clock
        self._on_time = on_time
        self._late_s = late_s
        self._inputs_seen = inputs_seen
        self._loop = asyncio.get_running_loop()
        self._when = float("inf")
        """When to act."""
        self._armed_for = float("inf")
        self._handle: asyncio.Handle | None = None

    def set(self, when: float) -> None:
        """Act at ``when`` instead of what was set before. A timer that is armed for earlier is left alone: it will
        find that it is not time yet, which is cheaper than re-arming in every turn."""
        self._when = when
        if when < self._armed_for:
            self.cancel()
            self._arm(when)

    def cancel(self) -> None:
        """Forget it."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._armed_for = None, float("inf")

    def _arm(self, when: float) -> None:
        self._armed_for = when
        self._handle = self._loop.call_later(max(0.0, when - self._clock.monotonic_s()), self._fired)

    def _fired(self) -> None:
        self._handle, self._armed_for = None, float("inf")
        now = self._clock.monotonic_s()
        if now < self._when:
            if self._when != float("inf"):
                self._arm(self._when)
        elif now - self._when < self._late_s:
            self._on_time(now)
        else:
            self._armed_for = -float("inf")  # nothing else may arm it before the input has been drained
            self._await_quiet(self._inputs_seen(), 0, 0)

    def _await_quiet(self, seen: int, quiet: int, polls: int) -> None:
        inputs = self._inputs_seen()
        quiet = quiet + 1 if inputs == seen else 0
        if quiet > QUIET_POLLS or polls >= MOST_POLLS:
            self._armed_for = float("inf")
            self._on_time(self._clock.monotonic_s())
        else:
            self._handle = self._loop.call_soon(self._await_quiet, inputs, quiet, polls + 1)
