"""What objects hold: equal for equal ones, different for others, and where."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import random
import threading
import uuid
from typing import Any

import pytest

from oarlock.testing.simulation.contents import contents, difference


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x: Any) -> None:
        self.x = x


class Listed(list[Any]):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def listed(name: str) -> Listed:
    found = Listed([1])
    found.name = name  # type: ignore[attr-defined]
    return found


PAIRS: list[tuple[Any, Any]] = [
    (1, 2),
    (1, True),
    (1, 1.0),
    (b"1", "1"),
    ([1, 2], [2, 1]),
    ([1], (1,)),
    ({1: 2}, {1: 3}),
    ({1: 2}, {2: 2}),
    ({"a" * 200 + "b": 1}, {"a" * 200 + "c": 1}),
    ({1, 2}, {1, 3}),
    (Plain(a=1), Plain(a=2)),
    (Plain(a=1), Plain(b=1)),
    (Plain(a=Plain(b=[1])), Plain(a=Plain(b=[2]))),
    (Slotted(1), Slotted(2)),
    (listed("one"), listed("other")),
    (Colour.RED, Colour.BLUE),
    (decimal.Decimal("1.1"), decimal.Decimal("1.2")),
    (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (random.Random(1), random.Random(2)),
    (collections.deque([1]), collections.deque([2])),
    (collections.OrderedDict(a=1), collections.OrderedDict(a=2)),
    (bytearray(b"a"), bytearray(b"b")),
    (Plain, Slotted),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_differs_is_different_and_the_difference_can_be_told(one: Any, other: Any) -> None:
    assert contents(one) != contents(other)
    assert " here, " in difference(contents(one), contents(other))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Plain(a={1: [2, {"x", "y"}]}, lock=threading.Lock(), nothing=float("nan")),
        lambda: Slotted(decimal.Decimal(3)),
        lambda: random.Random(3),
        lambda: {frozenset({"a", "b"}): Plain(colour=Colour.RED, kind=Plain, function=len)},
        lambda: collections.defaultdict(list, {1: [2]}),
    ],
)
def test_what_holds_the_same_is_the_same(make: Any) -> None:
    assert contents(make()) == contents(make())


def test_the_order_of_a_dict_and_of_a_set_does_not_matter() -> None:
    assert contents({"a": 1, "b": 2}) == contents({"b": 2, "a": 1})
    assert contents(Plain(a=1, b=2)) == contents(Plain(b=2, a=1))


def test_an_object_may_hold_itself() -> None:
    one, other = Plain(a=1), Plain(a=1)
    one.self, other.self = one, other  # type: ignore[attr-defined]
    assert contents(one) == contents(other)


def test_the_place_of_the_first_difference_is_told() -> None:
    one, other = Plain(accounts={b"ann": [1, 2]}), Plain(accounts={b"ann": [1, 3]})
    assert difference(contents(one), contents(other)) == ".accounts[b'ann'][1] is 2 here, 3 there"
    assert difference(contents([1]), contents([1, 2])) == "it has 1 parts here, 2 there"
    assert difference(("of", 1), ("others", 2)) == ""
