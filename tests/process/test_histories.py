"""Histories recorded at real clients under kills, stops and restarts are linearizable."""

import os
import random
import signal
import threading
import time

import redis

from oarlock.testing.linearizability import NEVER, Operation, first_illegal_key, register
from tests.process.conftest import ClusterOf
from tests.process.replicas import NOT_EXECUTED, Process, until

KEYS = ("x", "y", "z")
CLIENTS = 6
DISTURBANCES = 4
SEED = int(os.environ.get("OARLOCK_SEED", "0")) or random.randrange(1, 2**32)


class Recorder:
    """Clients that read and write a few keys through all replicas, and what they saw."""

    def __init__(self, replicas: list[Process], rng: random.Random) -> None:
        self.history: list[Operation] = []
        self._replicas = replicas
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(rng.random()))) for number in range(CLIENTS)
        ]

    def __enter__(self) -> "Recorder":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, number: int, rng: random.Random) -> None:
        clients = [replica.client(timeout_s=0.5) for replica in self._replicas]  # some of them are stopped
        written = 0
        while not self._stop.is_set():
            client, key = rng.choice(clients), rng.choice(KEYS)
            began = time.monotonic()
            if rng.random() < 0.5:
                written += 1
                value = f"{number}.{written}"
                try:
                    client.set(key, value)
                    ended = time.monotonic()
                except NOT_EXECUTED:
                    continue  # if it was, a read that sees it has no write to come from
                except redis.RedisError:
                    ended = NEVER
                self.history.append(Operation(key, "write", value, None, began, ended))
            else:
                try:
                    value = client.get(key)
                except redis.RedisError:
                    continue
                self.history.append(Operation(key, "read", None, value, began, time.monotonic()))


def test_histories_under_kills_and_stops_are_linearizable(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    rng = random.Random(SEED)
    print(f"seed {SEED} (set OARLOCK_SEED to repeat the schedule)")
    with Recorder(cluster.all, rng) as recorder:
        for _ in range(DISTURBANCES):
            seen = len(recorder.history)
            until(lambda seen=seen: len(recorder.history) > seen + 200, "operations go on")  # type: ignore[misc]
            victim = rng.choice([cluster.leader(), rng.choice(cluster.all)])
            stops = rng.random() < 0.5
            if stops:
                victim.signal(signal.SIGSTOP)
            else:
                victim.kill()
            cluster.leader(besides=victim)
            seen = len(recorder.history)
            until(lambda seen=seen: len(recorder.history) > seen + 100, "operations go on")  # type: ignore[misc]
            if stops:
                victim.signal(signal.SIGCONT)
            else:
                victim.start()
            until(lambda victim=victim: victim.info()["leader_id"] != "0", "it is back")  # type: ignore[misc]
    print(f"{len(recorder.history)} operations")
    assert len(recorder.history) > 1000
    illegal = first_illegal_key(recorder.history, register)
    if illegal is not None:
        for operation in sorted(recorder.history, key=lambda operation: operation.invoked):
            if operation.key == illegal:
                print(operation)
    assert illegal is None, f"the history of {illegal!r} is not linearizable; seed {SEED}"
