"""A replica of one, in memory: orders groups, resolves them in a later loop callback, and misbehaves on demand."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec

from oarlock.errors import OarlockError
from oarlock.kv import KeyValue
from oarlock.node.api import MemberStatus, Status
from oarlock.node.sink import PlacedQuery, Sink
from oarlock.state_machine import Position
from oarlock.types import NO_REPLICA, Boot, Command, Index, ReplicaId, Term

STATUS = Status(
    replica_id=ReplicaId(1),
    role="leader",
    term=Term(7),
    leader_id=ReplicaId(1),
    leader_redis="127.0.0.1:6379",
    commit_index=Index(12),
    applied_index=Index(11),
    last_index=Index(13),
    voters=(ReplicaId(1), ReplicaId(2), ReplicaId(3)),
    boot=Boot(1),
    cluster_id="fake",
    cluster_name="oarlock",
    incarnation=4711,
    ready=True,
    leader_http="127.0.0.1:8401",
    members=tuple(
        MemberStatus(ReplicaId(n), f"127.0.0.1:740{n}", "voter", NO_REPLICA, "", "", None, None, None, None)
        for n in (1, 2, 3)
    ),
    joint=False,
    configuration_index=Index(2),
    durable_index=Index(13),
    log_bytes=100,
    snapshot_index=Index(5),
    snapshot_bytes=1000,
    disk_latency_s=0.002,
)


class FakeReplica:
    """See the module. ``held`` keeps outcomes back, ``failure`` fails groups, ``room`` refuses to take more."""

    def __init__(self, machine: KeyValue | None = None) -> None:
        self.machine = machine or KeyValue()
        self.present = STATUS
        self.time_ms = 0
        """Log time, of entries and of reads."""
        self.held = False
        self.failure: OarlockError | None = None
        self.room = True
        self.groups: list[tuple[str, list[Any]]] = []
        """Every group that came, as (``write`` or ``read``, its commands), while :attr:`recording`."""
        self.recording = True
        self._outcomes: deque[Callable[[], None]] = deque()
        self._due = False
        self._writable: list[Callable[[], None]] = []
        self._inside = False

    # Replica

    def submit(
        self, commands: Sequence[Command], size_bytes: int, sink: Sink, placed: Sequence[PlacedQuery] = ()
    ) -> bool:
        assert not self._inside, "a sink called back into the replica"
        assert 0 < len(commands) <= 1024 and (size_bytes <= 1024 * 1024 or len(commands) == 1)
        assert size_bytes >= sum(len(b"".join(command)) for command in commands if command[0] != b"EXEC")
        if self.recording:
            self.groups.append(("write", _in_order(commands, placed)))
        failure = self.failure
        self._later(lambda: sink.failed(failure) if failure else sink.resolved(self._woven(commands, placed)))
        return self.room

    def query(self, queries: Sequence[Any], sink: Sink) -> None:
        assert not self._inside, "a sink called back into the replica"
        if self.recording:
            self.groups.append(("read", list(queries)))
        failure = self.failure
        self._later(lambda: sink.failed(failure) if failure else sink.resolved(self._query(queries)))

    def when_writable(self, callback: Callable[[], None]) -> None:
        self._writable.append(callback)

    def at_turn_end(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def status(self) -> Status:
        return self.present

    # What tests do to it

    def become(self, **changes: Any) -> None:
        self.present = msgspec.structs.replace(self.present, **changes)

    def release(self) -> None:
        """Let the outcomes go that were held back."""
        self.held = False
        self._schedule()

    def make_room(self) -> None:
        self.room = True
        callbacks, self._writable = self._writable, []
        for callback in callbacks:
            callback()

    # Inside

    def _later(self, outcome: Callable[[], None]) -> None:
        self._outcomes.append(outcome)
        self._schedule()

    def _schedule(self) -> None:
        if not self._due and not self.held:
            self._due = True
            asyncio.get_running_loop().call_soon(self._resolve)

    def _resolve(self) -> None:
        self._due = False
        self._inside = True
        while self._outcomes and not self.held:
            self._outcomes.popleft()()
        self._inside = False

    def _apply(self, commands: Sequence[Command]) -> Sequence[Any]:
        return self.machine.apply(commands, Position(index=Index(1), time_ms=self.time_ms))

    def _woven(self, commands: Sequence[Command], placed: Sequence[PlacedQuery]) -> Sequence[Any]:
        if not placed:
            return self._apply(commands)
        queries = {id(query) for _, query in placed}
        return [
            (self._query if id(item) in queries else self._apply)([item])[0] for item in _in_order(commands, placed)
        ]

    def _query(self, queries: Sequence[Any]) -> Sequence[Any]:
        return [
            _finished(result) if isinstance(result, Generator) else result
            for result in self.machine.query(queries, Position(Index(1), self.time_ms))
        ]


def _in_order(commands: Sequence[Command], placed: Sequence[PlacedQuery]) -> list[Any]:
    items: list[Any] = list(commands)
    for position, query in reversed(placed):
        items.insert(position, query)
    return items


def _finished(answer: Generator[None, None, Any]) -> Any:
    while True:
        try:
            next(answer)
        except StopIteration as end:
            return end.value
