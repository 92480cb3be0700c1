"""What clients asked and were told, and when: the history that a run is judged by."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import msgspec

Outcome = Literal["open", "ok", "failed", "unknown"]


class Watched(msgspec.Struct, frozen=True):
    """What a transaction depends on."""

    since: int
    """When it was asked to be watched, in ticks;"""
    query: Any
    """and what the machine is asked for that."""
    read: Call
    """A read of it from after that, whose answer must still be true when the transaction is executed."""


class Call(msgspec.Struct, eq=False):
    """One request of one client."""

    client: int
    replica: int
    request: Any
    """As a person would write it."""
    invoked: int
    """When it was sent, in ticks of the :class:`Record`, which order all calls."""
    invoked_s: float
    query: Any = None
    """Of a read: what the state machine is asked, which may be None."""
    marker: Hashable = None
    """Of an update: what it can be told by in the log, where nothing else has it. A read has none."""
    after: Call | None = None
    """The call before it in its pipeline, which is executed before it although its reply may not be there."""
    watched: Watched | None = None
    """Of a transaction that is executed only if something has not changed."""
    subject: Any = None
    function: str = ""
    argument: Any = None
    """Of a call on one object with a model: which object, which function, with what."""
    hopeless: bool = False
    """Whether it is a transaction that must not be executed: its client was told that a key could not be watched."""
    outcome: Outcome = "open"
    completed: int = 0
    completed_s: float = 0.0
    result: Any = None
    """What it was told, as its client sees it."""
    position: int | None = None
    """Where it stands among everything that was applied."""

    @property
    def is_read(self) -> bool:
        return self.marker is None

    def __str__(self) -> str:
        return f"client {self.client} at replica {self.replica}: {_shown(self.request)}"


class Record:
    """All calls of a run."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.by_marker: dict[Hashable, Call] = {}
        self._ticks = 0

    def tick(self) -> int:
        """The next moment. No two are equal."""
        self._ticks += 1
        return self._ticks

    def begin(self, call: Call) -> Call:
        """A call is sent."""
        if call.marker is not None:
            assert call.marker not in self.by_marker, "markers are unique"
            self.by_marker[call.marker] = call
        self.calls.append(call)
        return call

    def end(self, call: Call, outcome: Outcome, result: Any, now_s: float) -> None:
        """Its client knows as much as it ever will."""
        call.outcome, call.result = outcome, result
        call.completed, call.completed_s = self.tick(), now_s

    def count(self, outcome: Outcome) -> int:
        """How many calls ended so."""
        return sum(call.outcome == outcome for call in self.calls)


def _shown(request: Any) -> str:
    if isinstance(request, list | tuple):
        return " ".join(map(_shown, request))
    if isinstance(request, bytes):
        return request.decode(errors="backslashreplace")[:60]
    return repr(request)[:60]
