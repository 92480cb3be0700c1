"""What redis-py offers beyond single commands, through living replicas while leaders are killed."""

from typing import Any

import pytest
import redis
import redis.asyncio

from tests.process.conftest import ClusterOf
from tests.process.replicas import until
from tests.process.riders import AsyncErrand, Errand, Riders

SCANNED = {f"scanned:{number}" for number in range(300)}


class Pipelines:
    """Reads and writes in turns, not as a transaction. Each reply is known beforehand."""

    def __init__(self, number: int) -> None:
        self.key = f"pipelines:{number}"
        self.done = 0

    def fill(self, pipeline: Any) -> list[Any]:
        """Queue the next commands; what they will be answered."""
        self.done += 1
        n, key, other = self.done, self.key, f"{self.key}:other"
        pipeline.incr(key).get(key).set(other, n).append(other, "!").get(other).mget(key, other).incr(key).get(key)
        return [2 * n - 1, f"{2 * n - 1}", True, len(f"{n}!"), f"{n}!", [f"{2 * n - 1}", f"{n}!"], 2 * n, f"{2 * n}"]

    def step(self, client: "redis.Redis") -> None:
        with client.pipeline(transaction=False) as pipeline:
            expected = self.fill(pipeline)
            assert pipeline.execute() == expected


class AsyncPipelines(Pipelines):
    async def step(self, client: "redis.asyncio.Redis") -> None:  # type: ignore[override]
        async with client.pipeline(transaction=False) as pipeline:
            expected = self.fill(pipeline)
            assert await pipeline.execute() == expected


class Transactions:
    """Adds to a common sum by WATCH, GET, MULTI, EXEC: what was read is still true when the write happens."""

    def __init__(self, number: int) -> None:
        self.key = f"transactions:{number}"
        self.sums: list[int] = []

    def step(self, client: "redis.Redis") -> None:
        def add(pipeline: Any) -> int:
            before = int(pipeline.get("sum") or 0)
            pipeline.multi()
            pipeline.set("sum", before + 1).incr(self.key).get(self.key)
            return before + 1

        self.sums.append(client.transaction(add, "sum", value_from_callable=True))

    def check(self, client: "redis.Redis") -> None:
        assert int(client.get(self.key) or 0) == len(self.sums)


class AsyncTransactions(Transactions):
    async def step(self, client: "redis.asyncio.Redis") -> None:  # type: ignore[override]
        async with client.pipeline(transaction=True) as pipeline:
            while True:
                await pipeline.watch("sum")
                before = int(await pipeline.get("sum") or 0)
                pipeline.multi()
                pipeline.set("sum", before + 1).incr(self.key).get(self.key)
                try:
                    set_, count, text = await pipeline.execute()
                except redis.WatchError:
                    continue  # the transaction was not executed
                self.sums.append(before + 1)
                assert (set_, count, text) == (True, len(self.sums), f"{len(self.sums)}")
                return


class Scans:
    """Every key that is there all the time is found by every scan."""

    def step(self, client: "redis.Redis") -> None:
        assert set(client.scan_iter("scanned:*", count=50)) == SCANNED


class AsyncScans:
    async def step(self, client: "redis.asyncio.Redis") -> None:
        assert {key async for key in client.scan_iter("scanned:*", count=50)} == SCANNED


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_61_pipelines_transactions_and_scans_ride_through_failovers(kind: str, cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    cluster.leader().client().mset(dict.fromkeys(SCANNED, "v"))
    transactions: list[Transactions]
    errands: list[Errand | AsyncErrand]
    if kind == "sync":
        transactions = [Transactions(number) for number in range(3)]
        errands = [*transactions, Pipelines(0), Pipelines(1), Scans(), Scans()]
    else:
        transactions = [AsyncTransactions(number) for number in range(3)]
        errands = [*transactions, AsyncPipelines(0), AsyncPipelines(1), AsyncScans(), AsyncScans()]
    pauses = []
    with Riders(errands) as riders:
        for _ in range(2):
            leader = riders.leave_the_leader(cluster)
            riders.longest_step_s()
            leader.kill()
            riders.go_on(2)
            pauses.append(riders.longest_step_s())
            leader.start()
            until(lambda leader=leader: leader.knows_a_leader, "it is back")  # type: ignore[misc]

    sums = sorted(total for each in transactions for total in each.sums)
    print(f"{len(sums)} transactions; the longest steps: {', '.join(f'{pause:.3f} s' for pause in pauses)}")
    for replica in cluster.all:
        client = replica.client()
        assert int(client.get("sum")) == len(sums)
        for each in transactions:
            each.check(client)
    assert sums == list(range(1, len(sums) + 1)), "each was executed once, on what it had read"
