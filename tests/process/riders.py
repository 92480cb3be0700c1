"""Clients that stay at one living replica while others fail. Any error that one of them hears is one too many."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

import redis
import redis.asyncio

from tests.process.replicas import Process, Processes, until


class Errand(Protocol):
    """What a rider does over and over. Whatever it raises ends the ride, and fails the test."""

    def step(self, client: "redis.Redis") -> None: ...


class AsyncErrand(Protocol):
    """The same with redis-py's asyncio client."""

    async def step(self, client: "redis.asyncio.Redis") -> None: ...


class Rider:
    """A thread with one client, which sends each command once, at one replica."""

    def __init__(self, errand: Errand | AsyncErrand) -> None:
        self.errand = errand
        self.steps = 0
        self.longest_step_s = 0.0
        self.error: BaseException | None = None
        self._replica: Process | None = None
        self._moved = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def move_to(self, replica: Process) -> None:
        """Go on at this replica once the present step is done."""
        if replica is not self._replica:
            self._moved.clear()
            self._replica = replica
        if not self._thread.ident:
            self._thread.start()

    @property
    def has_moved(self) -> bool:
        """Whether it is where it was told to be, and was served there."""
        return self._moved.is_set()

    def stop(self) -> None:
        """End after the present step."""
        self._stop.set()

    def join(self) -> None:
        if self._thread.ident:
            self._thread.join(30)
            assert not self._thread.is_alive(), f"it hangs: {self}"

    def __repr__(self) -> str:
        place = self._replica.number if self._replica else 0
        return f"{type(self.errand).__name__} at replica {place}, after {self.steps} steps: {self.error!r}"

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                replica = self._replica
                assert replica is not None
                if asyncio.iscoroutinefunction(self.errand.step):
                    asyncio.run(self._stay_async(replica, self.errand))  # type: ignore[arg-type]
                else:
                    self._stay(replica, self.errand)  # type: ignore[arg-type]
        except BaseException as error:
            self.error = error

    def _stay(self, replica: Process, errand: Errand) -> None:
        with replica.client(single_connection_client=True) as client:
            while replica is self._replica and not self._stop.is_set():
                began = time.monotonic()
                errand.step(client)
                self._stepped(replica, time.monotonic() - began)

    async def _stay_async(self, replica: Process, errand: AsyncErrand) -> None:
        async with replica.async_client() as client:
            while replica is self._replica and not self._stop.is_set():
                began = time.monotonic()
                await errand.step(client)
                self._stepped(replica, time.monotonic() - began)

    def _stepped(self, replica: Process, took_s: float) -> None:
        self.steps += 1
        self.longest_step_s = max(self.longest_step_s, took_s)
        if replica is self._replica:
            self._moved.set()


class Riders:
    """All riders of a test, on their way from entering it to leaving it."""

    def __init__(self, errands: Sequence[Errand | AsyncErrand]) -> None:
        self._riders = [Rider(errand) for errand in errands]

    def __enter__(self) -> "Riders":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        for rider in self._riders:
            rider.stop()
        for rider in self._riders:
            rider.join()
        if error is None:
            self._fail_if_one_has_failed()

    def at(self, *replicas: Process) -> None:
        """Spread them over these replicas, and wait until each is served where it is."""
        for number, rider in enumerate(self._riders):
            rider.move_to(replicas[number % len(replicas)])
        self._until(lambda rider: rider.has_moved, "all clients have moved")

    def go_on(self, steps: int = 5) -> None:
        """Wait until each of them has done so many more steps."""
        goals = {rider: rider.steps + steps for rider in self._riders}
        self._until(lambda rider: rider.steps >= goals[rider], "all clients go on")

    def longest_step_s(self) -> float:
        """The longest step of any of them since this was last asked."""
        longest = max(rider.longest_step_s for rider in self._riders)
        for rider in self._riders:
            rider.longest_step_s = 0.0
        return longest

    def leave_the_leader(self, cluster: Processes) -> Process:
        """Move them all to the followers. The leader, without a client."""
        while True:
            leader = cluster.leader()
            self.at(*(replica for replica in cluster.all if replica is not leader))
            if cluster.leader() is leader:
                return leader

    def _until(self, holds: Callable[[Rider], bool], what: str) -> None:
        def all_do() -> bool:
            self._fail_if_one_has_failed()
            return all(holds(rider) for rider in self._riders)

        until(all_do, what)

    def _fail_if_one_has_failed(self) -> None:
        failed = [rider for rider in self._riders if rider.error is not None]
        if failed:
            raise AssertionError(f"a client of a living replica heard of it: {failed}") from failed[0].error
