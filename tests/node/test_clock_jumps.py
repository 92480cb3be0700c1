"""Scenario 45: clocks that jump or stand still cost time, never truth."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from oarlock.node.node import Node
from oarlock.state_machine import Position
from tests.node.clocks import Clocks
from tests.node.cluster import Cluster, Recorder, Store, eventually, scenario

HOUR_S = 3600.0


async def turns(node: Node, count: int) -> None:
    """Let the node have so many turns: whatever it was going to do at once, it has done."""
    for _ in range(count):
        turned = asyncio.Event()
        node.at_turn_end(turned.set)
        await turned.wait()


@pytest.mark.parametrize("whose", ["leader", "follower", "all"])
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
@scenario
async def test_45_a_clock_that_jumps_makes_no_read_old_and_no_write_double(jump_s: float, whose: str) -> None:
    clocks = Clocks()
    async with Cluster(3, clock=clocks.of) as cluster:
        leader = await cluster.leader()
        before = leader.status()
        victims = {"leader": [leader], "follower": (await cluster.followers())[:1], "all": list(cluster.nodes.values())}
        acknowledged = await leader.propose(b"x+")
        for _ in range(3):
            for victim in victims[whose]:
                clocks.of(int(victim.id)).ahead_s += jump_s
            for writer in cluster.nodes.values():
                acknowledged += 1
                assert await writer.propose(b"x+") == acknowledged
                assert await asyncio.gather(*(node.read(b"x") for node in cluster.nodes.values())) == [acknowledged] * 3
        log = leader._raft.log
        times = [entry.time_ms for entry in log.between(1, log.last_index)]
        assert times == sorted(times), "log time never goes back"
        assert leader.status().term - before.term <= 2 * 3, "an election for a jump, and perhaps one that was split"
        assert not any(node.failed.done() for node in cluster.nodes.values())


@scenario
async def test_45_a_leader_whose_clock_stands_still_trusts_no_lease() -> None:
    """To it, its majority has just confirmed it; but meanwhile another leads."""
    clocks = Clocks()
    async with Cluster(3, clock=clocks.of) as cluster:
        old = await cluster.leader()
        await old.propose(b"x=old")
        others = [replica for replica in cluster.ids if replica != old.id]
        assert await old.read(b"x") == b"old"
        clocks.of(int(old.id)).stop()
        cluster.wire.part([int(old.id)], others)
        new = await cluster.leader(*others)
        await new.propose(b"x=new")
        assert old.status().role == "leader", "its clock tells it nothing else"

        read = Recorder()
        old.query((b"x",), read)
        await turns(old, 20)
        assert not read.told
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await old.verify_authority()
        clocks.of(int(old.id)).go_on()
        cluster.wire.heal()
        await eventually(lambda: read.told, "it is tried again with the new leader")
        assert read.results == [b"new"]


@scenario
async def test_45_wall_clocks_decide_nothing() -> None:
    clocks = Clocks()
    async with Cluster(3, clock=clocks.of) as cluster:
        leader = await cluster.leader()
        term = leader.status().term
        for number, days in enumerate((40_000, -40_000, 0), 1):
            for replica in cluster.ids:
                clocks.of(replica).wall_ahead_ms = days * replica * 86_400_000
            for node in cluster.nodes.values():
                await node.propose(b"x=%d" % number)
                assert await node.read(b"x") == b"%d" % number
        assert (await cluster.leader()).status().term == term
        log = leader._raft.log
        assert max(entry.time_ms for entry in log.between(1, log.last_index)) < 60_000, "the cluster is that young"


class Timed(Store):
    """Answers with the log time that it is told."""

    def query(self, queries: Sequence[Any], at: Position) -> list[Any]:
        return [at.time_ms for _ in queries]


@scenario
async def test_a_read_is_told_the_leaders_log_time_which_goes_on_while_nobody_writes() -> None:
    """Else what is left of a lifetime would stand still as long as the log does."""
    clocks = Clocks()
    async with Cluster(3, machine=Timed, clock=clocks.of) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x+")
        before = leader._raft.log.last_time_ms
        clocks.jump(HOUR_S)
        for node in cluster.nodes.values():
            assert await node.read(b"x") >= before + HOUR_S * 1000
        assert leader._raft.log.last_time_ms < before + HOUR_S * 1000, "nothing was written"
