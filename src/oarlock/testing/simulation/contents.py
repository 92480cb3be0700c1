"""What an object holds, in a form that can be compared and whose differences can be told.

Two replicas hold different objects that should hold the same. Equality is no help: an object without ``__eq__`` is
equal to itself alone. So an object is taken apart as far as it goes, the way pickle would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple, TypeAlias


class Whole(NamedTuple):
    """Something with parts."""

    kind: str
    parts: tuple[tuple[str, Content], ...]
    """Each with how to get there from the whole."""


Content: TypeAlias = str | Whole
"""An atom as its ``repr``, or else its parts."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_NAMED = (type, FunctionType, BuiltinFunctionType, ModuleType)


def contents(value: Any) -> Content:
    """What ``value`` holds. The order of a list matters, that of a dict or of a set does not."""
    return _contents(value, ())


def difference(one: object, other: object, place: str = "") -> str:
    """Where two contents differ first, in words; empty if that cannot be told."""
    it = place or "it"
    if isinstance(one, Whole) and isinstance(other, Whole) and one.kind == other.kind:
        for (label, part), (other_label, other_part) in zip(one.parts, other.parts, strict=False):
            if label != other_label:
                return f"{it} has {label:.60} here, {other_label:.60} there"
            if part != other_part:
                return difference(part, other_part, place + label)
        return f"{it} has {len(one.parts)} parts here, {len(other.parts)} there"
    if isinstance(one, str | Whole) and isinstance(other, str | Whole):
        return f"{it} is {_brief(one)} here, {_brief(other)} there"
    return ""


def _contents(value: Any, above: tuple[int, ...]) -> Content:
    kind = type(value)
    if kind in _ATOMS:
        return repr(value)
    if isinstance(value, _NAMED):
        return f"<{getattr(value, '__qualname__', value.__name__)}>"
    if id(value) in above:
        return f"<itself, {above[::-1].index(id(value)) + 1} above>"
    return Whole(kind.__name__, tuple(_parts(value, (*above, id(value)))))


def _parts(value: Any, above: tuple[int, ...]) -> Iterator[tuple[str, Content]]:
    if isinstance(value, dict):
        pairs = ((f"[{_text(_contents(key, above))}]", _contents(item, above)) for key, item in value.items())
        yield from sorted(pairs, key=repr)
    elif isinstance(value, set | frozenset):
        yield from sorted((("[…]", _contents(item, above)) for item in value), key=repr)
    elif isinstance(value, list | tuple):
        yield from _numbered(value, above)
    else:
        yield from _reduced(value, above)
        return
    yield from _attributes(getattr(value, "__dict__", {}), above)


def _reduced(value: Any, above: tuple[int, ...]) -> Iterator[tuple[str, Content]]:
    """The parts that pickle would store."""
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # a lock, a generator, a socket: there is nothing in it to compare
        return
    if isinstance(reduced, str):
        yield "", reduced
        return
    _, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from _numbered((argument for argument in arguments if argument is not type(value)), above)
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # of a class with __slots__
        yield from _attributes({**(state[0] or {}), **state[1]}, above)
    elif isinstance(state, dict):
        yield from _attributes(state, above)
    elif state is not None:
        yield ".state", _contents(state, above)
    yield from _numbered(items or (), above)
    yield from _parts(dict(pairs or ()), above)


def _numbered(values: Iterable[Any], above: tuple[int, ...]) -> Iterator[tuple[str, Content]]:
    for number, item in enumerate(values):
        yield f"[{number}]", _contents(item, above)


def _attributes(attributes: dict[str, Any], above: tuple[int, ...]) -> Iterator[tuple[str, Content]]:
    for name in sorted(attributes):
        yield f".{name}", _contents(attributes[name], above)


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return f"{content.kind}({', '.join(_text(part) for _, part in content.parts)})"


def _brief(content: Content) -> str:
    text = _text(content)
    return text if len(text) <= 60 else text[:57] + "..."
