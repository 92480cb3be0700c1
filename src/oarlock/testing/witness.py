"""Does a given order explain a history: a check in linear time, for systems that hand out an order.

The log of a replicated state machine is such a witness. Where :func:`~oarlock.testing.linearizability.check` searches
for an order, this only has to follow one, so it also judges what no search can: transactions over many keys.

>>> from oarlock.testing.models import MODELS
>>> from oarlock.testing.operation import Operation
>>> first = Witnessed(Operation("k", "write", 1, None, 0, 1), position=1)
>>> second = Witnessed(Operation("k", "write", 2, None, 2, 3, process=1), position=2)
>>> stale = Witnessed(Operation("k", "read", None, 1, 4, 5, process=2))
>>> print(contradiction([first, second, stale], MODELS["kv"]))
read() -> 1 by process 2 fits nowhere: it comes after position 2, and up to the end there is no such answer.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from oarlock.testing.functions import State
from oarlock.testing.models import ILLEGAL, Model
from oarlock.testing.operation import Operation, describe, shown

TRANSACTION = "transaction"
"""The function of an operation whose argument is a sequence of (key, function, argument); its result, a sequence."""


class Witnessed(msgspec.Struct, frozen=True):
    """An operation, and what the system's own order says of it."""

    operation: Operation
    position: int | None = None
    """Where it stands in the order; None if it does not. A read needs no position."""
    executed: bool = True
    """False if the client was told that it did not happen."""


class Contradiction(msgspec.Struct, frozen=True):
    """What contradicts what."""

    sentence: str
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return self.sentence


def contradiction(history: Iterable[Witnessed], model: Model) -> Contradiction | None:
    """The first thing found that the order does not explain, or None.

    The positions are distinct, and need not be dense. The order must say of each operation what its client heard, it
    must respect real time, a single copy that executes it must give every result, and every read must fit somewhere
    between.

    :raises InvalidOperation: the model does not have such an operation
    :raises ValueError: two operations have one position
    """
    everything = [_Item(witnessed, model) for witnessed in history]
    placed = sorted((item for item in everything if item.position is not None), key=lambda item: item.at)
    for item, following in pairwise(placed):
        if item.at == following.at:
            raise ValueError(f"position {item.at} is taken by {item} and by {following}")
    reads = [item for item in everything if item.position is None and item.reads and item.executed]
    reads = [item for item in reads if item.operation.known]
    reads.sort(key=lambda item: item.operation.completed)
    replay = _Replay(model)
    return _wrong_fate(everything) or _wrong_time(placed) or replay.of(placed) or _unplaced_read(reads, placed, replay)


class _Item:
    """A witnessed operation and its parts, in normal form."""

    def __init__(self, witnessed: Witnessed, model: Model) -> None:
        self.operation = operation = witnessed.operation
        self.position = witnessed.position
        self.at = -1 if witnessed.position is None else witnessed.position
        self.executed = witnessed.executed
        self.parts = [model.normal(part) for part in _parts(operation)]
        self.reads = all(model.function(part).reads for part in _parts(operation))

    def __str__(self) -> str:
        return describe(self.operation)


def _parts(operation: Operation) -> Sequence[Operation]:
    if operation.function != TRANSACTION:
        return (operation,)
    results = operation.result if operation.known else [None] * len(operation.argument)
    return [
        msgspec.structs.replace(operation, key=key, function=function, argument=argument, result=result)
        for (key, function, argument), result in zip(operation.argument, results, strict=True)
    ]


def _wrong_fate(everything: Iterable[_Item]) -> Contradiction | None:
    for item in everything:
        if not item.executed and item.position is not None:
            return _contradiction(f"{item} was said not to have happened, and stands at position {item.at}", item)
        if item.executed and item.position is None and item.operation.known and not item.reads:
            return _contradiction(f"{item} was acknowledged, and stands nowhere in the order", item)
    return None


def _wrong_time(placed: Sequence[_Item]) -> Contradiction | None:
    """Nothing may stand behind what was invoked only after it had completed."""
    latest: _Item | None = None
    for item in placed:
        if latest is not None and item.operation.completed < latest.operation.invoked:
            return _contradiction(
                f"{item} had completed before {latest} was invoked, but stands behind it, at position {item.at} "
                f"after position {latest.at}", item, latest,
            )  # fmt: skip
        if latest is None or item.operation.invoked > latest.operation.invoked:
            latest = item
    return None


class _Replay:
    """A single copy that executes the order, and remembers every version of every key."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._positions: dict[Any, list[float]] = {}
        self._states: dict[Any, list[State]] = {}

    def of(self, placed: Iterable[_Item]) -> Contradiction | None:
        """The first result that differs from the single copy's."""
        for item in placed:
            for part in item.parts:
                before = self.state(part.key)
                after = self.model.step(before, part)
                if after is ILLEGAL:
                    if not part.known:
                        continue  # an error that nobody was told of: it changes nothing
                    answer = self.model.answer(before, part)
                    there = "it cannot happen" if answer is ILLEGAL else f"the answer is {shown(answer)}"
                    named = "" if part is item.operation or len(item.parts) == 1 else f"{describe(part)} in "
                    return _contradiction(f"{named}{item} stands at position {item.at}, where {there}", item)
                if after != before:
                    self._record(part.key, item.at, after)
        return None

    def _record(self, key: Any, at: int, state: State) -> None:
        positions, states = self._positions.setdefault(key, []), self._states.setdefault(key, [])
        if positions and positions[-1] == at:
            states[-1] = state  # what a transaction left in between was never to be seen
        else:
            positions.append(at)
            states.append(state)

    def state(self, key: Any) -> State:
        """The present state of a key."""
        states = self._states.get(key)
        return states[-1] if states else self.model.initial

    def fits(self, part: Operation, at: float, below: float) -> float | None:
        """The first moment from ``at`` on, and before ``below``, at which the read is answered so."""
        positions, states = self._positions.get(part.key, []), self._states.get(part.key, [])
        version = bisect_right(positions, at) - 1
        while True:
            state = states[version] if version >= 0 else self.model.initial
            if self.model.step(state, part) is not ILLEGAL:
                return at
            version += 1
            if version == len(positions) or positions[version] >= below:
                return None
            at = max(at, positions[version])


def _unplaced_read(reads: Sequence[_Item], placed: Sequence[_Item], replay: _Replay) -> Contradiction | None:
    """Place the reads in the order of their completion, each as early as it may stand.

    The earliest place is the best one: a read is a limit only to those that are invoked after it.
    """
    by_completion = sorted((item for item in placed if item.operation.known), key=lambda item: item.operation.completed)
    completions = [item.operation.completed for item in by_completion]
    highest = list(accumulate((float(item.at) for item in by_completion), max))
    by_invocation = sorted(placed, key=lambda item: item.operation.invoked)
    invocations = [item.operation.invoked for item in by_invocation]
    lowest = list(accumulate((float(item.at) for item in reversed(by_invocation)), min))[::-1]
    read_completions: list[float] = []
    read_places: list[float] = []
    for item in reads:
        operation = item.operation
        before = bisect_left(completions, operation.invoked)
        at = highest[before - 1] if before else -float("inf")
        earlier = bisect_left(read_completions, operation.invoked)
        if earlier:
            at = max(at, read_places[earlier - 1])
        after = bisect_right(invocations, operation.completed)
        below = lowest[after] if after < len(lowest) else float("inf")
        place = _place(item.parts, at, below, replay)
        if place is None:
            since = f"after position {at:.0f}" if at != -float("inf") else "at the beginning or later"
            until = f"before position {below:.0f}" if below != float("inf") else "up to the end"
            return _contradiction(f"{item} fits nowhere: it comes {since}, and {until} there is no such answer", item)
        read_completions.append(operation.completed)
        read_places.append(max(place, read_places[-1]) if read_places else place)
    return None


def _place(parts: Sequence[Operation], at: float, below: float, replay: _Replay) -> float | None:
    """The first moment at which all these reads are answered so."""
    if at >= below:
        return None
    while True:
        begun = at
        for part in parts:
            place = replay.fits(part, at, below)
            if place is None:
                return None
            at = place
        if at == begun:
            return at


def _contradiction(sentence: str, *items: _Item) -> Contradiction:
    return Contradiction(f"{sentence}.", tuple(item.operation for item in items))
