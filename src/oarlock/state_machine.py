"""What a user implements to have it replicated."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from oarlock.types import Command, Index


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where in the log a batch stands: all that apply may know of the outside."""

    index: Index
    time_ms: int
    """Log time, milliseconds since the cluster began: the only clock that apply may use."""


class TimedStateMachine(Protocol):
    """What a state machine has besides, if its state changes with time alone (a lifetime ends).

    When log time reaches ``next_due_ms`` the leader has an entry appended that holds no commands and only its time;
    ``apply`` is then called with no commands. It is called so about ten times a second at most.
    """

    @property
    def next_due_ms(self) -> int | None:
        """Log time at which something is due, or None."""
        ...


class StateMachine(Protocol):
    """A deterministic state machine: the same commands in the same order give the same state everywhere.

    ``apply`` runs on every replica and again after a restart, so it must depend on its arguments and the
    state alone: no clock, no randomness, no iteration over a ``set``. An exception out of ``apply`` or
    ``query`` is a bug and stops the replica; refuse a command by *returning* a value that says so.
    """

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        """Execute the commands in order; return one result for each. Results stay on this replica.

        How the commands of the log are divided among calls differs from replica to replica: the state must not depend
        on it.
        """
        ...

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        """Answer the queries from the present state, one result for each, changing nothing.

        ``at`` tells what is applied, and the leader's log time when the read was confirmed, which is ahead of the last
        entry's: good for telling how long something has left, but what a command does depends on entries' times alone.

        A result may be a generator: the node then runs it step by step between turns, so that a long
        answer does not stall the event loop, and takes its return value as the result.
        """
        ...
