"""A small linearizability checker: is there an order of these operations that a single copy could have executed?

Wing and Gong's search with Lowe's memoisation (*Testing for linearizability*, 2017): take any operation that could come
next, undo it when that leads nowhere, and never look twice at the same set of taken operations in the same state.
Objects are independent, so each key is checked by itself. An operation whose outcome is unknown may take effect at any
time after it began, or never.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

NEVER = float("inf")


class Operation(msgspec.Struct, frozen=True):
    """One call of one client. Times are of any one clock."""

    key: Any
    function: str
    argument: Any
    result: Any
    """What it returned; ignored if ``completed`` is infinite."""
    invoked: float
    completed: float = NEVER
    """When it returned; infinite if its outcome is unknown."""


Model = Callable[[Any, Operation], tuple[bool, Any]]
"""From a state and an operation to whether the operation may happen there, and the state after it."""


def register(state: Any, operation: Operation) -> tuple[bool, Any]:
    """``read`` and ``write``; ``swap``, a write that returns what was there; and ``cas``, compare and set.

    The argument of ``cas`` is a pair (old, new), its result whether the register held the old value and was set.
    """
    known = operation.completed != NEVER
    match operation.function:
        case "read":
            return not known or operation.result == state, state
        case "write":
            return True, operation.argument
        case "swap":
            return not known or operation.result == state, operation.argument
        case "cas":
            old, new = operation.argument
            swaps = state == old
            return not known or operation.result == swaps, new if swaps else state
        case _:
            raise ValueError(f"a register has no {operation.function!r}")


def string(state: Any, operation: Operation) -> tuple[bool, Any]:
    """``get``, ``put`` and ``append`` of a string; ``append`` returns nothing."""
    match operation.function:
        case "get":
            return operation.completed == NEVER or operation.result == state, state
        case "put":
            return True, operation.argument
        case "append":
            return True, state + operation.argument
        case _:
            raise ValueError(f"a string has no {operation.function!r}")


def first_illegal_key(history: Iterable[Operation], model: Model, initial: Any = None) -> Any | None:
    """A key whose operations no single copy could have executed so, or None if every key's are linearizable."""
    by_key: dict[Any, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key in sorted(by_key, key=lambda key: len(by_key[key])):
        if not is_linearizable(by_key[key], model, initial):
            return key
    return None


def is_linearizable(operations: Sequence[Operation], model: Model, initial: Any = None) -> bool:
    """Whether these operations on one object are linearizable."""
    events = _events(operations)
    taken, state = 0, initial
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[_Event, int, Any]] = []
    head = events
    event = head.next
    to_complete = sum(operation.completed != NEVER for operation in operations)
    while to_complete:
        assert event is not None
        if event.ret is not None:  # an invocation: may it come next?
            legal, after = model(state, event.operation)
            now_taken = taken | 1 << event.number
            if legal and (now_taken, after) not in seen:
                seen.add((now_taken, after))
                stack.append((event, taken, state))
                taken, state = now_taken, after
                to_complete -= event.operation.completed != NEVER
                event.lift()
                event = head.next
            else:
                event = event.next
        else:  # the return of an operation that has not been taken: some earlier choice was wrong
            if not stack:
                return False
            event, taken, state = stack.pop()
            to_complete += event.operation.completed != NEVER
            event.unlift()
            event = event.next
        if event is None and to_complete:
            if not stack:
                return False
            event, taken, state = stack.pop()
            to_complete += event.operation.completed != NEVER
            event.unlift()
            event = event.next
    return True


class _Event:
    """An invocation or a return, in a doubly linked list in the order of time."""

    __slots__ = ("next", "number", "operation", "previous", "ret")

    def __init__(self, operation: Operation, number: int, ret: "_Event | None") -> None:
        self.operation = operation
        self.number = number
        self.ret = ret
        self.previous: _Event | None = None
        self.next: _Event | None = None

    def lift(self) -> None:
        """Take an operation out of the list: the invocation, then its return."""
        for event in (self, self.ret):
            assert event is not None and event.previous is not None
            event.previous.next = event.next
            if event.next is not None:
                event.next.previous = event.previous

    def unlift(self) -> None:
        """Put it back where it was."""
        for event in (self.ret, self):
            assert event is not None and event.previous is not None
            event.previous.next = event
            if event.next is not None:
                event.next.previous = event


def _events(operations: Sequence[Operation]) -> _Event:
    """The list's head; its events follow. At equal times invocations come first: that allows more."""
    timed: list[tuple[float, int, _Event]] = []
    for number, operation in enumerate(operations):
        ret = _Event(operation, number, None)
        timed.append((operation.completed, 1, ret))
        timed.append((operation.invoked, 0, _Event(operation, number, ret)))
    timed.sort(key=lambda item: item[:2])
    head = last = _Event(operations[0], -1, None) if operations else _Event(Operation("", "", "", "", 0), -1, None)
    for _, _, event in timed:
        last.next, event.previous = event, last
        last = event
    return head
