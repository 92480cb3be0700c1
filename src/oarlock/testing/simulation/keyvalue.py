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
from oarlock.testing.simulation.reference import Reference
from oarlock.types import Command, Index


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
        """What stands in the log, and what was looked up, is what clients asked for. It has the results that it has by
        the reference. And search for a legal order key by key, too: that trusts neither the log nor the machine."""
        for call in cluster.record.calls:
            if call.is_read:
                if call.outcome == "ok" and call.query != call.request:
                    return (f"looked up {call.query!r:.200} instead: {call}",)
            elif call.position is not None:
                logged = cluster.history.applied[call.position].command
                if not clients.says(logged, call.request):
                    return (f"executed {logged!r:.200} instead: {call}",)
        problems = cluster.history.contradictions(Reference(_aborted(cluster)))
        if problems:
            return [f"by the reference: {problem}" for problem in problems]
        verdict = check(_operations(cluster.record), MODELS["kv"])
        return () if verdict.outcome == "linearizable" else (verdict.sentence,)


def _aborted(cluster: Cluster) -> dict[bytes, Index | None]:
    """The transactions that were not executed because of what they watched, by their commands; and the first index at
    which they may have begun to watch. Among them with None those that must not be executed."""
    history = cluster.history
    found: dict[bytes, Index | None] = {}
    for call in cluster.record.calls:
        if call.position is None or not (call.hopeless or call.watched):
            continue
        applied = history.applied[call.position]
        _, _, commands = cast(tuple[bytes, ...], applied.command)
        if call.hopeless:
            found[commands] = None
        elif call.watched is not None and applied.result is None:
            watched = call.watched
            places = history.positions(call.replica, watched.query, watched.since, watched.read.invoked)
            found[commands] = min(at.index for at in places)
    return found


def _operations(record: Record) -> list[Operation]:
    """The calls on a single key that a model knows. One that touches every key is one on each."""
    subjects = list(dict.fromkeys(call.subject for call in record.calls if call.function))
    operations = []
    for call in record.calls:
        if call.outcome == "failed":
            continue
        completed = call.completed if call.outcome == "ok" else NEVER
        if call.function:
            result = _hashable(call.result)
            one = Operation(call.subject, call.function, call.argument, result, call.invoked, completed, call.client)
            operations.append(one)
        elif b"FLUSHALL" in call.request and (call.outcome, call.result) != ("ok", None):
            operations += [
                Operation(subject, "delete", None, None, call.invoked, completed, call.client) for subject in subjects
            ]
    return operations


def _hashable(result: Any) -> Hashable:
    """The search looks results up. No command on a single key answers with a list, but a wrong answer may be one."""
    return repr(result) if isinstance(result, list) else cast(Hashable, result)


class _Server:
    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def close(self) -> None:
        await self._server.close(7.0)
