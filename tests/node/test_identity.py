"""Who comes back under an old name, and whether it may."""

import asyncio
import copy
from typing import Any

import pytest

from oarlock.cli.process import EXIT_FAILED, EXIT_REFUSED, EXIT_STOPPED, exit_status
from oarlock.errors import ReplicaFailed, ReplicaRefused, ReplicaRemoved, StartupError
from oarlock.network.messages import Refusal
from oarlock.node.node import Node
from tests.node.cluster import Cluster, Recorder, eventually, scenario
from tests.node.slow_disk import SlowDisk


@scenario
async def test_52_a_wiped_and_initialised_member_is_refused_and_the_others_go_on() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        wiped = int((await cluster.followers())[0].id)
        await cluster.crash(wiped)
        await cluster.initialise(wiped)  # an operator's mistake
        node = await cluster.start(wiped)
        assert "initialised later" in str(await node.failed)
        await cluster.nodes.pop(wiped).close()
        with pytest.raises(StartupError, match="refused"):
            await cluster.start(wiped)
        assert await leader.propose(b"x=2") == b"2"


@scenario
async def test_71_a_wiped_member_and_one_that_never_ran_form_no_second_history() -> None:
    async with Cluster(3, absent=[3]) as cluster:
        await cluster.start(3)
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        for replica in cluster.ids:
            await cluster.crash(replica)
        await cluster.initialise(2)
        await cluster.initialise(3)  # as one that never ran
        for replica in (2, 3):
            await cluster.start(replica)
        await eventually(lambda: cluster.nodes[2]._links.connected_peers and cluster.nodes[3]._links.connected_peers)
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0  # several election timeouts
        await eventually(lambda: loop.time() > until)
        assert [cluster.nodes[replica].status().term for replica in (2, 3)] == [0, 0]


@scenario
async def test_52_a_directory_copied_back_from_a_backup_is_refused_and_stays_down() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        victim = int((await cluster.followers())[0].id)
        await cluster.crash(victim)
        backup = copy.deepcopy(cluster.disks[victim].inner)
        await cluster.start(victim)
        await cluster.leader()
        for _ in range(5):
            await leader.propose(b"x=2")
        await eventually(lambda: match_at(leader, victim) == leader.status().last_index, "it has acknowledged them")
        await cluster.crash(victim)
        cluster.disks[victim] = SlowDisk(backup)
        node = await cluster.start(victim)
        assert "copy" in str(await node.failed)
        await cluster.nodes.pop(victim).close()
        with pytest.raises(StartupError, match="refused"):
            await cluster.start(victim)
        assert await leader.propose(b"x=3") == b"3"


@scenario
async def test_72_a_replica_whose_acknowledged_suffix_was_replaced_is_not_refused() -> None:
    async with Cluster(5) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        others = [replica for replica in cluster.ids if replica != leader.id]
        follower = others[0]
        # Only this follower gets the next entries, and acknowledges them: they are not committed.
        for other in others[1:]:
            cluster.wire.part([int(leader.id), follower], [other])
        await acknowledge_in_vain(leader, follower)
        await cluster.leader(*others[1:])
        cluster.wire.cut((int(leader.id), follower), (follower, int(leader.id)))
        await cluster.crash(follower)
        acknowledged = leader.status().last_index
        for routes in list(cluster.wire.cuts):  # it sees the new leader, and not the one it promised something
            if int(leader.id) not in routes:
                del cluster.wire.cuts[routes]
        node = await cluster.start(follower)
        await cluster.leader(*others)
        assert node.status().last_index < acknowledged, "its suffix was replaced by a shorter one"
        await cluster.crash(follower)
        cluster.wire.heal()
        node = await cluster.start(follower)
        await cluster.leader()
        assert not node.failed.done()
        assert await node.propose(b"x=2") == b"2"
        assert await node.read(b"lost") is None


@scenario
async def test_72_nor_is_one_that_meets_others_while_its_suffix_is_being_replaced() -> None:
    """It has cut off what it acknowledged, and the term that allows this is not on its disk yet."""
    async with Cluster(5) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        others = [replica for replica in cluster.ids if replica != leader.id]
        follower = others[0]
        for other in others[1:]:
            cluster.wire.part([int(leader.id), follower], [other])
        await acknowledge_in_vain(leader, follower)
        await cluster.leader(*others[1:])
        cluster.wire.cut((int(leader.id), follower), (follower, int(leader.id)))
        node = cluster.nodes[follower]
        before = node.hello()
        cluster.disks[follower].hold_syncs()
        for routes in list(cluster.wire.cuts):
            if int(leader.id) not in routes:
                del cluster.wire.cuts[routes]
        await eventually(lambda: node.status().last_index < before.last_index, "its suffix is cut off, in memory")
        assert node.hello() == before
        cluster.wire.heal()
        await eventually(lambda: leader.id in node._links.connected_peers, "they have met")
        await eventually(lambda: follower in leader._links.connected_peers, "they have met")
        cluster.disks[follower].release()
        await cluster.leader()
        assert not node.failed.done()
        assert await node.propose(b"x=2") == b"2"


@scenario
@pytest.mark.interpreted
async def test_26_a_replica_that_was_removed_is_told_so_and_stays_down() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        removed = int((await cluster.followers())[0].id)
        await cluster.crash(removed)
        told = Refusal("removed", f"replica {removed} was removed from this cluster")
        for node in cluster.nodes.values():
            node.examine = lambda hello: told if hello.replica == removed else None  # type: ignore[method-assign]
        node = await cluster.start(removed)
        reason = await node.failed
        assert isinstance(reason, ReplicaRemoved)
        assert "was removed from this cluster" in str(reason)
        assert exit_status(reason) == EXIT_STOPPED
        await cluster.nodes.pop(removed).close()
        with pytest.raises(StartupError, match="was removed from this cluster"):
            await cluster.start(removed)
        assert await leader.propose(b"x=2") == b"2"


@scenario
async def test_who_is_no_member_waits_to_become_one() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        waiting = (await cluster.followers())[0]
        waiting.refused(leader.id, Refusal("replica", "you are no member"))
        assert await waiting.propose(b"x=1") == b"1"
        assert not waiting.failed.done()


def test_what_a_process_that_stops_by_itself_exits_with() -> None:
    statuses = [exit_status(error("why")) for error in (ReplicaRemoved, ReplicaRefused, ReplicaFailed)]
    assert statuses == [EXIT_STOPPED, EXIT_REFUSED, EXIT_FAILED] == [0, 2, 1]


def match_at(leader: Node, follower: int) -> int:
    """What the follower has acknowledged to this leader; 0 once it does not lead any more."""
    role: Any = leader._raft.role
    return role.progress[follower].match if hasattr(role, "progress") else 0


async def acknowledge_in_vain(leader: Node, follower: int) -> None:
    """The leader appends four entries, each in a turn of its own, and the follower acknowledges them."""
    for last_index in range(leader.status().last_index + 1, leader.status().last_index + 5):
        leader.submit((b"lost=1",), 6, Recorder(), timeout_s=0.1)
        await eventually(lambda last_index=last_index: match_at(leader, follower) == last_index, "it acknowledges")  # type: ignore[misc]
