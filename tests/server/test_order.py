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


@scenario
async def test_reads_that_one_replica_answers_among_its_writes_leave_no_trace_in_its_state() -> None:
    """It divides a batch for them that the others apply in one go. What a transaction has watched must be the same to
    all of them, or some execute it and some do not."""
    async with Cluster(3, machine=KeyValue) as cluster:
        await cluster.leader()
        for number, node in enumerate(cluster.nodes.values()):
            client = Client(cluster, node)
            assert await client.ask("SET a 1", "GET a", "SET b 2", "GET b", f"INCRBY n {number}", "SET a 3") == (
                f"OK 1 OK 2 {sum(range(number + 1))} OK"
            )
            client.say("WATCH a b n", "MULTI", "INCRBY transactions 1", "EXEC")
            await eventually(lambda client=client: f"*1\r\n:{number + 1}\r\n" in client.heard, "it is executed")  # type: ignore[misc]  # noqa: B023
        indexes = [node.status().commit_index for node in cluster.nodes.values()]
        await eventually(lambda: all(node.status().applied_index >= max(indexes) for node in cluster.nodes.values()))
        one, *others = (machine._data for machine in cluster.machines.values())
        for other in others:
            assert (other.shards, other.versions) == (one.shards, one.versions)
