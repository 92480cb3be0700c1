"""The fate of forwarded writes in the corners of a failover: what survived, what waits, and what was heard of it."""

import asyncio
from typing import Any

import pytest

from oarlock.types import ReplicaId
from tests.node.cluster import Cluster, Recorder, eventually, scenario


@scenario
async def test_61_hearing_of_a_later_term_decides_nothing_applying_an_entry_of_it_does() -> None:
    """The old leader's last acts were to append the slice and to send it to the third, where it survives. Its origin
    hears of the new leader before it hears of that."""
    async with Cluster(3) as cluster:
        for round_ in range(1, 4):
            leader = await cluster.leader()
            origin, third = await cluster.followers()
            cluster.wire.hold((int(leader.id), int(origin.id)))
            last_index = third.status().last_index
            write = asyncio.create_task(origin.propose(b"x+"))
            await eventually(lambda: third.status().last_index > last_index, "the third has it")  # noqa: B023
            await cluster.crash(int(leader.id))
            await cluster.leader(int(third.id), int(origin.id))
            assert await write == round_
            assert await third.read(b"x") == round_
            cluster.wire.heal()
            await cluster.start(int(leader.id))
        assert not any(node.failed.done() for node in cluster.nodes.values())


@scenario
@pytest.mark.interpreted
async def test_67_a_leader_that_is_deposed_and_elected_again_appends_none_of_the_slices_in_its_buffers() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        origin, third = await cluster.followers()
        busy: Any = leader
        busy._may_append = lambda now: False
        writes = [asyncio.create_task(origin.propose(b"x+")) for _ in range(5)]
        await eventually(lambda: leader._intake, "they wait in the leader's buffers")
        # No link breaks: a new one would bring everything again, and what waits would be dropped for that.
        cluster.wire.hold((int(leader.id), int(origin.id)), (int(leader.id), int(third.id)))
        await cluster.leader(int(origin.id), int(third.id))
        assert await asyncio.gather(*writes) == [1, 2, 3, 4, 5], "they went to the next leader"

        del busy._may_append
        cluster.wire.heal()
        await cluster.leader()

        def elected_again() -> bool:
            for new in (origin, third):
                if new._raft.hand_over(new._clock.monotonic_s(), ReplicaId(leader.id)):
                    new._schedule_turn()
            return leader.status().role == "leader"

        await eventually(elected_again)
        assert await origin.propose(b"x+") == 6
        assert await third.propose(b"x+") == 7
        assert await leader.read(b"x") == 7
        assert not any(node.failed.done() for node in cluster.nodes.values())


@scenario
async def test_a_forwarded_write_is_answered_from_this_replicas_own_apply() -> None:
    """It is committed, and applied by everyone else, and its client waits all the same: then it reads what it wrote."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        origin, third = await cluster.followers()
        cluster.wire.hold((int(leader.id), int(origin.id)))
        sink = Recorder()
        origin.submit((b"x+",), 2, sink)
        await eventually(lambda: cluster.machines[int(third.id)].values == {b"x": 1}, "the others have applied it")
        assert not sink.told
        cluster.wire.heal()
        await eventually(lambda: sink.told)
        assert sink.results == [1]
        assert cluster.machines[int(origin.id)].values == {b"x": 1}


@scenario
async def test_a_link_that_cannot_take_a_slice_is_closed_and_all_are_sent_again_over_the_next() -> None:
    """A slice that was dropped on the way would be missed only when a later one comes."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        origin, _ = await cluster.followers()
        full: Any = origin._links._peers[leader.id].outbound._connection
        full._transport.get_write_buffer_size = lambda: 1 << 40
        sink = Recorder()
        origin.submit((b"x+",), 2, sink)
        await eventually(lambda: sink.told, within_s=3)
        assert sink.results == [1]
        assert origin._links._peers[leader.id].outbound._connection is not full
