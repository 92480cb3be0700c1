"""Real clients at every replica, and clusters of every size."""

import asyncio
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis.asyncio

from tests.process.conftest import ClusterOf
from tests.process.replicas import NOT_EXECUTED, Process, until

needs_redis_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed"
)


def test_redis_py_speaks_either_protocol_to_any_replica(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    for protocol in (2, 3):
        for replica in cluster.all:
            key = f"k:{protocol}:{replica.number}"
            client = replica.client(protocol=protocol)
            assert client.set(key, "1") is True
            assert client.incr(key) == 2
            with client.pipeline(transaction=False) as pipeline:
                pipeline.set(key, "5").get(key).append(key, "0").get(key).delete(key).get(key)
                assert pipeline.execute() == [True, "5", 2, "50", 1, None]
            asyncio.run(_asyncio_client(replica, protocol))
            client.mset({f"{key}:{n}": n for n in range(50)})
            assert sorted(client.scan_iter(f"{key}:*")) == sorted(f"{key}:{n}" for n in range(50))


async def _asyncio_client(replica: Process, protocol: int) -> None:
    async with redis.asyncio.Redis(port=replica.redis_port, protocol=protocol) as client:
        key = f"a:{protocol}:{replica.number}"
        assert await client.set(key, b"\x00\xff") is True
        assert await client.get(key) == b"\x00\xff"


@needs_redis_cli
def test_redis_cli_works_at_any_replica(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    for replica in cluster.all:

        def cli(*words: str, text: str | None = None, port: int = replica.redis_port) -> str:
            command = ["redis-cli", "-p", str(port), *words]
            return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20).stdout.strip()

        assert cli("SET", "k", "hello") == "OK"
        assert cli("GET", "k") == "hello"
        assert cli("-3", "GET", "absent") == ""
        assert cli("NOSUCH") == "ERR unknown command 'NOSUCH', with args beginning with:"
        assert f"replica_id:{replica.number}" in cli("INFO", "raft")
        assert "errors: 0, replies: 3" in cli("--pipe", text="SET p 1\r\nSET q 2\r\nGET p\r\n")


@needs_redis_benchmark
def test_redis_benchmark_works_at_leader_and_follower(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    for replica in (cluster.leader(), cluster.followers()[0]):
        for pipeline in ("1", "16"):
            command = [
                "redis-benchmark",
                "-p",
                str(replica.redis_port),
                "-t",
                "ping_inline,ping_mbulk,set,get,incr,mset",
            ]
            command += ["-n", "2000", "-c", "20", "-P", pipeline, "--csv"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, run.stdout + run.stderr
            assert "rror" not in run.stdout + run.stderr, run.stdout + run.stderr
            assert len(run.stdout.splitlines()) >= 6


def test_ten_thousand_gets_write_nothing(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    cluster.leader().client().set("k", "v")
    cluster.caught_up()

    def positions() -> list[tuple[str, ...]]:
        return [
            tuple(replica.info()[name] for name in ("term", "last_index", "commit_index")) for replica in cluster.all
        ]

    before = positions()
    for replica in cluster.all:
        for _ in range(34):
            with replica.client().pipeline(transaction=False) as pipeline:
                for _ in range(100):
                    pipeline.get("k")
                assert pipeline.execute() == ["v"] * 100
    assert positions() == before


@pytest.mark.parametrize("size", [1, 2, 4, 5, 7])
def test_44_a_cluster_of_any_size_serves_at_every_replica(size: int, cluster_of: ClusterOf) -> None:
    cluster = cluster_of(size)
    for replica in cluster.all:
        replica.client().set(f"k:{replica.number}", "v")
    for replica in cluster.all:
        assert replica.client().mget([f"k:{number}" for number in range(1, size + 1)]) == ["v"] * size


@pytest.mark.parametrize("size", [2, 3])
def test_without_a_majority_reads_and_writes_are_refused_within_their_deadline(
    size: int, cluster_of: ClusterOf
) -> None:
    cluster = cluster_of(size)
    survivor = cluster.leader()
    for replica in cluster.all:
        if replica is not survivor:
            replica.kill()
    until(lambda: survivor.info()["leader_id"] == "0", "the loss of the majority is noticed")
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(survivor.client().get, "k"), pool.submit(survivor.client().set, "k", "w")]
        for answer in answers:
            with pytest.raises(NOT_EXECUTED):
                answer.result()
    assert time.monotonic() - began < 6.0
