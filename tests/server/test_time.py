"""Lifetimes of a cluster: wall clocks that are wrong, hours without a client, and failovers."""

import pytest

from oarlock.kv import KeyValue
from oarlock.node.node import Node
from tests.node.clocks import Clocks
from tests.node.cluster import Cluster, eventually, scenario
from tests.server.clients import Client

YEARS_MS = 75 * 365 * 86_400_000
"""So far ahead is a clock that believes to be in the year 2100."""
HOUR_S = 3600.0


def log_times(node: Node) -> list[int]:
    log = node._raft.log
    return [entry.time_ms for entry in log.between(1, log.last_index)]


@scenario
async def test_55_a_leader_in_the_year_2100_poisons_neither_log_time_nor_lifetimes() -> None:
    clocks = Clocks()
    async with Cluster(3, machine=KeyValue, clock=clocks.of) as cluster:
        leader = await cluster.leader()
        follower, third = await cluster.followers()
        future = clocks.of(int(leader.id))
        future.wall_ahead_ms = YEARS_MS
        there, here = Client(cluster, leader, future.wall_ms), Client(cluster, follower)
        assert (
            await there.ask("SET long 1 EX 100", "SET short 1 PX 300", "SET kept 1", "EXPIRE kept 200") == "OK OK OK 1"
        )
        unix_s = clocks.of(int(follower.id)).wall_ms() // 1000
        assert (
            await here.ask("SET late 1", f"EXPIREAT late {unix_s + 300}", f"SET at 1 EXAT {unix_s + 400}") == "OK 1 OK"
        )
        await eventually(lambda: all(len(machine) == 4 for machine in cluster.machines.values()), "the short one ended")

        await cluster.crash(int(leader.id))
        await cluster.leader(int(follower.id), int(third.id))
        for client in (here, Client(cluster, third)):
            left = list(map(int, (await client.ask("TTL long", "TTL kept", "TTL late", "TTL at")).split()))
            for ttl, whole in zip(left, (100, 200, 300, 400), strict=True):
                assert whole - 20 <= ttl <= whole, left
            assert await client.ask("EXISTS short") == "0"
        assert max(log_times(third)) < 60_000, "the cluster is that young, whatever its leader believed"


@pytest.mark.parametrize("leader_goes", [True, False], ids=["and the leader dies", "and it stays"])
@scenario
async def test_70_of_two_hours_one_is_left_after_an_idle_hour(leader_goes: bool) -> None:
    clocks = Clocks()
    async with Cluster(3, machine=KeyValue, clock=clocks.of) as cluster:
        leader = await cluster.leader()
        assert await Client(cluster, leader).ask("SET k v EX 7200", "SET gone v EX 3599") == "OK OK"
        clocks.jump(HOUR_S)
        if leader_goes:
            await cluster.crash(int(leader.id))
            del cluster.machines[int(leader.id)]
        await cluster.leader()
        for node in cluster.nodes.values():
            client = Client(cluster, node)
            assert 3580 <= int(await client.ask("TTL k")) <= 3600
            await eventually(lambda node=node: len(cluster.machines[int(node.id)]) == 1, "the other has ended")  # type: ignore[misc]
            assert await client.ask("GET gone") == "nil"
        if leader_goes:
            back = await cluster.start(int(leader.id))
            await cluster.leader()
            assert 3580 <= int(await Client(cluster, back).ask("TTL k")) <= 3600, (
                "also where the hour was slept through"
            )
