"""Histories recorded at real clients under kills, stops and restarts are linearizable."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from oarlock.testing.linearizability import NEVER, Operation, check
from oarlock.testing.models import MODELS
from tests.process.replicas import NOT_EXECUTED, Process, Processes, until

KEYS = ("x", "y", "z")
CLIENTS = 6
DISTURBANCES = 4
LAG_S = 0.02
SEED = int(os.environ.get("OARLOCK_SEED", "0")) or random.randrange(1, 2**32)

# What a client may ask of a key with a new value: the function, its argument, how to ask, what the answer means.
# To the register a GETDEL is a swap for nothing, and a SET NX one of nothing for the value.
Call = tuple[str, Any, Callable[["redis.Redis"], Any]]


def read(key: str, value: str) -> Call:
    return "read", None, lambda client: client.get(key)


def write(key: str, value: str) -> Call:
    return "write", value, lambda client: client.set(key, value) and None


def set_if_absent(key: str, value: str) -> Call:
    return "cas", (None, value), lambda client: client.set(key, value, nx=True) is True


def set_and_get(key: str, value: str) -> Call:
    return "swap", value, lambda client: client.set(key, value, get=True)


def get_and_delete(key: str, value: str) -> Call:
    return "swap", None, lambda client: client.getdel(key)


CALLS = (read, read, read, read, write, write, write, set_if_absent, set_and_get, get_and_delete)


class Recorder:
    """Clients that use a few keys through all replicas, and what they saw."""

    def __init__(self, replicas: list[Process], rng: random.Random) -> None:
        self.history: list[Operation] = []
        self.unknown = 0
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
        clients: dict[int, redis.Redis] = {}
        asked = 0
        while not self._stop.is_set():
            replica = rng.choice(self._replicas)
            asked += 1
            key = rng.choice(KEYS)
            function, argument, ask = rng.choice(CALLS)(key, f"{number}.{asked}")
            try:
                client = clients.get(replica.number)
                if client is None:  # patience for a replica that is slow, and not much for one that is stopped
                    client = replica.client(timeout_s=0.5, single_connection_client=True)
                    clients[replica.number] = client
            except redis.RedisError:
                continue  # it is down, or stopped: nothing was asked
            began = time.monotonic()
            result, ended = None, NEVER
            try:
                result = ask(client)
                ended = time.monotonic()
            except NOT_EXECUTED:
                continue  # if it was all the same, what it wrote has no write to come from
            except redis.RedisError:
                clients.pop(replica.number).close()
                if function == "read":
                    continue  # it says nothing
                self.unknown += 1
            self.history.append(Operation(key, function, argument, result, began, ended, number))


def disturb(cluster: Processes, recorder: Recorder, rng: random.Random) -> str:
    """Stop or kill a replica, mostly the leader, for a while. What was done.

    One of the replicas hears everything late: what it would say without asking the leader is old.
    """
    laggard = rng.choice(cluster.all)
    for replica in cluster.all:
        cluster.relays[replica.number].lag_s = LAG_S if replica is laggard else 0.0
    _go_on(recorder, rng.randrange(100, 200))
    leader = cluster.leader()
    victim = rng.choice([leader, leader, *cluster.all])
    kills = rng.random() < 0.6
    if kills:
        victim.kill()
        cluster.relays[victim.number].refuse()
    else:
        victim.signal(signal.SIGSTOP)
    cluster.leader(besides=victim)
    _go_on(recorder, rng.randrange(50, 150))
    if kills:
        cluster.relays[victim.number].accept()
        victim.start()
    else:
        victim.signal(signal.SIGCONT)
    until(lambda: victim.knows_a_leader, "it is back")
    return f"{'kill' if kills else 'stop'} {'leader' if victim is leader else 'follower'}"


def _go_on(recorder: Recorder, operations: int) -> None:
    enough = len(recorder.history) + operations
    until(lambda: len(recorder.history) > enough, "operations go on")


@pytest.mark.long
def test_histories_under_kills_and_stops_are_linearizable(relayed: Processes) -> None:
    cluster = relayed
    rng = random.Random(SEED)
    with Recorder(cluster.all, rng) as recorder:
        done = [disturb(cluster, recorder, rng) for _ in range(DISTURBANCES)]
    history = sorted(recorder.history, key=lambda operation: operation.invoked)
    counts = Counter(operation.function for operation in history)
    print(f"seed {SEED}: {', '.join(done)}; {dict(counts)}, {recorder.unknown} of unknown outcome")
    assert len(history) > 500
    verdict = check(history, MODELS["cas-register"])
    if verdict.outcome != "linearizable":
        print(*verdict.operations, sep="\n")
    assert verdict.outcome == "linearizable", f"{verdict.sentence} OARLOCK_SEED={SEED} repeats the schedule"
