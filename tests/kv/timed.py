"""A machine whose log time a test sets."""

from collections.abc import Generator
from typing import Any

from oarlock.kv import KeyValue
from oarlock.state_machine import Position
from oarlock.types import Index


class Timed:
    """A machine, and the time of the next entry."""

    def __init__(self) -> None:
        self.machine = KeyValue()
        self.now_ms = 0

    def at(self, now_ms: int) -> "Timed":
        """An entry without commands tells the machine the time."""
        self.now_ms = now_ms
        self.machine.apply([], Position(Index(1), now_ms))
        return self

    def apply(self, *command: bytes) -> Any:
        (result,) = self.machine.apply([command], Position(Index(1), self.now_ms))
        return result

    def query(self, *query: bytes, ahead_ms: int = 0) -> Any:
        """Answer a read that was confirmed so long after the last entry."""
        (result,) = self.machine.query([query], Position(Index(1), self.now_ms + ahead_ms))
        while isinstance(result, Generator):
            try:
                next(result)
            except StopIteration as end:
                result = end.value
        return result
