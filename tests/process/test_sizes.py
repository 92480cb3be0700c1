"""Clusters of every size serve at each of their replicas, and refuse in time what they cannot do."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest
import redis

from tests.process.conftest import ClusterOf
from tests.process.replicas import NOT_EXECUTED, Process, Processes, until

DEADLINE_S = 5.0
"""Of a request, by default."""


def serves_everywhere(cluster: Processes) -> None:
    for replica in cluster.all:
        assert replica.client().set(f"k:{replica.number}", f"v:{replica.number}")
    for replica in cluster.all:
        names = [f"k:{other.number}" for other in cluster.all]
        assert replica.client().mget(names) == [f"v:{other.number}" for other in cluster.all]
        voters = ",".join(str(other.number) for other in cluster.all)
        assert replica.info()["voters"] == voters


@pytest.mark.parametrize("size", [1, pytest.param(7, marks=pytest.mark.long)])
def test_44_a_cluster_serves_at_every_replica(size: int, cluster_of: ClusterOf) -> None:
    serves_everywhere(cluster_of(size))


@pytest.mark.long
def test_44_without_a_majority_reads_and_writes_are_refused_within_their_deadline(cluster_of: ClusterOf) -> None:
    """Clusters of 2, 3, 4 and 5 replicas. The requests of one wait for their deadlines while the next one starts."""
    asked: list[Future[Answer]] = []
    with ThreadPoolExecutor(64) as pool:
        for size in (2, 3, 4, 5):
            cluster = cluster_of(size)
            serves_everywhere(cluster)
            # The largest minority there is, and one that believes to lead.
            leader = cluster.leader()
            survivors = [leader, *cluster.followers()][: size // 2]
            for replica in cluster.all:
                if replica not in survivors:
                    replica.kill()
            asked += [pool.submit(ask, replica, command) for replica in survivors for command in ("GET", "SET")]
            until(lambda all=survivors: all_know_no_leader(all), "the loss is noticed")  # type: ignore[misc]
            asked += [pool.submit(ask, replica, command) for replica in survivors for command in ("GET", "SET")]
    answers = [future.result() for future in asked]
    assert len(answers) == 4 * (1 + 1 + 2 + 2)
    for answer in answers:
        assert answer.waited_s < DEADLINE_S + 1.0, answer
        # A write that the leader appended before it knew may still happen: that is what it must say, or the truth.
        unknown = answer.command == "SET" and str(answer.error).startswith("UNKNOWN")
        assert isinstance(answer.error, NOT_EXECUTED) or unknown, answer


class Answer(NamedTuple):
    """What a client heard, and after how long."""

    replica: str
    command: str
    error: redis.RedisError | None
    waited_s: float


def ask(replica: Process, command: str) -> Answer:
    """Ask once; the client is more patient than the replica may be."""
    began = time.monotonic()
    error = None
    try:
        with replica.client(timeout_s=2 * DEADLINE_S) as client:
            client.execute_command(command, "k", *(["v"] if command == "SET" else []))
    except redis.RedisError as refusal:
        error = refusal
    return Answer(replica.redis, command, error, time.monotonic() - began)


def all_know_no_leader(replicas: list[Process]) -> bool:
    return all(not replica.knows_a_leader for replica in replicas)
