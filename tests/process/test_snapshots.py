"""Replicas are killed while a snapshot is written, and while one arrives; what is far behind comes back by one."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.process.conftest import ClusterOf
from tests.process.load import Load
from tests.process.replicas import DEADLINE_S, Process, Processes, until

OPTIONS = ("--snapshot-after", "256KiB")
KEYS = 8000
VALUE = "v" * 1000
KILLS = 3


def filled(cluster: Processes) -> None:
    """So much state that a snapshot takes a while, and comes in many parts."""
    client = cluster.leader().client()
    for start in range(0, KEYS, 200):
        client.mset({f"k:{n}": VALUE for n in range(start, start + 200)})


def holds_all(replica: Process) -> None:
    client = replica.client()
    for start in range(0, KEYS, 1000):
        assert client.mget([f"k:{n}" for n in range(start, start + 1000)]) == [VALUE] * 1000


def unfinished(replica: Process) -> list[Path]:
    """Files of snapshots that are being written or received."""
    return list((replica.directory / "snapshots").glob("*.tmp"))


def size_bytes(path: Path) -> int:
    """0 if it is there no more."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def kill_in_the_middle(replica: Process) -> bool:
    """Kill it once a part of a snapshot is there; whether it was in time."""
    end = time.monotonic() + DEADLINE_S
    while not any(size_bytes(path) for path in unfinished(replica)):
        assert time.monotonic() < end, "no snapshot is written"
        time.sleep(0.0005)  # what is awaited is over soon
    replica.kill()
    return bool(unfinished(replica))


def test_a_follower_that_was_down_for_long_comes_back_by_a_snapshot(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3, options=OPTIONS)
    down, other = cluster.followers()
    down.kill()
    filled(cluster)
    down.start()
    until(lambda: down.info()["applied_index"] == other.info()["applied_index"], "it has caught up")
    assert "begins anew with the snapshot" in down.last_words(1 << 20)
    other.kill()  # from here on it is needed
    holds_all(down)
    assert down.client().set("again", "served")


@pytest.mark.long
def test_kill_9_in_the_middle_of_taking_a_snapshot_again_and_again(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3, options=OPTIONS)
    filled(cluster)
    hits = 0
    with Load(lambda: cluster.living, clients=3) as load, Bulk(cluster):
        while hits < KILLS:
            victim = cluster.leader() if hits == 1 else cluster.followers()[0]
            hits += kill_in_the_middle(victim)
            victim.start()
            until(lambda here=victim: here.knows_a_leader, "it is back")  # type: ignore[misc]
            load.check(victim)
    cluster.caught_up()
    for replica in cluster.all:
        load.check(replica)
        holds_all(replica)


@pytest.mark.long
def test_kill_9_in_the_middle_of_receiving_a_snapshot_again_and_again(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3, options=OPTIONS)
    behind, other = cluster.followers()
    behind.kill()
    hits = 0
    while hits < KILLS:
        filled(cluster)
        behind.start()
        hits += kill_in_the_middle(behind)
    behind.start()
    until(lambda: behind.info()["applied_index"] == other.info()["applied_index"], "it has caught up")
    until(lambda: not unfinished(behind), "nothing is left of what was not finished")
    other.kill()
    holds_all(behind)


class Bulk:
    """Writes so much that a snapshot is due all the time."""

    def __init__(self, cluster: Processes) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            for replica in self._cluster.living:
                with suppress(redis.RedisError), replica.client(timeout_s=2.0) as client:
                    while not self._stop.wait(0.02):
                        client.set("bulk", "b" * 50_000)
