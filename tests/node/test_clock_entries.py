"""A state machine that waits for a time is told through the log, on every replica alike, and no oftener than needed."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from oarlock.node.node import CLOCK_ENTRY_S
from oarlock.state_machine import Position
from oarlock.types import Command, Entry, EntryKind
from tests.node.cluster import Cluster, eventually, scenario

LIFETIME_MS = 300


class Candle:
    """Burns for a while after it was lit. Only times in the log tell it that it is out."""

    def __init__(self) -> None:
        self.next_due_ms: int | None = None
        self.out_at: list[int] = []
        self.calls_without_commands = 0

    def apply(self, commands: Sequence[Command], at: Position) -> list[Any]:
        if not commands:
            self.calls_without_commands += 1
        if self.next_due_ms is not None and at.time_ms >= self.next_due_ms:
            self.out_at.append(self.next_due_ms)
            self.next_due_ms = None
        for _ in commands:
            self.next_due_ms = at.time_ms + LIFETIME_MS
        return [self.next_due_ms for _ in commands]

    def query(self, queries: Sequence[Any], at: Position) -> list[Any]:
        return [at.time_ms for _ in queries]


@scenario
async def test_what_is_due_ends_on_every_replica_at_the_same_log_time() -> None:
    machines: list[Candle] = []

    def machine() -> Candle:
        machines.append(Candle())
        return machines[-1]

    async with Cluster(3, machine=machine) as cluster:
        leader = await cluster.leader()
        due = await leader.propose(b"light")
        await eventually(lambda: all(candle.out_at == [due] for candle in machines), "it is out everywhere")
        assert all(candle.calls_without_commands >= 1 for candle in machines)
        last_index = leader.status().last_index
        await asyncio.gather(*(node.read(None) for node in cluster.nodes.values()))
        assert leader.status().last_index == last_index, "nothing is due any more, and nothing is written"


class Impatient(Candle):
    """Waits for something again as soon as something has ended."""

    def apply(self, commands: Sequence[Command], at: Position) -> list[Any]:
        self.next_due_ms = at.time_ms + 1
        return [None for _ in commands]


@scenario
async def test_clock_entries_are_gathered() -> None:
    async with Cluster(3, machine=Impatient) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"begin")
        log = leader._raft.log

        def entries() -> list[Entry]:
            return [entry for entry in log.between(1, log.last_index) if entry.kind == EntryKind.CLOCK]

        await eventually(lambda: len(entries()) >= 5, "it is told all the same")
        for earlier, later in pairwise(entries()):
            if earlier.term == later.term:  # else two leaders appended them
                assert later.time_ms - earlier.time_ms >= 1000 * CLOCK_ENTRY_S - 2


@scenario
async def test_a_read_brings_the_leaders_time_to_any_replica() -> None:
    async with Cluster(3, machine=Candle) as cluster:
        leader = await cluster.leader()
        due = await leader.propose(b"light")
        for node in cluster.nodes.values():
            first = await node.read(None)
            assert due - LIFETIME_MS <= first < due + 5_000
            assert await node.read(None) >= first
