"""The key-value store as the subject of a simulation: served to Redis clients, by the server itself."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from random import Random
from typing import Any, cast

from crc32c import crc32c

from oarlock.kv import KeyValue
from oarlock.node.node import Node
from oarlock.server.redis import RedisServer
from oarlock.state_machine import StateMachine
from oarlock.testing.linearizability import NEVER, Operation, check
from oarlock.testing.models import MODELS
from oarlock.testing.simulation import clients
from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.host import CLIENT_PORT, Host, Served
from oarlock.testing.simulation.record import Record
from oarlock.types import Command


class KeyValueStore:
    """A :class:`~oarlock.testing.simulation.subject.Subject`."""

    def machine(self) -> StateMachine:
        return KeyValue()

    def command(self, logged: Command) -> Command:
        return logged

    def markers(self, logged: Command) -> Iterable[Hashable]:
        return clients.markers(logged)

    def told(self, result: Any) -> Any:
        return clients.told(result)

    def digest(self, machine: StateMachine) -> object:
        """All that commands may ever see. How far a replica is with removing keys whose time is over shows nowhere, and
        differs: one that was restored never had them.
        """
        data = cast(Any, machine)._data
        lifetimes = data.lifetimes
        shards = filter(None, data.shards)
        there = sorted(item for shard in shards for item in shard.items() if not lifetimes.gone(item[0]))
        ends = sorted(
            (key, deadline, lifetimes.unix_ms(key))
            for key, deadline in lifetimes.deadlines.items()
            if deadline > lifetimes.now_ms
        )
        return repr((there, ends, data.change, lifetimes.now_ms)), crc32c(data.versions)

    async def serve(self, node: Node, machine: StateMachine, host: Host) -> Served:
        assert host.network is not None
        server = RedisServer(
            node,
            cast(KeyValue, machine),
            listen=host.network.listen_for_clients,
            now=host.clock.monotonic_s,
            wall_ms=host.clock.wall_ms,
        )
        await server.start(host.address, CLIENT_PORT)
        return _Server(server)

    def client(self, number: int, cluster: Cluster, random: Random) -> clients.Client:
        return clients.Client(number, cluster.loop, cluster.wires, cluster.record, random, cluster.hosts)

    def judge(self, cluster: Cluster) -> Iterable[str]:
        """What stands in the log, and what was looked up, is what clients asked for. And search for a legal order key
        by key, too: that trusts neither the log nor the machine."""
        for call in cluster.record.calls:
            if call.is_read:
                if call.outcome == "ok" and call.query != call.request:
                    return (f"looked up {call.query!r:.200} instead: {call}",)
            elif call.position is not None:
                logged = cluster.history.applied[call.position].command
                if not clients.says(logged, call.request):
                    return (f"executed {logged!r:.200} instead: {call}",)
        verdict = check(_operations(cluster.record), MODELS["kv"])
        return () if verdict.outcome == "linearizable" else (verdict.sentence,)


def _operations(record: Record) -> list[Operation]:
    """The calls on a single key that a model knows."""
    return [
        Operation(
            call.subject,
            call.function,
            call.argument,
            _hashable(call.result),
            call.invoked,
            call.completed if call.outcome == "ok" else NEVER,
            call.client,
        )
        for call in record.calls
        if call.function and call.outcome != "failed"
    ]


def _hashable(result: Any) -> Hashable:
    """The search looks results up. No command on a single key answers with a list, but a wrong answer may be one."""
    return repr(result) if isinstance(result, list) else cast(Hashable, result)


class _Server:
    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def close(self) -> None:
        await self._server.close(7.0)
