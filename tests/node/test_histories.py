"""Random cuts, crashes and restarts under clients of every node, and a check that one counter explains all answers."""

import asyncio
import random
from typing import NamedTuple

import pytest

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown
from tests.node.cluster import Cluster, scenario

FOREVER = float("inf")


class Increment(NamedTuple):
    """One ``x+`` of a client."""

    asked_at: float
    answered_at: float
    result: int | None
    """None: the outcome is unknown."""


class Read(NamedTuple):
    """One read of ``x``."""

    asked_at: float
    answered_at: float
    value: int


class History:
    """What clients asked and heard."""

    def __init__(self) -> None:
        self.increments: list[Increment] = []
        self.reads: list[Read] = []
        self.not_executed = 0

    def explain(self) -> None:
        """Fail unless one counter, incremented at one moment within each call, explains every answer.

        A counter makes this easy: an increment's result names its place, and a read's value the place it saw. So
        each answer must lie after everything that had finished before it was asked, and before all asked later.
        """
        taken = {increment.result: increment for increment in self.increments if increment.result is not None}
        unknown = [increment for increment in self.increments if increment.result is None]
        assert len(taken) + len(unknown) == len(self.increments), "two increments took the same place"
        gaps = max(taken, default=0) - len(taken)
        assert gaps <= len(unknown), f"{gaps} increments nobody asked for (one was executed twice)"

        events = [(read.asked_at, read.answered_at, read.value) for read in self.reads]
        events += [(increment.asked_at, increment.answered_at, place) for place, increment in taken.items()]
        events.sort()
        finished = sorted((answered_at, place) for _, answered_at, place in events)
        highest, position = 0, 0
        for asked_at, _, place in events:
            while position < len(finished) and finished[position][0] < asked_at:
                highest = max(highest, finished[position][1])
                position += 1
            assert place >= highest, f"asked at {asked_at}, it saw {place}, but {highest} had been answered before"
        for read in self.reads:
            possible = sum(increment.asked_at <= read.answered_at for increment in self.increments)
            assert read.value <= possible, f"{read} saw more than had been asked for"
            if read.value in taken:
                assert taken[read.value].asked_at <= read.answered_at, f"{read} saw the future"


class Run:
    """Clients and an adversary on one cluster, all decided by a seed (but for the threads' and sockets' timing)."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.history = History()
        self.over = False

    async def client(self, replica: int) -> None:
        loop = asyncio.get_running_loop()
        rng = random.Random(self.rng.random())
        while not self.over:
            node = self.cluster.nodes.get(replica)
            if node is None:
                await asyncio.sleep(0.005)
                continue
            asked_at = loop.time()
            writes = rng.random() < 0.5
            try:
                if writes:
                    result = await node.propose(b"x+", timeout_s=1.0)
                    self.history.increments.append(Increment(asked_at, loop.time(), result))
                else:
                    value = await node.read(b"x", timeout_s=1.0)
                    self.history.reads.append(Read(asked_at, loop.time(), value or 0))
            except OutcomeUnknown:
                assert writes
                self.history.increments.append(Increment(asked_at, FOREVER, None))
            except NotExecuted:
                self.history.not_executed += 1
                await asyncio.sleep(0.005)

    async def adversary(self, rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(self.rng.uniform(0.0, 0.25))
            await self.rng.choice([self.cut, self.one_way, self.reset, self.crash, self.restart, self.stall])()

    async def cut(self) -> None:
        alone = self.rng.choice(self.cluster.ids)
        self.cluster.wire.part([alone], [replica for replica in self.cluster.ids if replica != alone])
        await self._and_heal()

    async def one_way(self) -> None:
        one, other = self.rng.sample(self.cluster.ids, 2)
        self.rng.choice([self.cluster.wire.cut, self.cluster.wire.hold])((one, other))
        await self._and_heal()

    async def _and_heal(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        self.cluster.wire.heal()

    async def reset(self) -> None:
        self.cluster.wire.reset_all()

    async def crash(self) -> None:
        replica = self.rng.choice(self.cluster.ids)
        await self.cluster.crash(replica)
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        await self.cluster.start(replica)

    async def restart(self) -> None:
        replica = self.rng.choice(self.cluster.ids)
        await self.cluster.stop(replica)
        await self.cluster.start(replica)

    async def stall(self) -> None:
        disk = self.cluster.disks[self.rng.choice(self.cluster.ids)]
        disk.hold_syncs()
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        disk.release()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
@scenario
async def test_whatever_happens_one_counter_explains_every_answer(seed: int) -> None:
    async with Cluster(3, seed=seed) as cluster:
        await cluster.leader()
        run = Run(cluster, seed)
        clients = [asyncio.create_task(run.client(replica)) for replica in cluster.ids * 3]
        try:
            await run.adversary(rounds=10)
            cluster.wire.heal()
            await cluster.leader()
        finally:
            run.over = True
            await asyncio.gather(*clients)
        assert all(not node.failed.done() for node in cluster.nodes.values()), f"seed {seed}"
        asked_at = asyncio.get_running_loop().time()
        for node in cluster.nodes.values():
            run.history.reads.append(Read(asked_at, FOREVER, await node.read(b"x") or 0))
        run.history.explain()
        assert len(run.history.increments) > 100
        assert len(run.history.reads) > 100


def test_the_check_itself_finds_what_is_wrong() -> None:
    def explain(*operations: Increment | Read) -> bool:
        history = History()
        history.increments = [operation for operation in operations if isinstance(operation, Increment)]
        history.reads = [operation for operation in operations if isinstance(operation, Read)]
        try:
            history.explain()
        except AssertionError:
            return False
        return True

    assert explain(Increment(0, 1, 1), Read(2, 3, 1), Increment(2, 4, 2))
    assert explain(Increment(0, FOREVER, None), Read(1, 2, 0), Read(3, 4, 1), Increment(5, 6, 2))
    assert not explain(Increment(0, 1, 1), Read(2, 3, 0)), "a stale read"
    assert not explain(Read(0, 1, 2), Increment(0, 4, 1), Increment(2, 3, 2)), "a read of the future"
    assert not explain(Increment(0, 1, 1), Increment(2, 3, 1)), "one place twice"
    assert not explain(Increment(0, 1, 2)), "executed twice"
    assert not explain(Increment(0, 1, 2), Increment(0, 1, 1), Read(2, 3, 2), Read(4, 5, 1)), "a read back in time"
    assert issubclass(OutcomeUnknown, OarlockError)
