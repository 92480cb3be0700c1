"""Clusters of every size form, elect, write and read; and without a majority they refuse, and say so rightly."""

import asyncio
import time
from collections.abc import Awaitable

import pytest

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown
from tests.node.cluster import Cluster, eventually, scenario, uvloop_scenario


async def error_of(request: Awaitable[object]) -> OarlockError:
    try:
        result = await request
    except OarlockError as error:
        return error
    raise AssertionError(f"answered with {result!r}")


async def write_and_read_everywhere(size: int) -> None:
    async with Cluster(size) as cluster:
        await cluster.leader()
        for replica, node in cluster.nodes.items():
            assert await node.propose(b"hits+") == replica
        for node in cluster.nodes.values():
            assert await node.read(b"hits") == size
        machines = cluster.machines.values()
        await eventually(lambda: all(machine.applied == [b"hits+"] * size for machine in machines), "all have applied")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
@scenario
async def test_every_replica_of_a_cluster_serves_writes_and_reads(size: int) -> None:
    await write_and_read_everywhere(size)


@uvloop_scenario
async def test_the_same_on_uvloop() -> None:
    await write_and_read_everywhere(3)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
@scenario
async def test_without_a_majority_nothing_is_acknowledged_and_every_error_is_true(size: int) -> None:
    """Scenario 44: one voter less than a majority must not be enough, for even sizes either."""
    async with Cluster(size) as cluster:
        leader = await cluster.leader()
        others = [replica for replica in cluster.ids if replica != leader.id]
        left = [leader.id, *others[: size // 2 - 1]]  # one too few; half of an even size
        await asyncio.gather(*(cluster.crash(replica) for replica in cluster.ids if replica not in left))

        # Taken by a leader that does not know yet that it is alone: it may happen when the others come back.
        begun = time.monotonic()
        error = await error_of(leader.propose(b"early+", timeout_s=0.4))
        assert isinstance(error, OutcomeUnknown)
        assert isinstance(await error_of(leader.read(b"early", timeout_s=0.4)), NotExecuted)
        await eventually(lambda: not leader.status().leader_id, "the leader steps down")
        for replica in left:
            node = cluster.nodes[replica]
            write, read = await asyncio.gather(
                error_of(node.propose(b"late+", timeout_s=0.3)), error_of(node.read(b"late", timeout_s=0.3))
            )
            assert isinstance(write, NotExecuted), write
            assert isinstance(read, NotExecuted), read
        assert time.monotonic() - begun < 0.8 + 0.3 * len(left) + 2, "answered by the deadline"
        assert all(b"late" not in machine.values for machine in cluster.machines.values())


@scenario
async def test_a_cluster_forms_only_with_all_its_initial_members() -> None:
    async with Cluster(3, absent=[3]) as cluster:
        error = await error_of(cluster.nodes[1].propose(b"x+", timeout_s=1.0))
        assert isinstance(error, NotExecuted)
        assert all(node.status().term == 0 for node in cluster.nodes.values())
        await cluster.start(3)
        assert await cluster.nodes[1].propose(b"x+") == 1


@scenario
async def test_a_restarted_cluster_has_everything_it_acknowledged() -> None:
    async with Cluster(3) as cluster:
        await cluster.leader()
        await asyncio.gather(*(node.propose(b"hits+") for node in cluster.nodes.values() for _ in range(20)))
        for replica in cluster.ids:
            await cluster.crash(replica)
        for replica in cluster.ids:
            await cluster.start(replica)
        assert [await node.read(b"hits") for node in cluster.nodes.values()] == [60, 60, 60]
