"""Is a history linearizable: could a single copy have executed it, each operation at one moment within its call?

>>> from oarlock.testing.models import MODELS
>>> write = Operation("k", "write", 1, None, invoked=0, completed=1)
>>> stale = Operation("k", "read", None, None, invoked=2, completed=3, process=1)
>>> verdict = check([write, stale], MODELS["register"])
>>> verdict.outcome
'illegal'
>>> print(verdict.sentence)
'k' is not linearizable: no order explains read() -> nil by process 1; after all before it a single copy answers 1.

Objects are independent, so each key is judged by itself (Herlihy and Wing: a history is linearizable if and only if it
is for each object), the one with the fewest operations first. :mod:`oarlock.testing.search` does the work.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from oarlock.testing.functions import State
from oarlock.testing.models import ILLEGAL, InvalidOperation, Model
from oarlock.testing.operation import NEVER, Operation, describe, shown
from oarlock.testing.remembered import MOST_BYTES, OutOfMemory
from oarlock.testing.search import OutOfSteps, Steps, linearize

__all__ = ["DEFAULT_BUDGET", "NEVER", "InvalidOperation", "Operation", "Order", "Placed", "Verdict", "check"]

DEFAULT_BUDGET = 5_000_000
"""Steps: enough for a hundred thousand operations of fifty clients, and about a minute where it is all used."""

EXPLAINING = 4
"""How many budgets may be spent on finding where a history that is illegal became so."""


class Placed(msgspec.Struct, frozen=True):
    """An operation at its place in an order, and the state after it."""

    operation: Operation
    state: State


class Order(Collection[Placed]):
    """Operations in an order, with the states that a single copy passes through.

    These are made anew by whoever looks: all of them at once may be the square of what the history takes.
    """

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        self._operations = operations
        self._model = model

    def __iter__(self) -> Iterator[Placed]:
        state = self._model.initial
        for operation in self._operations:
            state = self._model.step(state, _open(self._model.normal(operation)))
            yield Placed(operation, state)

    def __len__(self) -> int:
        return len(self._operations)

    def __contains__(self, placed: object) -> bool:
        return any(placed == each for each in self)


class Verdict(msgspec.Struct, frozen=True):
    """What was found. Only ``linearizable`` is a pass."""

    outcome: Literal["linearizable", "illegal", "undecided"]
    sentence: str
    steps: int
    model: str
    key: Any = None
    """The object that is illegal, or was not decided."""
    operations: Sequence[Operation] = ()
    """All operations on that object."""
    order: Collection[Placed] = ()
    """If illegal, the longest legal beginning: an order of all that had completed before ``culprit`` did."""
    culprit: Operation | None = None
    """If illegal, the operation with whose completion the history ceased to be linearizable, if that was found."""


def check(
    operations: Iterable[Operation],
    model: Model,
    *,
    budget: int = DEFAULT_BUDGET,
    progress: Callable[[int, int], None] = lambda judged, total: None,
) -> Verdict:
    """Judge a history. The budget is in steps, so that the same history always gets the same verdict.

    ``progress`` is told after each object how many operations have been judged, and of how many.

    :raises InvalidOperation: the model does not have such an operation
    """
    objects: dict[Any, list[Operation]] = {}
    for operation in operations:
        model.function(operation)
        objects.setdefault(operation.key, []).append(operation)
    total, judged, steps = sum(map(len, objects.values())), 0, 0
    undecided: dict[Any, str] = {}
    for number, key in enumerate(sorted(objects, key=lambda key: len(objects[key])), start=1):
        # An object may use half of what is left, so that a hard one does not keep the others from being judged.
        allowance = Steps(budget - steps if number == len(objects) else (budget - steps + 1) // 2)
        try:
            legal = linearize(list(map(model.normal, objects[key])), model, allowance) is not None
        except OutOfSteps:
            undecided[key], legal = f"{budget:,} steps", True
        except OutOfMemory:
            undecided[key], legal = f"{MOST_BYTES / (1 << 30):.1f} GB of memory", True
        steps += allowance.used
        if not legal:
            return _illegal(key, objects[key], model, steps, budget)
        judged += len(objects[key])
        progress(judged, total)
    if undecided:
        key, bound = next(iter(undecided.items()))
        also = f" (and {len(undecided) - 1} others)" if len(undecided) > 1 else ""
        sentence = f"Undecided: {_named(key)}{also} is not judged within {bound}."
        return Verdict("undecided", sentence, steps, model.name, key, objects[key])
    if not any(operation.known for one in objects.values() for operation in one):
        sentence = "Linearizable, but nothing was judged: no operation has a known outcome."
        return Verdict("linearizable", sentence, steps, model.name)
    sentence = f"Linearizable: {total:,} operations on {len(objects):,} {'object' if len(objects) == 1 else 'objects'}."
    return Verdict("linearizable", sentence, steps, model.name)


def _illegal(key: Any, operations: Sequence[Operation], model: Model, steps: int, budget: int) -> Verdict:
    order, culprit = _first_contradiction(operations, model, budget)
    beginning, state = Order(order, model), model.initial
    for placed in beginning:
        state = placed.state
    sentence = f"{_named(key)} is not linearizable: "
    if culprit is None:
        sentence += f"no order of its {len(operations):,} operations explains every result."
    else:
        answer = model.answer(state, culprit)
        then = "it cannot happen" if answer is ILLEGAL else f"a single copy answers {shown(answer)}"
        sentence += f"no order explains {describe(culprit)}; after all before it {then}."
    return Verdict("illegal", sentence, steps, model.name, key, operations, beginning, culprit)


def _first_contradiction(
    operations: Sequence[Operation], model: Model, budget: int
) -> tuple[Sequence[Operation], Operation | None]:
    """The first operation with whose completion the history is illegal, and an order of what came before.

    Every beginning of a linearizable history is linearizable, so a binary search finds it.
    """
    completions = sorted((i for i, op in enumerate(operations) if op.known), key=lambda i: operations[i].completed)
    steps = Steps(EXPLAINING * budget)
    legal, illegal = 0, len(completions)
    best: Sequence[Operation] = ()
    try:
        while illegal - legal > 1:
            middle = (legal + illegal) // 2
            order = _order_of_beginning(operations, completions[:middle], model, steps)
            if order is None:
                illegal = middle
            else:
                legal, best = middle, order
    except (OutOfSteps, OutOfMemory):
        return best, None
    return best, operations[completions[illegal - 1]]


def _order_of_beginning(
    operations: Sequence[Operation], completed: Sequence[int], model: Model, steps: Steps
) -> list[Operation] | None:
    """An order of the operations with these numbers, and of what it takes of those under way when the last completed.

    What is under way has no outcome yet: it may have taken effect or not.
    """
    kept = set(completed)
    end = operations[completed[-1]].completed
    originals: dict[int, Operation] = {}
    beginning = []
    for i, operation in enumerate(operations):
        if operation.invoked <= end:
            then = model.normal(operation if i in kept else _open(operation))
            originals[id(then)] = operation
            beginning.append(then)
    order = linearize(beginning, model, steps)
    return None if order is None else [originals[id(then)] for then in order]


def _open(operation: Operation) -> Operation:
    """The operation while its outcome is unknown."""
    return msgspec.structs.replace(operation, completed=NEVER)


def _named(key: Any) -> str:
    return "The object" if key is None else shown(key)
