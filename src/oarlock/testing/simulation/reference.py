"""A second key-value store, as small as can be: what the commands of simulated clients do, one after another.

Replaying the log with the product's own machine finds replicas that differ, but not what the machine does wrong
everywhere and always: a lifetime that it forgets, a transaction that it never lets through. So the log is replayed with
this one, too. It shares nothing with the product but the form of a command in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oarlock.kv import packing
from oarlock.state_machine import Position
from oarlock.testing.simulation.applied import Divergence
from oarlock.types import Command, Index


class Reference:
    """A :class:`~oarlock.state_machine.StateMachine` whose results are what clients see."""

    def __init__(self, aborted: Mapping[bytes, Index | None]) -> None:
        """``aborted``: of the transactions that were not executed, each by its commands, the index at which the keys
        were watched, or None if a key could not be. What versions the product gives to keys is its own affair."""
        self._aborted = aborted
        self._values: dict[bytes, bytes] = {}
        self._ends: dict[bytes, int] = {}
        """Log times at which keys are gone."""
        self._touched: dict[bytes, Index] = {}
        """By key: where it was written or removed last."""
        self._at = Position(Index(0), 0)

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        self._at = at
        for key in [key for key, end in self._ends.items() if end <= at.time_ms]:
            self._remove(key)
        return [self._execute(command) for command in commands]

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [self._look(query, at.time_ms) for query in queries]

    def _look(self, query: Any, time_ms: int) -> Any:
        match query:
            case (b"GET", key):
                return self._values.get(key)
            case (b"MGET", *keys):
                return [self._values.get(key) for key in keys]
            case (b"PTTL", key) if key not in self._values:
                return -2
            case (b"PTTL", key):
                return max(self._ends[key] - time_ms, 0) if key in self._ends else -1
        raise LookupError(f"the reference does not know {query!r}")

    def _execute(self, command: Any) -> Any:
        values, ends = self._values, self._ends
        match command:
            case (b"SET", key, value):
                self._put(key, value)
            case (b"SET", key, value, b"PX", after_ms, _):
                self._put(key, value)
                ends[key] = self._at.time_ms + int(after_ms)
            case (b"SET", key, value, b"GET") | (b"GETSET", key, value):
                before = values.get(key)
                self._put(key, value)
                return before
            case (b"CAS", key, expected, value):
                if values.get(key) != expected:
                    return 0
                self._put(key, value)
                return 1
            case (b"APPEND", key, tail):
                self._alter(key, values.get(key, b"") + tail)
                return len(values[key])
            case (b"INCRBY", key, amount):
                self._alter(key, b"%d" % (int(values.get(key, 0)) + int(amount)))
                return int(values[key])
            case (b"MSET", *pairs):
                for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                    self._put(key, value)
            case (b"DEL", *keys):
                return sum(map(self._remove, keys))
            case (b"EXPIRE", key, after_ms, _):
                if key not in values:
                    return 0
                ends[key] = self._at.time_ms + int(after_ms)
                self._touched[key] = self._at.index
                return 1
            case (b"PERSIST", key):
                if ends.pop(key, None) is None:
                    return 0
                self._touched[key] = self._at.index
                return 1
            case (b"FLUSHALL",):
                for key in [*values]:
                    self._remove(key)
            case (b"EXEC", watched, packed):
                return self._transaction(packing.watched(watched), packed)
            case _:
                return self._look(command, self._at.time_ms)
        return b"OK"

    def _transaction(self, watched: Sequence[packing.Watched], packed: bytes) -> Any:
        if packed not in self._aborted:
            return [self._execute(command) for command in packing.commands(packed)]
        since = self._aborted[packed]
        if since is not None and all(self._touched.get(key, 0) < since for key, _ in watched):
            keys = b", ".join(key for key, _ in watched).decode()
            raise Divergence(f"a transaction was not executed, though nothing has changed {keys} since index {since}")
        return None

    def _put(self, key: bytes, value: bytes) -> None:
        self._ends.pop(key, None)
        self._alter(key, value)

    def _alter(self, key: bytes, value: bytes) -> None:
        self._values[key] = value
        self._touched[key] = self._at.index

    def _remove(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        if self._values.pop(key, None) is None:
            return False
        self._touched[key] = self._at.index
        return True
