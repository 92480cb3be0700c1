"""What a simulation is about: a state machine, what serves it, and clients that use it.

Oarlock's own key-value store is one subject (:mod:`~oarlock.testing.simulation.keyvalue`); a state machine of a user of
the library is another (:mod:`~oarlock.testing.simulation.library`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from oarlock.node.node import Node
from oarlock.state_machine import StateMachine
from oarlock.testing.simulation.host import Host, Served
from oarlock.types import Command

if TYPE_CHECKING:
    from oarlock.testing.simulation.cluster import Cluster

DEADLINE_S = 5.0
"""Within which every request is answered, as the README promises; not as the product has it."""
PATIENCE_S = 1.2 * DEADLINE_S + 1.0
"""By when an answer must have come from a replica that runs: the deadline by the slowest of clocks, and a second for
the way and for how often a node looks at deadlines."""


class Patience:
    """What a client knows of the replica that it has asked, to tell a late answer from one that cannot be expected."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._life, self._paused_s = host.lives, host.paused_s

    @property
    def replica_ended(self) -> bool:
        """Whether the process that was asked is no more."""
        return not self._host.running or self._host.lives != self._life

    def is_over(self) -> bool:
        """Whether the time that has passed since this was asked last should have been enough. A replica that was paused
        meanwhile cannot know that it has passed."""
        host, paused_s = self._host, self._paused_s
        self._paused_s = host.paused_s
        return not (self.replica_ended or host.paused or host.paused_s > paused_s)


class Participant(Protocol):
    """A client of the cluster, in a process of its own."""

    stopping: bool
    """Set to have it stop when its calls have ended."""

    @property
    def name(self) -> str: ...

    @property
    def done(self) -> bool:
        """Whether it has stopped, and all its calls have ended."""
        ...

    @property
    def complaints(self) -> Sequence[str]:
        """What it saw that must not happen: an answer that did not come by its deadline, an assertion of its own."""
        ...

    def start(self) -> None: ...


class Subject(Protocol):
    """What is simulated."""

    def machine(self) -> StateMachine:
        """A fresh one, in its initial state."""
        ...

    def command(self, logged: Command) -> Command:
        """What the machine is given of a command as it stands in the log."""
        ...

    def markers(self, logged: Command) -> Iterable[Hashable]:
        """What in a command of the log may be the marker of a call."""
        ...

    def told(self, result: Any) -> Any:
        """What a client sees of a result."""
        ...

    def digest(self, machine: StateMachine) -> object:
        """Something that is equal for equal states, and only for those."""
        ...

    async def serve(self, node: Node, machine: StateMachine, host: Host) -> Served | None:
        """Start what runs beside the node."""
        ...

    def client(self, number: int, cluster: Cluster, random: Random) -> Participant: ...

    def judge(self, cluster: Cluster) -> Iterable[str]:
        """What else is wrong with how a run went."""
        ...
