"""No acknowledgement before a majority's disks, and what happens when a disk fails or hangs."""

import asyncio
import contextlib
import errno
import logging
import random
import time

import pytest

from oarlock.core import Config
from oarlock.errors import NotExecuted, OutcomeUnknown, Overloaded, ReplicaFailed, ShuttingDown
from oarlock.storage import spare
from oarlock.testing.memory_disk import MemoryDisk
from tests.node.cluster import Cluster, Recorder, eventually, scenario
from tests.node.slow_disk import ALLOCATE_BYTES


async def turns(cluster: Cluster, count: int = 5) -> None:
    """Wait until every node has had so many turns: whatever was about to happen has happened."""
    for node in cluster.nodes.values():
        for _ in range(count):
            turned = asyncio.Event()
            node.at_turn_end(turned.set)
            await turned.wait()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@scenario
async def test_9_nothing_is_acknowledged_before_the_disks_of_a_majority(size: int) -> None:
    """Holding all but one less than a majority of the disks holds the write; one more disk lets it go."""
    async with Cluster(size) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=0")
        followers = [node for node in cluster.nodes.values() if node is not leader]
        free = [int(node.id) for node in followers[: size // 2]]  # with one more they would be a majority
        held = [replica for replica in cluster.ids if replica not in free]
        for replica in held:
            cluster.disks[replica].hold_syncs()
        asked = leader if size == 1 else followers[-1]
        sink = Recorder()
        asked.submit((b"x=1",), 3, sink)
        await eventually(lambda: all(cluster.disks[replica].waiting for replica in held), "every held disk is written")
        await turns(cluster)
        assert not sink.told
        assert all(machine.values[b"x"] == b"0" for machine in cluster.machines.values())
        cluster.disks[held[-1]].release()
        await eventually(lambda: sink.told, "the majority's disks are done")
        assert sink.results == [b"1"]


@scenario
async def test_ten_thousand_reads_write_nothing() -> None:
    async with Cluster(3, config=Config()) as cluster:  # the burst must not be taken for a dead leader
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        await eventually(
            lambda: len({node.status().commit_index for node in cluster.nodes.values()}) == 1, "all have the news"
        )
        before = [(node.status().last_index, node.status().commit_index) for node in cluster.nodes.values()]
        writes = [disk.log_writes for disk in cluster.disks.values()]
        answered = 0
        while answered < 10_000:
            results = await asyncio.gather(*(node.read(b"x") for node in cluster.nodes.values() for _ in range(200)))
            assert set(results) == {b"1"}
            answered += len(results)
        assert [(node.status().last_index, node.status().commit_index) for node in cluster.nodes.values()] == before
        assert [disk.log_writes for disk in cluster.disks.values()] == writes


@scenario
async def test_35_a_failing_fsync_stops_a_follower_and_the_others_go_on() -> None:
    async with Cluster(3) as cluster:
        follower = (await cluster.followers())[0]
        cluster.disks[int(follower.id)].fail_syncs()
        sink = Recorder()
        follower.submit((b"x+",), 2, sink)
        reason = await follower.failed
        assert isinstance(reason, ReplicaFailed)
        assert "log" in str(reason)
        await eventually(lambda: sink.told)
        assert sink.results == [1] or isinstance(sink.error, OutcomeUnknown), sink.error
        with pytest.raises(ShuttingDown):
            await follower.propose(b"x+")
        with pytest.raises(ShuttingDown):
            await follower.read(b"x")
        await cluster.nodes.pop(int(follower.id)).close()
        assert await (await cluster.leader()).propose(b"y+") == 1


@scenario
async def test_33_35_a_leader_whose_disk_fails_stops_and_another_takes_over() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        cluster.disks[int(leader.id)].fail_syncs(errno.ENOSPC)
        writes = [asyncio.create_task(node.propose(b"x+")) for node in cluster.nodes.values() if node is not leader]
        with contextlib.suppress(OutcomeUnknown):
            await leader.propose(b"y+")
        await leader.failed
        await cluster.nodes.pop(int(leader.id)).close()
        assert sorted(await asyncio.gather(*writes)) == [1, 2]


@scenario
async def test_39_a_full_disk_refuses_writes_and_says_so_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spare, "RETRY_S", 0.01)
    caplog.set_level(logging.INFO, "oarlock")
    full = MemoryDisk(random.Random(1))
    full.capacity_bytes = ALLOCATE_BYTES * 3 // 2  # room for the segment that is begun, and not for the next
    async with Cluster(1, disk=lambda: full) as cluster:
        node = await cluster.leader()
        await eventually(lambda: "disk is full" in caplog.text)
        with pytest.raises(Overloaded, match="disk is full"):
            await node.propose(b"x=1")
        assert await node.read(b"x") is None
        full.capacity_bytes = None
        await eventually(lambda: "there is room" in caplog.text.rpartition("disk is full")[2].partition("\n")[2])
        await node.propose(b"x=1")
        assert await node.read(b"x") == b"1"
        assert caplog.text.count("disk is full") == 1


@scenario
async def test_35_a_single_replica_whose_fsync_fails_acknowledges_nothing_any_more() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        cluster.disks[1].fail_syncs()
        results = await asyncio.gather(*(node.propose(b"x+") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, OutcomeUnknown) for result in results), results
        assert cluster.machines[1].applied == []
        assert node.failed.done()


@scenario
async def test_whoever_waits_for_the_failure_may_give_up_waiting() -> None:
    """Cancelling the wait cancels the future that all wait on; the replica must still stop, and wholly."""
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        waiter = asyncio.create_task(asyncio.wait_for(node.failed, 0))
        with pytest.raises(TimeoutError):
            await waiter
        cluster.disks[1].fail_syncs()
        with pytest.raises(OutcomeUnknown):
            await node.propose(b"x+")
        with pytest.raises(ShuttingDown):
            await node.propose(b"x+")


@scenario
async def test_a_stuck_fsync_keeps_nobody_from_closing() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        cluster.disks[1].hold_syncs()
        sink = Recorder()
        node.submit((b"x+",), 2, sink)
        await eventually(lambda: cluster.disks[1].waiting)
        begun = time.monotonic()
        await node.close(timeout_s=0.1)
        assert time.monotonic() - begun < 3
        assert isinstance(sink.error, OutcomeUnknown)


@scenario
async def test_a_directory_that_may_still_be_written_to_is_not_given_to_a_successor() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        cluster.disks[1].hold_syncs()
        node.submit((b"x+",), 2, Recorder())
        await eventually(lambda: cluster.disks[1].waiting)
        await node.close(timeout_s=0)
        assert cluster.disks[1].lock(f"{cluster.directory}/lock") is None


@scenario
async def test_59_reads_go_on_while_a_follower_disk_stalls_and_the_leader_needs_its_echoes() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        stalled, other = (node for node in cluster.nodes.values() if node is not leader)
        cluster.disks[int(stalled.id)].hold_syncs()
        await cluster.crash(int(other.id))  # now every echo that counts is the stalled one's
        sink = Recorder()
        leader.submit((b"x=2",), 3, sink)
        await eventually(lambda: cluster.disks[int(stalled.id)].waiting, "its disk is asked")
        for _ in range(20):
            assert await leader.read(b"x") == b"1"
        assert not sink.told
        assert leader.status().role == "leader"
        cluster.disks[int(stalled.id)].release()
        await eventually(lambda: sink.told)
        assert await stalled.read(b"x") == b"2"


@scenario
async def test_32_a_leader_whose_own_disk_hangs_still_acknowledges_by_the_others() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        cluster.disks[int(leader.id)].hold_syncs()
        assert await leader.propose(b"x+") == 1
        assert await leader.read(b"x") == 1
        cluster.disks[int(leader.id)].release()


@scenario
async def test_a_bug_of_the_machine_stops_the_replica_and_is_no_result() -> None:
    class Fragile:
        def apply(self, commands: object, at: object) -> object:
            raise RecursionError("too deep")

        def query(self, queries: object, at: object) -> object:
            return []

    async with Cluster(1, machine=Fragile) as cluster:
        node = await cluster.leader()
        with pytest.raises(OutcomeUnknown):
            await node.propose(b"x+")
        assert "too deep" in str(await node.failed)
        with pytest.raises(NotExecuted):
            await node.propose(b"x+")
