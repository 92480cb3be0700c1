"""Real clients at every replica."""

import asyncio
import shutil
import subprocess

import pytest
import redis
import redis.asyncio

from tests.process.replicas import Process, Processes

needs_redis_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed")
needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None, reason="redis-benchmark is not installed"
)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_speaks_either_protocol_to_any_replica(cluster: Processes, protocol: int) -> None:
    for replica in cluster.all:
        key = f"k:{protocol}:{replica.number}"
        client = replica.client(protocol=protocol)
        assert client.set(key, "1") is True
        assert client.incr(key) == 2
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set(key, "5").get(key).append(key, "0").get(key).delete(key).get(key)
            assert pipeline.execute() == [True, "5", 2, "50", 1, None]
        client.mset({f"{key}:{n}": n for n in range(50)})
        assert sorted(client.scan_iter(f"{key}:*")) == sorted(f"{key}:{n}" for n in range(50))
        asyncio.run(_asyncio_client(replica, protocol))


async def _asyncio_client(replica: Process, protocol: int) -> None:
    async with redis.asyncio.Redis(port=replica.redis_port, protocol=protocol) as client:
        key = f"a:{protocol}:{replica.number}"
        assert await client.set(key, b"\x00\xff") is True
        assert await client.get(key) == b"\x00\xff"
        counts = await asyncio.gather(*(client.incr(f"{key}:count") for _ in range(20)))
        assert sorted(counts) == list(range(1, 21))
        async with client.pipeline(transaction=False) as pipeline:
            assert await pipeline.set(key, 1).get(key).exists(key, "absent").execute() == [True, b"1", 1]


@needs_redis_cli
def test_redis_cli_works_at_any_replica(cluster: Processes) -> None:
    for replica in cluster.all:

        def cli(*words: str, text: str | None = None, port: int = replica.redis_port) -> str:
            command = ["redis-cli", "-p", str(port), *words]
            run = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)
            assert run.stderr == ""
            return run.stdout.strip()

        name = f"cli:{replica.number}"
        assert cli("SET", name, "hello") == "OK"
        assert cli("GET", name) == "hello"
        assert cli("-3", "GET", "absent") == ""
        assert [cli("INCR", f"{name}:n"), cli("INCR", f"{name}:n")] == ["1", "2"]
        assert cli("MGET", name, "absent", f"{name}:n") == "hello\n\n2"
        assert sorted(cli("KEYS", f"{name}*").splitlines()) == [name, f"{name}:n"]
        assert sorted(cli("--scan", "--pattern", f"{name}*").splitlines()) == [name, f"{name}:n"]
        assert cli("NOSUCH") == "ERR unknown command 'NOSUCH', with args beginning with:"
        assert f"replica_id:{replica.number}" in cli("INFO", "raft")
        commands = "".join(f"SET {name}:{n} {n}\r\n" for n in range(1000))
        assert "errors: 0, replies: 1000" in cli("--pipe", text=commands)
        assert cli("GET", f"{name}:999") == "999"


@needs_redis_benchmark
@pytest.mark.parametrize("pipeline", [pytest.param("1", marks=pytest.mark.long), "16"])
def test_redis_benchmark_works_at_leader_and_follower(cluster: Processes, pipeline: str) -> None:
    for replica in (cluster.leader(), cluster.followers()[0]):
        tests = "ping_inline,ping_mbulk,set,get,incr,mset"
        command = ["redis-benchmark", "-p", str(replica.redis_port), "-t", tests]
        command += ["-n", "2000", "-c", "20", "-P", pipeline, "--csv"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "rror" not in run.stdout + run.stderr, run.stdout + run.stderr
        assert len(run.stdout.splitlines()) >= 6


def test_ten_thousand_gets_write_nothing(cluster: Processes) -> None:
    cluster.leader().client().set("k", "v")
    cluster.caught_up()

    def positions() -> list[tuple[str, ...]]:
        return [
            tuple(replica.info()[name] for name in ("term", "last_index", "commit_index")) for replica in cluster.all
        ]

    before = positions()
    for replica in cluster.all:
        with replica.client(single_connection_client=True) as client:
            for _ in range(400):
                assert client.get("k") == "v"
            for _ in range(30):
                with client.pipeline(transaction=False) as pipeline:
                    for _ in range(100):
                        pipeline.get("k")
                    assert pipeline.execute() == ["v"] * 100
    assert positions() == before
