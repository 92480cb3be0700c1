"""The objects that a history can be judged against, by name: :data:`MODELS`.

========================  ============================================================================================
``register``              read, write
``cas-register``          read, write, swap (returns what was there), cas (takes [old, new])
``append``                a string: read, write, append
``counter``               read, add, increment (by 1, or as told); the new number is judged if they return one
``set``                   read, contains, add, remove; whether it changed anything is judged if they return that
``queue``                 first in, first out: enqueue, dequeue (nothing if it is empty)
``lock``                  acquire, release, by process; false says that it was held, or not held by that process
``kv``                    a key: read, write, delete, swap, cas, append, add, increment
========================  ============================================================================================

``get`` means read, ``put`` and ``set`` mean write, ``getset`` means swap. Each key of a history is an object of its
own. The values of a ``kv`` are text, as in Redis: the number 1, the string "1" and the bytes ``b"1"`` are one value.
Only integers are added to them.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import msgspec

from oarlock.testing.containers import Acquire, Contains, Dequeue, Enqueue, Release, SetAdd, SetRemove
from oarlock.testing.functions import Add, AddToText, Append, Cas, Delete, Function, Read, State, Swap, Write
from oarlock.testing.operation import Operation, shown
from oarlock.testing.reach import Changing, Counting, Lengthening, Nowhere, Reach, of_text


class _Illegal:
    def __repr__(self) -> str:
        return "ILLEGAL"


ILLEGAL = _Illegal()


class InvalidOperation(ValueError):
    """The model has no such function, or the function takes no such argument."""


class Model(msgspec.Struct, frozen=True):
    """An object of one kind: how it begins, and what its functions do."""

    name: str
    initial: Hashable
    functions: Mapping[str, Function]
    reach: Callable[[Sequence[Operation]], Reach]
    """From operations whose effect depends on the state, to what any number of them can lead to."""
    normal: Callable[[Operation], Operation] = lambda operation: operation
    """The operation with its values in the form in which they are compared."""

    def function(self, operation: Operation) -> Function:
        """:raises InvalidOperation: the model does not have it, or not with this argument"""
        try:
            function = self.functions[operation.function]
        except KeyError:
            names = ", ".join(self.functions)
            raise InvalidOperation(f"the model {self.name} has no {operation.function!r}, only {names}") from None
        if reason := function.refuses(operation.argument):
            raise InvalidOperation(f"{reason}, not {shown(operation.argument)}")
        return function

    def refuse_result(self, operation: Operation) -> None:
        """:raises InvalidOperation: its function never returns such a thing"""
        if reason := self.functions[operation.function].refuses_result(operation.result):
            raise InvalidOperation(f"{reason}, not {shown(operation.result)}")

    def step(self, state: State, operation: Operation) -> State:
        """The state after a normal operation, or ILLEGAL if it cannot happen so in this state."""
        function = self.functions[operation.function]
        outcome = function.run(state, operation)
        if outcome is None or (operation.completed != float("inf") and not function.agrees(operation, outcome[0])):
            return ILLEGAL
        return outcome[1]

    def answer(self, state: State, operation: Operation) -> Any:
        """What a single copy in this state would return, or ILLEGAL if the operation cannot happen in it."""
        outcome = self.functions[operation.function].run(state, self.normal(operation))
        return ILLEGAL if outcome is None else outcome[0]


def _text(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case bool() | None:
            return value
        case int() | float():
            return str(value)
        case _:
            return value


def _with_text(operation: Operation) -> Operation:
    argument, result = operation.argument, operation.result
    match operation.function:
        case "add" | "increment":
            return operation
        case "cas":
            argument = tuple(map(_text, argument))
        case "read" | "get" | "swap" | "getset":
            argument, result = _text(argument), _text(result)
        case _:
            argument = _text(argument)
    return msgspec.structs.replace(operation, argument=argument, result=result)


def _with_set(operation: Operation) -> Operation:
    if operation.function != "read" or not isinstance(operation.result, list | tuple | set):
        return operation
    elements = frozenset(operation.result)
    # What has an element twice is no set, and stays as it is: it equals none.
    return msgspec.structs.replace(operation, result=elements) if len(elements) == len(operation.result) else operation


_READS = {"read": Read(), "get": Read()}
_WRITES = {"write": Write(), "put": Write(), "set": Write()}
_SWAPS = {"swap": Swap(), "getset": Swap(), "cas": Cas()}

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("register", None, {**_READS, **_WRITES}, Nowhere),
        Model("cas-register", None, {**_READS, **_WRITES, **_SWAPS}, Nowhere),
        Model("append", "", {**_READS, **_WRITES, "append": Append()}, Lengthening),
        Model("counter", 0, {**_READS, "add": Add(), "increment": Add()}, Counting),
        Model(
            "set",
            frozenset(),
            {"read": Read(), "contains": Contains(), "add": SetAdd(), "remove": SetRemove()},
            Changing,
            _with_set,
        ),
        Model("queue", (), {"enqueue": Enqueue(), "dequeue": Dequeue()}, Reach),
        Model("lock", None, {"acquire": Acquire(), "release": Release()}, Nowhere),
        Model(
            "kv",
            None,
            {
                **_READS,
                **_WRITES,
                **_SWAPS,
                "delete": Delete(),
                "append": Append(),
                "add": AddToText(),
                "increment": AddToText(),
            },
            of_text,
            _with_text,
        ),
    )
}
"""Every model by its name."""
