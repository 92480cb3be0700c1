"""What the functions of sets, queues and locks do, and what their results give away."""

from typing import Any

from oarlock.testing.functions import UNTOLD, Function, State, Trial, says_no, succeeded
from oarlock.testing.operation import Operation


class SetAdd(Function):
    """Puts an element in. Its result, if told, is whether it was new."""

    decides = True

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument not in state, state | {operation.argument}

    def is_pure(self, operation: Operation) -> bool:
        return says_no(operation)


class SetRemove(SetAdd):
    """Takes an element out. Its result, if told, is whether it was there."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument in state, state - {operation.argument}


class Contains(Function):
    """Whether an element is there."""

    reads = True
    decides = True

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument in state, state

    def agrees(self, operation: Operation, result: Any) -> bool:
        return bool(operation.result) is bool(result)


class Enqueue(Function):
    """Puts a value at the end. What it returned says nothing."""

    def refuses(self, argument: Any) -> str | None:
        return "what is enqueued is a value that no empty queue returns" if argument is None else None

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return None, (*state, operation.argument)

    def agrees(self, operation: Operation, result: Any) -> bool:
        return True


class Dequeue(Function):
    """Takes the first value and returns it, or nothing if there is none."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return (state[0], state[1:]) if state else (None, state)

    def agrees(self, operation: Operation, result: Any) -> bool:
        return bool(operation.result == result)

    def is_pure(self, operation: Operation) -> bool:
        return operation.known and operation.result is None

    def wants(self, operation: Operation) -> State:
        return () if self.is_pure(operation) else UNTOLD


class Acquire(Trial):
    """Takes a lock that nobody holds. While somebody does it cannot happen, or returns False (or 0)."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        if state is None:
            return True, operation.process
        return None if operation.known and succeeded(operation) else (False, state)

    def wants(self, operation: Operation) -> State:
        return UNTOLD if self.is_pure(operation) else None

    def makes(self, operation: Operation) -> State:
        return operation.process

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (None,)


class Release(Trial):
    """Gives a lock back that this process holds. Else it cannot happen, or returns False (or 0)."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        if state == operation.process:
            return True, None
        return None if operation.known and succeeded(operation) else (False, state)

    def wants(self, operation: Operation) -> State:
        return UNTOLD if self.is_pure(operation) else operation.process

    def makes(self, operation: Operation) -> State:
        return None

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.process,)
