"""What all connections of one server share."""

from collections.abc import Callable
from typing import Final, Protocol

from oarlock.node.api import Replica

REDIS_VERSION: Final = b"7.0.15"
"""The version whose replies and texts are ours too; clients choose their features by it."""


class Keys(Protocol):
    """What is wanted of the state machine itself: how many keys it holds."""

    def __len__(self) -> int: ...


class Service:
    """The replica behind the server, and counts of what the server has seen."""

    __slots__ = ("_now", "_started", "clients", "clients_ever", "commands", "machine", "port", "replica")

    def __init__(self, replica: Replica, machine: Keys, now: Callable[[], float]) -> None:
        """``now`` gives seconds of a clock that never goes back."""
        self.replica = replica
        self.machine = machine
        self.port = 0
        self.clients = 0
        self.clients_ever = 0
        self.commands = 0
        self._now = now
        self._started = now()

    def uptime_s(self) -> float:
        return self._now() - self._started
