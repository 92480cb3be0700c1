"""Clients under which replicas are killed: each notes what was acknowledged, and when."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import redis

from tests.process.replicas import NOT_EXECUTED, Process


class Error(NamedTuple):
    """What a client was told, and by which replica."""

    replica: int
    text: str


class Load:
    """So many threads that write until told to stop. They are spread over the replicas, and move on upon an error."""

    def __init__(self, replicas: Callable[[], list[Process]], clients: int) -> None:
        self._replicas = replicas
        self._stop = threading.Event()
        self.acknowledged: dict[str, str] = {}
        """Every key and value whose SET was acknowledged."""
        self.increments = 0
        self.unknown_increments = 0
        """INCRs that may have happened: no answer, or one that says that the outcome is unknown."""
        self.acknowledged_at: list[float] = []
        self.errors: list[Error] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    @property
    def told(self) -> list[Error]:
        """The errors that a replica has answered with, and the requests that it has left unanswered. That leaves out
        broken connections, which only mean that a replica has ended."""
        return [error for error in self.errors if not error.text.startswith("ConnectionError")]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"

    def longest_pause(self, after: float, seconds: float = 2.0) -> float:
        """The longest time without any acknowledgement that began or ended in the seconds after a moment."""
        times = sorted(self.acknowledged_at)
        pauses = (later - earlier for earlier, later in pairwise(times) if after < later and earlier < after + seconds)
        return max(pauses, default=seconds)

    def _run(self, number: int) -> None:
        written = 0
        place = number
        while not self._stop.is_set():
            replicas = self._replicas()
            if not replicas:
                continue
            replica = replicas[place % len(replicas)]
            place += 1
            try:
                client = replica.client(single_connection_client=True)
            except redis.ConnectionError:
                continue
            try:
                while not self._stop.is_set():
                    written += 1
                    key, value = f"k:{number}:{written}", f"v:{number}:{written}"
                    client.set(key, value)
                    with self._lock:
                        self.acknowledged[key] = value
                        self.acknowledged_at.append(time.monotonic())
                    self._increment(client)
            except redis.RedisError as error:
                with self._lock:
                    self.errors.append(Error(replica.number, f"{type(error).__name__}: {error}"))
            finally:
                client.close()

    def _increment(self, client: "redis.Redis") -> None:
        try:
            client.incr("counter")
        except NOT_EXECUTED:
            raise
        except redis.RedisError:
            with self._lock:
                self.unknown_increments += 1
            raise
        with self._lock:
            self.increments += 1

    def check(self, replica: Process) -> None:
        """Everything acknowledged is there, read from this replica; and the counter counted each increment once.

        Clients may still be at work: what was acknowledged before the counter was read is in it, and one more of each
        that works on may be."""
        client = replica.client()
        keys = list(self.acknowledged)
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            values = client.mget(some)
            lost = [key for key, value in zip(some, values, strict=True) if value != self.acknowledged[key]]
            assert not lost, f"acknowledged and lost: {lost[:10]} of {len(keys)}"
        least = self.increments
        counter = int(client.get("counter") or 0)
        with self._lock:
            most = self.increments + self.unknown_increments + sum(thread.is_alive() for thread in self._threads)
        assert least <= counter <= most, f"{counter} were counted, of at least {least} and at most {most}"
