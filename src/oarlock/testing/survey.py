"""What can be told of the operations on one object before the search for an order begins."""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from oarlock.testing.functions import ANYTHING, UNTOLD, State
from oarlock.testing.models import Model
from oarlock.testing.operation import Operation


def is_wild(operation: Operation, model: Model) -> bool:
    """Whether what it leaves depends on what was there."""
    function = model.functions[operation.function]
    return not function.is_pure(operation) and function.makes(operation) is UNTOLD


def told_apart(operations: Iterable[Operation], wild: Sequence[Operation], model: Model) -> set[State] | None:
    """The states that some operation compares with the present one, or None if that may be any."""
    apart: set[State] = set()
    for operation in operations:
        compared = model.functions[operation.function].compares(operation)
        if wild or compared is ANYTHING:
            return None
        apart.update(compared)
    return apart


def only_wanted(operations: Iterable[Operation], model: Model) -> bool:
    """Whether every operation writes blindly, or is known and legal in one state alone."""
    for operation in operations:
        function = model.functions[operation.function]
        wants = function.wants(operation)
        if wants is UNTOLD:
            if function.makes(operation) is UNTOLD or function.compares(operation) != ():
                return False
        elif not operation.known:
            return False
    return True


def windows(completed: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
    """For each operation, in order of completion: it and those that complete later but were invoked before it did."""
    by_invocation = sorted(range(len(completed)), key=lambda i: completed[i].invoked)
    window: list[int] = []
    position = 0
    for i, operation in enumerate(completed):
        while position < len(by_invocation) and completed[by_invocation[position]].invoked <= operation.completed:
            insort(window, by_invocation[position])
            position += 1
        yield tuple(window)
        window.remove(i)
