"""A leader goes, on purpose or not, and the clients of the others hardly notice."""

import asyncio

import pytest

from oarlock.errors import NotExecuted, OutcomeUnknown, ShuttingDown
from oarlock.node.node import Node
from tests.node.cluster import Cluster, eventually, scenario


class Client:
    """Increments one counter through one node, one after the other, and keeps every answer."""

    def __init__(self, node: Node, name: bytes = b"hits") -> None:
        self.answers: list[int] = []
        self.longest_wait_s = 0.0
        self._node = node
        self._name = name
        self._stop = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop:
            asked_at = loop.time()
            self.answers.append(await self._node.propose(self._name + b"+"))
            self.longest_wait_s = max(self.longest_wait_s, loop.time() - asked_at)

    async def more(self, count: int = 20) -> None:
        """Wait until it has had so many more answers."""
        goal = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= goal or self._task.done(), "clients get on")

    async def stop(self) -> list[int]:
        """Let the command under way finish; return every answer, or raise the error that it met."""
        self._stop = True
        await self._task
        return self.answers


async def each_exactly_once(cluster: Cluster, clients: list[Client]) -> None:
    """Every answer was given to one client alone, none is missing, and the state is their number."""
    answers = [answer for client in clients for answer in await client.stop()]
    assert sorted(answers) == list(range(1, len(answers) + 1))
    assert await next(iter(cluster.nodes.values())).read(b"hits") == len(answers)


@pytest.mark.parametrize("size", [2, 3])
@scenario
async def test_a_leader_that_closes_hands_over_and_no_write_is_lost_or_doubled(size: int) -> None:
    async with Cluster(size) as cluster:
        leader = await cluster.leader()
        clients = [Client(node) for node in await cluster.followers() for _ in range(5)]
        await clients[0].more()
        await cluster.stop(int(leader.id))
        if size == 2:
            await cluster.start(int(leader.id))  # the other leads, but alone it commits nothing
        await clients[0].more()
        await each_exactly_once(cluster, clients)
        if size == 3:
            # Below the shortest election timeout, even: nobody had to find out that it is gone.
            assert max(client.longest_wait_s for client in clients) < 0.3


@scenario
async def test_of_two_the_one_that_stays_leads_when_the_leader_has_closed() -> None:
    async with Cluster(2) as cluster:
        leader = await cluster.leader()
        other = (await cluster.followers())[0]
        await cluster.stop(int(leader.id))
        await eventually(lambda: other.status().role == "leader", "the vote had left before the leader did")


@scenario
async def test_a_crashed_leader_costs_the_clients_of_the_others_no_write_and_no_error() -> None:
    async with Cluster(3) as cluster:
        for _ in range(3):
            leader = await cluster.leader()
            clients = [Client(node) for node in await cluster.followers() for _ in range(5)]
            await clients[0].more()
            await cluster.crash(int(leader.id))
            await clients[0].more()
            answers = [answer for client in clients for answer in await client.stop()]
            assert len(set(answers)) == len(answers)
            await cluster.start(int(leader.id))
            assert await cluster.nodes[int(leader.id)].read(b"hits") == max(answers) >= len(answers)
        applied = [machine.applied.count(b"hits+") for machine in cluster.machines.values()]
        assert applied[0] == cluster.machines[1].values[b"hits"]


@scenario
async def test_61_everything_that_waited_for_the_crashed_leader_is_executed_exactly_once() -> None:
    """Its slices were appended, committed, or lost with it."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower, third = await cluster.followers()
        writes = [asyncio.create_task(node.propose(b"hits+")) for _ in range(100) for node in (follower, third)]
        await eventually(lambda: leader._raft.log.last_index > 1, "the leader has taken some")
        await cluster.crash(int(leader.id))
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 201))


@scenario
async def test_clients_of_the_leader_that_crashes_hear_the_truth() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        writes = [asyncio.create_task(leader.propose(b"hits+")) for _ in range(50)]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        late = asyncio.create_task(leader.propose(b"late+"))
        await asyncio.sleep(0)  # it is submitted, and nothing has happened
        await cluster.crash(int(leader.id))
        outcomes = await asyncio.gather(*writes, late, return_exceptions=True)
        new = await cluster.leader()
        hits = await new.read(b"hits") or 0
        acknowledged = [outcome for outcome in outcomes if isinstance(outcome, int)]
        unknown = [outcome for outcome in outcomes if isinstance(outcome, OutcomeUnknown)]
        assert len(acknowledged) <= hits <= len(acknowledged) + len(unknown)
        assert all(isinstance(outcome, int | OutcomeUnknown | NotExecuted) for outcome in outcomes), outcomes


@scenario
async def test_closing_lets_what_is_under_way_finish_and_takes_nothing_new() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        writes = [asyncio.create_task(follower.propose(b"hits+")) for _ in range(20)]
        reads = [asyncio.create_task(follower.read(b"hits")) for _ in range(20)]
        await asyncio.sleep(0)  # all are submitted
        closing = asyncio.create_task(cluster.stop(int(follower.id)))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await follower.propose(b"hits+")
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 21))
        await asyncio.gather(*reads)
        await closing
        assert await leader.read(b"hits") == 20


@scenario
async def test_closing_twice_and_at_once_is_closing_and_both_wait_for_the_end() -> None:
    async with Cluster(1) as cluster:
        node = cluster.nodes.pop(1)
        await asyncio.gather(node.close(), node.close(timeout_s=0))
        await node.close()
        lock = cluster.disks[1].lock(f"{cluster.directory}/lock")
        assert lock is not None, "it is free"
        lock.release()


@scenario
async def test_a_close_that_is_cancelled_goes_on_all_the_same() -> None:
    async with Cluster(1) as cluster:
        node = cluster.nodes.pop(1)
        closing = asyncio.create_task(node.close(timeout_s=0))
        await asyncio.sleep(0)  # it has begun
        assert node._stopped
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await node.close()
        lock = cluster.disks[1].lock(f"{cluster.directory}/lock")
        assert lock is not None
        lock.release()
