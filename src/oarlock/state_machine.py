"""What a user implements to have it replicated."""

from collections.abc import AsyncIterator, Iterable, Sequence
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


class SnapshottingStateMachine(Protocol):
    """What a state machine has besides, if its log is not to grow for ever and it is to start without replaying it all.

    A snapshot stands for every command up to its moment: a machine that was restored from one must give the same
    results as one that has applied them all, for ever after. So whatever a later command or query may look at belongs
    in it, counters and log times too. Each replica takes its own, about once for every 64 MiB of commands, and keeps
    it on its disk, in no other form than this; a later version of your program must read it, so write down which
    version wrote it. For a state of a few megabytes nothing more is needed than this:

    >>> import asyncio, json
    >>> class Counters:
    ...     def __init__(self):
    ...         self.counts = {}
    ...     def snapshot(self):
    ...         text = json.dumps({"format": 1, "counts": self.counts}).encode()
    ...         return [text[at : at + 65536] for at in range(0, len(text), 65536)]
    ...     async def restore(self, pieces):
    ...         state = json.loads(b"".join([piece async for piece in pieces]))
    ...         if state["format"] != 1:
    ...             raise ValueError("these counters were written by a newer version")
    ...         self.counts = state["counts"]
    >>> async def read_back(pieces):
    ...     for piece in pieces:
    ...         yield piece
    >>> one, other = Counters(), Counters()
    >>> one.counts["visits"] = 3
    >>> asyncio.run(other.restore(read_back(one.snapshot())))
    >>> other.counts
    {'visits': 3}
    """

    def snapshot(self) -> Iterable[bytes]:
        """The state of this very moment, in pieces of about 64 KiB.

        The event loop waits for this call, and for each piece to be made: let each take a millisecond at the most. The
        pieces are asked for one by one while commands go on being applied, and these must not show in them: make them
        of a copy, or of what is never changed in place. Two snapshots may be under way at a time; one that is given up
        is simply dropped.
        """
        ...

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        """Replace the whole state by one that :meth:`snapshot` gave, here or on another replica: the same pieces.

        Other work goes on between two pieces, queries among it, but nothing is applied. Until this returns, the old
        state must stay, and if it raises, nothing may have changed: build the new one aside.

        :raises ValueError: the pieces are none that this version understands; the sentence says why.
        """
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

        ``at`` tells what is applied, and the leader's log time when the read was confirmed, or the last entry's if
        that is later: good for telling how long something has left, but what a command does depends on entries' times
        alone.

        A result may be a generator: the node then runs it step by step between turns, so that a long
        answer does not stall the event loop, and takes its return value as the result.
        """
        ...
