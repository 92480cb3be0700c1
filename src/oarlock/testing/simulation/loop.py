"""An event loop of virtual time that runs many processes, each as if it had a loop, a core and a machine of its own.

Real programs run unchanged on it: tasks, futures, timers and callbacks are asyncio's own. What is different is where
things come from. Nothing is read from the operating system; what reaches a process from outside (bytes, a finished
fsync, a timer that is due) is an *event* that the world posts to it. A process takes its events the way a real loop
polls: an **iteration** takes everything that has come so far, in an order that the seed decides (but never out of
order within one source), runs it, and keeps the process busy for some virtual microseconds, during which more gathers.

So batches form, orders vary, and a process can be paused, slowed down, or killed between any two callbacks; and with
one seed all of it happens again, to the byte.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from random import Random
from typing import Any, NamedTuple, TypeVar

from oarlock.testing.simulation.trace import Trace

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 5e-6, 60e-6
"""How long an iteration of a process keeps it busy: from, to."""

MOST_ITERATIONS = 200_000
"""Of all processes in a virtual second. A busy cluster takes a few thousand."""


class Livelock(AssertionError):
    """The processes run without end while hardly any time passes."""


class Event(NamedTuple):
    """Something that reached a process from outside."""

    source: int
    """What comes from one source stays in order."""
    callback: Callable[..., object]
    args: tuple[Any, ...]


class Process:
    """A process of the simulated world. Its callbacks run only while it is neither paused nor dead."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.slowness = 1.0
        """How many times slower than others it is."""
        self.after_iteration: Callable[[], None] | None = None
        """Called behind each of its iterations, by someone who watches."""
        self.on_death: list[Callable[[], None]] = []
        self.ready: deque[asyncio.Handle | Event] = deque()
        self.arrived: list[Event] = []
        self.busy_until = 0.0
        self.iteration_due = False
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop

    def post(self, source: int, callback: Callable[..., object], *args: Any) -> None:
        """Let it find an event when it polls next."""
        if self.alive:
            self.arrived.append(Event(source, callback, args))
            self._loop.wake(self)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task in it."""
        with self._loop.acting(self):
            return self._loop.create_task(coroutine)

    def pause(self) -> None:
        """Stop it as SIGSTOP does."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on. It finds at once what came meanwhile, and that its timers are late."""
        if self.paused:
            self.paused = False
            self._loop.wake(self)

    def kill(self) -> None:
        """End it as SIGKILL does: nothing of it ever runs again, no ``finally`` and no destructor."""
        if self.alive:
            self.alive = False
            self.ready.clear()
            self.arrived.clear()
            for callback in self.on_death:
                callback()


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of the whole world. ``random`` decides orders and durations and nothing else draws from it."""

    def __init__(self, random: Random, trace: Trace) -> None:
        self.trace = trace
        self.now = 0.0
        """Virtual seconds since the world began."""
        self.iterations = 0
        self.troubles: list[str] = []
        """Exceptions that nobody caught: each is a bug of the program under test."""
        self._random = random
        self._agenda: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        """A heap of what happens when. The number makes a total order."""
        self._number = 0
        self._current: Process | None = None
        self._processes: list[Process] = []
        self._over = False

    # The world's side

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(self, name)
        self._processes.append(process)
        return process

    @property
    def current(self) -> Process:
        """The process whose callback runs."""
        assert self._current is not None, "outside every process"
        return self._current

    @contextmanager
    def acting(self, process: Process | None) -> Iterator[None]:
        """Within it, what is called counts as done by this process (or by the world itself)."""
        before, self._current = self._current, process
        try:
            yield
        finally:
            self._current = before

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Let something happen in the world (to no process) at a time."""
        self._number += 1
        heapq.heappush(self._agenda, (when, self._number, callback, args))

    def after(self, delay_s: float, callback: Callable[..., object], *args: Any) -> None:
        """Let something happen in the world (to no process) after so long."""
        self.at(self.now + delay_s, callback, *args)

    def sleep_in(self, process: Process, source: int, delay_s: float) -> asyncio.Future[None]:
        """A future that is done when the process finds, after so long, that something outside has finished."""
        future: asyncio.Future[None] = self.create_future()
        self.after(delay_s, process.post, source, finish, future)
        return future

    def run(self, until: float, condition: Callable[[], object] = lambda: False) -> bool:
        """Let the world go on until a time, or until the condition holds after some event; whether it does."""
        asyncio._set_running_loop(self)
        agenda, pop = self._agenda, heapq.heappop
        try:
            while not condition():
                if not agenda or agenda[0][0] > until:
                    self.now = max(self.now, until)
                    return bool(condition())
                self.now, _, callback, args = pop(agenda)
                callback(*args)
            return True
        finally:
            asyncio._set_running_loop(None)

    def look_for_dead_tasks(self) -> None:
        """Count as trouble every task that died of an exception which nobody has looked at."""
        for process in self._processes:
            for task in process.tasks:
                if task.done() and not task.cancelled() and task._log_traceback:
                    error = task.exception()
                    self.troubles.append(f"{process.name}: a task died of an exception that nobody took: {error!r}")

    def end(self) -> None:
        """The end of the world: let go of every process without another word from it."""
        self._over = True
        asyncio._set_running_loop(self)
        try:
            for process in self._processes:
                process.alive = False
                for task in process.tasks:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    if not task.done():
                        with suppress(BaseException):  # whatever its finally clauses make of it
                            task.get_coro().close()
                process.tasks.clear()
        finally:
            asyncio._set_running_loop(None)
        self._agenda.clear()

    def wake(self, process: Process) -> None:
        """See to it that the process takes an iteration, as soon as it has the time."""
        if not process.iteration_due and not process.paused:
            process.iteration_due = True
            self.at(max(self.now, process.busy_until), self._iterate, process)

    def _iterate(self, process: Process) -> None:
        process.iteration_due = False
        if not process.alive or process.paused:
            return
        self.iterations += 1
        if self.iterations > MOST_ITERATIONS * (1 + self.now):
            raise Livelock(f"{self.iterations:,} iterations in {self.now:.3f} s, the last of {process.name}")
        random = self._random
        ready = process.ready
        waiting = len(ready)
        if process.arrived:
            arrived, process.arrived = process.arrived, []
            ready += _interleaved(arrived, random) if len(arrived) > 1 else arrived
            waiting = len(ready)
        # Known before anything runs: what wakes the process meanwhile has to wait as long.
        process.busy_until = self.now + (SHORTEST_S + (LONGEST_S - SHORTEST_S) * random.random()) * process.slowness
        self._current = process
        while waiting and process.alive and not process.paused:
            next_ = ready.popleft()
            waiting -= 1
            if isinstance(next_, Event):
                self._deliver(next_)
            elif not next_._cancelled:
                next_._run()
        self._current = None
        if not process.alive:
            return
        if process.after_iteration is not None:
            process.after_iteration()
        if ready or process.arrived:
            self.wake(process)

    def _deliver(self, event: Event) -> None:
        """What a handle of its own would do for it, at a fraction of the price."""
        try:
            copy_context().run(event.callback, *event.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # Its name and not its repr, which tells an address: the story of a seed is always the same.
            name = getattr(event.callback, "__qualname__", type(event.callback).__qualname__)
            self.call_exception_handler({"message": f"Exception in callback {name}()", "exception": error})

    # The side of asyncio

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        tasks = self.current.tasks
        if len(tasks) > 64:
            # Those that died of what nobody has looked at are told in the end, and not when garbage is collected.
            tasks[:] = [other for other in tasks if not other.done() or other._log_traceback]
        tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        process = self._current
        if process is not None and process.alive:
            process.ready.append(handle)
            if not process.iteration_due:
                self.wake(process)
        elif not self._over and process is None:
            raise AssertionError(f"{callback!r} is called from outside every process")
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.at(when, self._timer_due, self.current, timer)
        return timer

    def _timer_due(self, process: Process, timer: asyncio.TimerHandle) -> None:
        if not timer._cancelled:
            process.post(_TIMERS, _run_timer, timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it stays on the agenda, and does nothing when its time comes

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        raise NotImplementedError(
            "a simulated process has no threads: what they do in which order no seed could decide (asyncio.to_thread)"
        )

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._over:
            return
        error = context.get("exception")
        where = self._current.name if self._current is not None else "the world"
        self.troubles.append(f"{where}: {context.get('message')}: {error!r}")
        self.trace.tell(self.now, where, f"an exception that nobody caught: {error!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)


_TIMERS = 0
"""The source of timers. They are due in the order of their times."""


def _run_timer(timer: asyncio.TimerHandle) -> None:
    if not timer._cancelled:
        timer._run()


def finish(future: asyncio.Future[None]) -> None:
    """What a future waited for has happened, whether or not anybody waits still."""
    if not future.done():
        future.set_result(None)


def _interleaved(events: list[Event], random: Random) -> list[Event]:
    """The events in a random order, those of one source in theirs."""
    by_source: dict[int, deque[Event]] = {}
    for event in events:
        by_source.setdefault(event.source, deque()).append(event)
    if len(by_source) == 1:
        return events
    order = [event.source for event in events]
    random.shuffle(order)
    return [by_source[source].popleft() for source in order]
