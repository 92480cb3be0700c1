"""Cuts, resets and delays: who leads, what is answered, and by whom."""

import asyncio

import pytest

from oarlock.errors import AuthorityTimedOut, NotExecuted, NotLeader, OutcomeUnknown, TermElapsed
from oarlock.network.messages import ReadReply
from oarlock.node.node import Node
from oarlock.types import Boot, Index
from tests.node.cluster import QUICK, Cluster, Recorder, eventually, scenario


@scenario
async def test_42_a_deposed_leader_in_a_minority_answers_neither_reads_nor_writes() -> None:
    async with Cluster(3) as cluster:
        old = await cluster.leader()
        await old.propose(b"x=old")
        others = [replica for replica in cluster.ids if replica != old.id]
        cluster.wire.part([int(old.id)], others)
        read, write = Recorder(), Recorder()
        old.query((b"x",), read)  # it still believes that it leads
        old.submit((b"x=lost",), 6, write, timeout_s=0.5)
        new = await cluster.leader(*others)
        await new.propose(b"x=new")
        with pytest.raises((NotLeader, TermElapsed, AuthorityTimedOut)):
            await old.verify_authority(timeout_s=0.3)
        assert not read.told
        cluster.wire.heal()
        await eventually(lambda: read.told, "the read is tried with the new leader")
        assert read.results == [b"new"]
        await eventually(lambda: write.told)
        assert write.results == [b"lost"] or isinstance(write.error, OutcomeUnknown)
        states = [await node.read(b"x") for node in cluster.nodes.values()]
        assert len(set(states)) == 1


@scenario
async def test_62_what_a_deposed_leader_had_taken_is_handed_to_the_next_in_order_and_once() -> None:
    async with Cluster(3) as cluster:
        old = await cluster.leader()
        others = [replica for replica in cluster.ids if replica != old.id]
        cluster.wire.part([int(old.id)], others)
        writes = [asyncio.create_task(old.propose(b"%d=%d" % (number, number))) for number in range(50)]
        await cluster.leader(*others)
        assert not any(write.done() for write in writes)
        cluster.wire.heal()
        assert await asyncio.gather(*writes) == [b"%d" % number for number in range(50)]
        for machine in cluster.machines.values():
            await eventually(lambda machine=machine: len(machine.applied) == 50)  # type: ignore[misc]
            assert machine.applied == [b"%d=%d" % (number, number) for number in range(50)]


@scenario
async def test_57_a_middlebox_that_resets_all_connections_causes_no_election() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        term = leader.status().term
        for round_ in range(1, 6):
            writes = [asyncio.create_task(node.propose(b"x+")) for node in cluster.nodes.values()]
            assert cluster.wire.reset_all() == 12
            results = await asyncio.gather(*writes)
            assert sorted(results) == [3 * round_ - 2, 3 * round_ - 1, 3 * round_], "each executed exactly once"
            await eventually(lambda: len(cluster.wire.taps) == 12, "all links are back")
        assert (await cluster.leader()).status().term == term


@scenario
async def test_56_a_replica_that_was_alone_at_a_higher_term_comes_back() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        term = follower.status().term
        follower._raft.become_follower(term + 3, 0)  # type: ignore[arg-type]  # as if it had stood in vain, long ago
        follower._schedule_turn()
        await eventually(lambda: (leader.status().term, follower.status().term) >= (term + 3, term + 3))
        await cluster.leader()
        assert await asyncio.gather(*(node.propose(b"x+") for node in cluster.nodes.values()))


@scenario
async def test_31_two_replicas_that_see_only_the_third_elect_someone_and_keep_him() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        other, bridge = (replica for replica in cluster.ids if replica != leader.id)
        cluster.wire.part([int(leader.id)], [other])
        client = cluster.nodes[bridge]
        writes = [await client.propose(b"x+") for _ in range(20)]
        assert writes == list(range(1, 21))
        terms = {client.status().term}
        loop = asyncio.get_running_loop()
        until = loop.time() + 5 * QUICK.election_max_s  # long enough for a cut-off replica to try several times
        while loop.time() < until:
            await client.propose(b"x+")
            terms.add(client.status().term)
        assert len(terms) <= 2, f"terms climb: {terms}"


@scenario
async def test_a_follower_that_hears_its_leader_but_is_not_heard_answers_with_the_truth() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        cluster.wire.cut((int(follower.id), int(leader.id)))
        with pytest.raises(NotExecuted):
            await follower.propose(b"x+", timeout_s=0.2)
        with pytest.raises(NotExecuted):
            await follower.read(b"x", timeout_s=0.2)
        cluster.wire.heal()
        assert await follower.propose(b"x+") == 1
        assert await follower.read(b"x") == 1


@scenario
async def test_61_67_a_follower_whose_slices_are_on_their_way_learns_their_fate_from_the_next_leader() -> None:
    """Forwarded, taken by nobody, and the old leader gets them when they are no longer good."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower, third = await cluster.followers()
        cluster.wire.hold((int(follower.id), int(leader.id)))
        writes = [asyncio.create_task(follower.propose(b"x+")) for _ in range(10)]
        await eventually(lambda: follower._writes and not follower._writes._waiting, "they are cut")
        cluster.wire.cut((int(leader.id), int(follower.id)), (int(leader.id), int(third.id)))
        await cluster.leader(int(follower.id), int(third.id))
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 11))
        cluster.wire.heal()  # now the old slices arrive at the old leader
        await cluster.leader()
        assert await third.read(b"x") == 10
        assert await leader.propose(b"x+") == 11


@scenario
async def test_reads_on_their_way_when_the_leader_changes_are_asked_again() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower, third = await cluster.followers()
        await leader.propose(b"x=1")
        cluster.wire.hold((int(leader.id), int(follower.id)))
        reads = [asyncio.create_task(follower.read(b"x")) for _ in range(5)]
        await eventually(lambda: follower._reads._asked, "the leader is asked")
        await cluster.crash(int(leader.id))
        new = await cluster.leader(int(follower.id), int(third.id))
        await new.propose(b"x=2")
        assert set(await asyncio.gather(*reads)) <= {b"1", b"2"}
        assert await follower.read(b"x") == b"2"


@scenario
async def test_43_an_answer_to_a_read_of_this_replicas_former_life_is_none_to_this_ones() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        follower = (await cluster.followers())[0]
        await cluster.crash(int(follower.id))
        follower = await cluster.start(int(follower.id))
        await cluster.leader()
        cluster.wire.hold((int(follower.id), int(leader.id)))
        sink = Recorder()
        follower.query((b"x",), sink)
        await eventually(lambda: follower._reads._asked, "the leader is asked")
        number = follower._reads._number
        follower.received(leader.id, [ReadReply(Boot(follower.status().boot - 1), number, Index(0), 0)])
        await a_turn(follower)
        assert not sink.told
        # This one is. But the state it asks for is not there yet.
        index = Index(follower.status().applied_index + 1)
        follower.received(leader.id, [ReadReply(follower.status().boot, number, index, 0)])
        await a_turn(follower)
        assert not sink.told
        await leader.propose(b"x=2")
        await eventually(lambda: sink.told)
        assert sink.results == [b"2"]


async def a_turn(node: Node) -> None:
    """Wait until the node has had a whole turn."""
    for _ in range(2):
        turned = asyncio.Event()
        node.at_turn_end(turned.set)
        await turned.wait()


@scenario
async def test_57_a_slice_that_was_lost_with_its_link_is_sent_again_when_the_link_is_back() -> None:
    """Nothing else would ever tell: the leader misses it only when a later one comes."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        term = leader.status().term
        cluster.wire.hold((int(follower.id), int(leader.id)))
        sink = Recorder()
        follower.submit((b"x+",), 2, sink)
        await eventually(lambda: follower._writes._undecided, "it is on its way")
        cluster.wire.reset_all()
        cluster.wire.heal()
        await eventually(lambda: sink.told, within_s=2)
        assert sink.results == [1]
        assert leader.status().term == term
