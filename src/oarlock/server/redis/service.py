"""What all connections of one server share."""

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from oarlock.node.api import Replica

REDIS_VERSION: Final = b"7.0.15"
"""The version whose replies and texts are ours too; clients choose their features by it."""

MOST_HELD_BYTES: Final = 512 * 1024 * 1024
"""Each client's share is bounded, but ten thousand times that would be more than there is."""


def unix_ms() -> int:
    """The machine's wall clock. Only clients' own times are reckoned by it."""
    return time.time_ns() // 1_000_000


class Keys(Protocol):
    """What is wanted of the state machine itself: how many keys it holds, and how many of them have a lifetime."""

    def __len__(self) -> int: ...

    @property
    def expiring(self) -> int: ...


class Service:
    """The replica behind the server, and counts of what the server has seen."""

    __slots__ = (
        "_started",
        "clients",
        "clients_ever",
        "commands",
        "held_bytes",
        "machine",
        "now",
        "part",
        "port",
        "relieve",
        "replica",
        "wall_ms",
    )

    def __init__(
        self, replica: Replica, machine: Keys, now: Callable[[], float], wall_ms: Callable[[], int] = unix_ms
    ) -> None:
        """``now`` gives seconds of a clock that never goes back, ``wall_ms`` milliseconds since 1970."""
        self.replica = replica
        self.machine = machine
        self.port = 0
        self.clients = 0
        self.clients_ever = 0
        self.commands = 0
        self.held_bytes = 0
        """Of what all clients have sent and not been answered yet."""
        self.relieve: Callable[[], None] = lambda: None
        """Called when that has become more than :data:`MOST_HELD_BYTES`."""
        self.part: Callable[[Any], None] = lambda output: output.close()
        """Ends the connection of a client that may still be sending: it is to read the last reply all the same."""
        self.now = now
        self.wall_ms = wall_ms
        self._started = now()

    def uptime_s(self) -> float:
        return self.now() - self._started
