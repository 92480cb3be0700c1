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
    decides: ClassVar[bool] = False
    """Its result says yes or no, if it says anything."""

    def refuses(self, argument: Any) -> str | None:
        """Why this argument makes no sense, or None."""
        return None

    def refuses_result(self, result: Any) -> str | None:
        """Why it never returns this, or None. It need not know: what it does not refuse may still fit nowhere."""
        if self.decides and not isinstance(result, bool | int | float | None):
            return "what it returns is true or false, or 1 or 0, or nothing"
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


class Trial(Function):
    """Does something if it may: its result is False (or 0) if not.

    Nothing, and an echo of the argument, are what clients return that report that it might not as a failure.
    """

    decides = True

    def refuses_result(self, result: Any) -> str | None:
        return super().refuses_result(result) if not result else None

    def agrees(self, operation: Operation, result: Any) -> bool:
        return succeeded(operation) is bool(result)

    def is_pure(self, operation: Operation) -> bool:
        return operation.known and not succeeded(operation)


class Cas(Trial):
    """Compares and sets. The argument is (old, new); the result False (or 0) if the state was another than old."""

    def refuses(self, argument: Any) -> str | None:
        return None if isinstance(argument, tuple) and len(argument) == 2 else "cas takes a list of two, [old, new]"

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        old, new = operation.argument
        return (True, new) if state == old else (False, state)

    def wants(self, operation: Operation) -> State:
        return operation.argument[0] if operation.known and succeeded(operation) else UNTOLD

    def makes(self, operation: Operation) -> State:
        return operation.argument[1]

    def compares(self, operation: Operation) -> tuple[State, ...]:
        return (operation.argument[0],)


def succeeded(operation: Operation) -> bool:
    """Whether a client that was told of a trial was told that it did something."""
    return operation.result is None or bool(operation.result)


def says_no(operation: Operation) -> bool:
    """Not merely nothing, or something empty."""
    return operation.known and bool(operation.result == False)  # noqa: E712 -- 0 says no, too


class Delete(Function):
    """Leaves nothing. Its result, if told, is whether there was something."""

    decides = True

    def run(self, state: State, operation: Operation) -> tuple[Any, State]:
        return state is not None, None

    def is_pure(self, operation: Operation) -> bool:
        return says_no(operation)

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
        return not _is_number(operation.result) or bool(operation.result == result)


class Add(Function):
    """Adds to a number, 1 if there is no argument. Its result, if told, is the new number."""

    def refuses(self, argument: Any) -> str | None:
        return None if argument is None or _is_number(argument) else "what is added is a number"

    def run(self, state: State, operation: Operation) -> tuple[Any, State] | None:
        after = state + _amount(operation)
        return after, after

    def agrees(self, operation: Operation, result: Any) -> bool:
        told = operation.result
        return told is None or (_is_number(told) and bool(told == result))

    def wants(self, operation: Operation) -> State:
        return operation.result - _amount(operation) if _is_number_told(operation) else UNTOLD

    def makes(self, operation: Operation) -> State:
        return operation.result if _is_number_told(operation) else UNTOLD

    def compares(self, operation: Operation) -> tuple[State, ...] | None:
        return (self.wants(operation),) if _is_number_told(operation) else ANYTHING


class AddToText(Add):
    """The same where numbers are integers, kept as decimal text, and what is absent counts as 0."""

    def refuses(self, argument: Any) -> str | None:
        return None if argument is None or _is_integer(argument) else "what is added is an integer"

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
    """Whether it is an integer as Redis writes them: no sign of plus, no leading zeros, and not for ever."""
    return isinstance(state, str) and re.fullmatch(r"0|-?[1-9][0-9]{0,999}", state) is not None


def _amount(operation: Operation) -> Any:
    return 1 if operation.argument is None else operation.argument


def _is_number_told(operation: Operation) -> bool:
    return operation.known and _is_integer(operation.result) and _is_integer(_amount(operation))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
