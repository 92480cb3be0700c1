"""One call of one client: what it asked, what it heard, and when."""

from typing import Any

import msgspec

from oarlock.testing.values import Object

NEVER = float("inf")


class Operation(msgspec.Struct, frozen=True):
    """One call of one client on one object. Times are of any one clock, and only their order matters.

    Of two operations one comes *before* the other if it completed before the other was invoked; at equal times they
    are concurrent, which allows more.
    """

    key: Any
    function: str
    argument: Any
    result: Any
    """What it returned; ignored if the outcome is unknown."""
    invoked: float
    completed: float = NEVER
    """When it returned; infinite if its outcome is unknown: it may take effect at any time, or never."""
    process: Any = 0

    @property
    def known(self) -> bool:
        """Whether its outcome is known."""
        return self.completed != NEVER


def describe(operation: Operation) -> str:
    """The operation in a few words: ``read() -> 1 by process 3``."""
    argument = "" if operation.argument is None else shown(operation.argument)
    if not operation.known:
        outcome = " -> ?"
    elif operation.result is None and operation.argument is not None:
        outcome = ""
    else:
        outcome = f" -> {shown(operation.result)}"
    return f"{operation.function}({argument}){outcome} by process {operation.process}"


def shown(value: Any, limit: int = 60) -> str:
    """A value as people write it, cut in the middle where it is long: a string that grew differs at its end."""
    return cut(_written(value), limit)


def cut(text: str, limit: int) -> str:
    """A text without its middle, if it is longer than the limit."""
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[len(text) - limit // 2 :]}"


def _written(value: Any) -> str:
    match value:
        case None:
            return "nil"
        case frozenset():
            return "{" + ", ".join(sorted(map(_written, value))) + "}"
        case Object():
            return "{" + ", ".join(f"{name!r}: {_written(item)}" for name, item in value.items) + "}"
        case tuple():
            return "[" + ", ".join(map(_written, value)) + "]"
        case _:
            return repr(value)
