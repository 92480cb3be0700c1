"""JSON values as values of a history: hashable, and equal only if they are equal in JSON.

Python takes true for 1. Numbers are compared as numbers, so 1 and 1.0 are equal.
"""

from enum import Enum
from typing import Any

import msgspec

DEEPEST = 100
"""How far lists and objects may be nested: what follows them down needs a stack."""


class TooDeep(ValueError):
    """It is nested too deeply."""


class Truth(Enum):
    """A JSON boolean."""

    FALSE = False
    TRUE = True

    def __bool__(self) -> bool:
        return self is Truth.TRUE

    def __repr__(self) -> str:
        return str(bool(self)).lower()


class Object(msgspec.Struct, frozen=True):
    """A JSON object."""

    items: tuple[tuple[str, Any], ...]
    """Names and values, in the order of the names."""


def frozen(value: Any, depth: int = 0) -> Any:
    """A decoded JSON value as one that can be looked up.

    :raises TooDeep: it is nested too deeply
    """
    match value:
        case list() | dict() if depth == DEEPEST:
            raise TooDeep("it is nested too deeply")
        case list():
            return tuple(frozen(item, depth + 1) for item in value)
        case dict():
            return Object(tuple(sorted((name, frozen(item, depth + 1)) for name, item in value.items())))
        case bool():
            return Truth(value)
        case _:
            return value


def plain(value: Any) -> Any:
    """The value as JSON has it. Bytes become text, and sets lists."""
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case tuple() | list():
            return list(map(plain, value))
        case frozenset() | set():
            return sorted(map(plain, value), key=repr)
        case Object():
            return {name: plain(item) for name, item in value.items}
        case Truth():
            return bool(value)
        case _:
            return value
