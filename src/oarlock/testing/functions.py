"""What one function of an object does, and what its result gives away.

What it *does* is :meth:`Function.run`, and that is all a checker needs to be right. The rest makes it fast: what an
operation gives away about the state before and after it lets the search turn back long before it is stuck. It may
always say less (:data:`UNTOLD`, :data:`ANYTHING`) and must never say more than holds at every place where the
operation is legal.
"""

import re
from typing import Any, ClassVar

from oarlock.testing.operation import Operation

State = Any
"""The state of one object: hashable, and never changed in place."""


class _Untold:
    def __repr__(self) -> str:
        return "UNTOLD"


UNTOLD = _Untold()
ANYTHING = None
"""What an operation compares the state with that may tell apart any two states."""


class Function:
    """One function of an object, such as ``read``."""

    reads: ClassVar[bool] = False
    """It never changes the state; so if its outcome is unknown it says nothing at all."""

    def refuses(self, argument: Any) -> str | None:
        """Why this argument makes no sense, or None."""
        return None

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        """The result and the state after, or None if it cannot happen in this state."""
        raise NotImplementedError

    def agrees(self, operation: Operation, result: Any) -> bool:
        """Whether the client may have heard what it says it heard. It was told nothing if that is None."""
        return operation.result is None or bool(operation.result == result)

    def is_pure(self, operation: Operation) -> bool:
        """Whether it changes the state nowhere where it is legal."""
        return self.reads

    def wants(self, operation: Operation) -> State:
        """The one state before it in which it is legal."""
        return UNTOLD

    def makes(self, operation: Operation) -> State:
        """The one state that it leaves if it changes anything, whatever was there before."""
        return UNTOLD

    def compares(self, operation: Operation) -> tuple[State, ...] | None:
        """States such that it cannot tell apart any two others; ANYTHING if there is no such list."""
        return ANYTHING


class Read(Function):
    """Returns the whole state."""

    reads = True

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return state, state

    def agrees(self, operation: Operation, result: Any) -> bool:
        return bool(operation.result == result)

    def wants(self, operation: Operation) -> State:
        return operation.result if operation.known else UNTOLD

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.result,)


class Write(Function):
    """Replaces the state. What it returned, be it an echo of the argument, says nothing."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return None, operation.argument

    def agrees(self, operation: Operation, result: Any) -> bool:
        return True

    def makes(self, operation: Operation) -> State:
        return operation.argument

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return ()


class Swap(Function):
    """Replaces the state and returns what was there."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return state, operation.argument

    def agrees(self, operation: Operation, result: Any) -> bool:
        return bool(operation.result == result)

    def wants(self, operation: Operation) -> State:
        return operation.result if operation.known else UNTOLD

    def makes(self, operation: Operation) -> State:
        return operation.argument

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.result,) if operation.known else ()


class Cas(Function):
    """Compares and sets. The argument is (old, new); the result False (or 0) if the state was another than old."""

    def refuses(self, argument: Any) -> str | None:
        return None if isinstance(argument, tuple) and len(argument) == 2 else "cas takes a list of two, [old, new]"

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        old, new = operation.argument
        return (True, new) if state == old else (False, state)

    def agrees(self, operation: Operation, result: Any) -> bool:
        return _succeeded(operation) is bool(result)

    def is_pure(self, operation: Operation) -> bool:
        return operation.known and not _succeeded(operation)

    def wants(self, operation: Operation) -> State:
        return operation.argument[0] if operation.known and _succeeded(operation) else UNTOLD

    def makes(self, operation: Operation) -> State:
        return operation.argument[1]

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.argument[0],)


def _succeeded(operation: Operation) -> bool:
    """Nothing, and an echo of the argument, are what clients return that report a mismatch as a failure."""
    return operation.result is None or bool(operation.result)


class Delete(Function):
    """Leaves nothing. Its result, if told, is whether there was something."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return state is not None, None

    def is_pure(self, operation: Operation) -> bool:
        return operation.known and operation.result is not None and not operation.result

    def wants(self, operation: Operation) -> State:
        return None if self.is_pure(operation) else UNTOLD

    def makes(self, operation: Operation) -> State:
        return None

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return () if not operation.known or operation.result is None else (None,)


class Append(Function):
    """Lengthens a string. Its result, if it is a number, is the length after it."""

    def refuses(self, argument: Any) -> str | None:
        return None if isinstance(argument, str | bytes) else "append takes a string"

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        if state is None:
            state = operation.argument[:0]
        if type(state) is not type(operation.argument):
            return None
        after = state + operation.argument
        return len(after), after

    def agrees(self, operation: Operation, result: Any) -> bool:
        return not isinstance(operation.result, int) or operation.result == result


class Add(Function):
    """Adds to a number, 1 if there is no argument. Its result, if told, is the new number."""

    def refuses(self, argument: Any) -> str | None:
        number = argument is None or (isinstance(argument, int | float) and not isinstance(argument, bool))
        return None if number else "what is added is a number"

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        after = state + _amount(operation)
        return after, after

    def wants(self, operation: Operation) -> State:
        return operation.result - _amount(operation) if _is_number_told(operation) else UNTOLD

    def makes(self, operation: Operation) -> State:
        return operation.result if _is_number_told(operation) else UNTOLD

    def compares(self, operation: Operation) -> tuple[State, ...] | None:
        return (self.wants(operation),) if _is_number_told(operation) else ANYTHING


class AddToText(Add):
    """The same where numbers are kept as decimal text, and what is absent counts as 0."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        if state is not None and not _is_decimal(state):
            return None
        after = int(state or 0) + _amount(operation)
        return after, str(after)

    def wants(self, operation: Operation) -> State:
        before = super().wants(operation)
        return UNTOLD if before is UNTOLD or before == 0 else str(before)

    def makes(self, operation: Operation) -> State:
        after = super().makes(operation)
        return UNTOLD if after is UNTOLD else str(after)

    def compares(self, operation: Operation) -> tuple[State, ...] | None:
        if not _is_number_told(operation):
            return ANYTHING
        before = operation.result - _amount(operation)
        return (str(before),) if before else (None, "0")


def _is_decimal(state: State) -> bool:
    """Whether it is an integer as Redis writes them: no sign of plus, no leading zeros."""
    return isinstance(state, str) and re.fullmatch(r"0|-?[1-9][0-9]*", state) is not None


def _amount(operation: Operation) -> Any:
    return 1 if operation.argument is None else operation.argument


def _is_number_told(operation: Operation) -> bool:
    return operation.known and isinstance(operation.result, int) and isinstance(_amount(operation), int)


class SetAdd(Function):
    """Puts an element in. Its result, if told, is whether it was new."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument not in state, state | {operation.argument}

    def is_pure(self, operation: Operation) -> bool:
        return operation.known and operation.result is not None and not operation.result


class SetRemove(SetAdd):
    """Takes an element out. Its result, if told, is whether it was there."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument in state, state - {operation.argument}


class Contains(Function):
    """Whether an element is there."""

    reads = True

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return operation.argument in state, state

    def agrees(self, operation: Operation, result: Any) -> bool:
        return bool(operation.result) is bool(result)


class Enqueue(Function):
    """Puts a value at the end. What it returned says nothing."""

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


class Acquire(Function):
    """Takes a lock that nobody holds; while somebody does it cannot happen."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        return None if state is not None else (None, operation.process)

    def agrees(self, operation: Operation, result: Any) -> bool:
        return True

    def wants(self, operation: Operation) -> State:
        return None

    def makes(self, operation: Operation) -> State:
        return operation.process

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (None,)


class Release(Function):
    """Gives a lock back that this process holds."""

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        return None if state != operation.process else (None, None)

    def agrees(self, operation: Operation, result: Any) -> bool:
        return True

    def wants(self, operation: Operation) -> State:
        return operation.process

    def makes(self, operation: Operation) -> State:
        return None

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.process,)
