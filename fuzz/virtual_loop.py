"""An event loop without an operating system: callbacks in order, and time that passes when it is told to.

Only what the decoders use of a loop is there. An exception out of a callback comes out of :meth:`VirtualLoop.run`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MOST_CALLBACKS = 100_000
"""More within one run than any input can call for."""


class VirtualLoop:
    """See the module."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._now_s = 0.0

    @contextmanager
    def running(self) -> Iterator["VirtualLoop"]:
        """Within it, this is the running loop."""
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        try:
            yield self
        finally:
            asyncio._set_running_loop(None)

    def run(self) -> None:
        """Run what is due, and what comes of it."""
        for _ in range(MOST_CALLBACKS):
            if not self._ready:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._callback(*handle._args)  # type: ignore[attr-defined]
        raise AssertionError("callbacks call each other without end")

    def pass_time(self, seconds: float) -> None:
        """Let timers come due, and run."""
        self._now_s += seconds
        due = [timer for timer in self._timers if timer.when() <= self._now_s]
        self._timers = [timer for timer in self._timers if timer.when() > self._now_s]
        due.sort(key=asyncio.TimerHandle.when)
        self._ready.extend(due)
        self.run()

    # The part of asyncio.AbstractEventLoop that is used

    def time(self) -> float:
        return self._now_s

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)  # type: ignore[arg-type]
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        timer = asyncio.TimerHandle(when, callback, args, self, context)  # type: ignore[arg-type]
        self._timers.append(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if handle in self._timers:
            self._timers.remove(handle)


def finish(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing but its turn."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
