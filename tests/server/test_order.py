"""What one connection reads and writes, in the order of its own requests and of what others have finished."""

import asyncio

from oarlock.kv import KeyValue
from tests.node.cluster import Cluster, eventually, scenario
from tests.server.clients import Client, replies


@scenario
async def test_69_a_read_behind_a_write_that_was_cut_sees_what_another_has_read_meanwhile() -> None:
    """The write of its connection stands in the log below the other client's, and comes to be applied before it: at
    that place the read would be old."""
    async with Cluster(3, machine=KeyValue) as cluster:
        leader = await cluster.leader()
        follower, _ = await cluster.followers()
        route = (int(leader.id), int(follower.id))
        slow, other = Client(cluster, follower), Client(cluster, leader)
        assert await other.ask("SET k old") == "OK"
        await eventually(lambda: follower.status().applied_index == leader.status().commit_index, "all have it")

        last_index = leader.status().last_index
        cluster.wire.hold(route)
        slow.say("SET own 1")
        await eventually(lambda: leader.status().commit_index > last_index, "it is cut, and stands in the log")
        assert await other.ask("SET k new", "GET k") == "OK new"
        slow.say("GET k")
        answers: list[str] = []
        while len(answers) < 2:
            # Piece by piece, so that there is a moment at which the write is applied and the other's is not.
            await eventually(lambda: cluster.wire.trickle(*route), "more comes from the leader")
            for _ in range(10):
                await asyncio.sleep(0)
            answers = replies(slow.heard)
        assert answers == ["OK", "new"]
