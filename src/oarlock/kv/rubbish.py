"""What nobody needs any more, freed bit by bit: a million keys at one go would stop the event loop for 100 ms."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from oarlock.kv.image import ImageOfAMoment


class _Load(NamedTuple):
    tables: list[Any]
    readers: Sequence[ImageOfAMoment]
    """They may still read the tables, and would be left to free them."""


class Rubbish:
    """Tables on their way out."""

    __slots__ = ("_loads",)

    def __init__(self) -> None:
        self._loads: list[_Load] = []

    def __len__(self) -> int:
        """How much there is to be freed."""
        return sum(len(table) for load in self._loads for table in load.tables)

    def __bool__(self) -> bool:
        return bool(self._loads)

    def add(self, tables: Iterable[Any], readers: Sequence[ImageOfAMoment] = ()) -> None:
        """Dicts and lists that nothing but these images looks at. What a table holds is freed with it."""
        held = [table for table in tables if table]
        if held:
            self._loads.append(_Load(held, readers))

    def free(self, budget: int) -> None:
        """Free about so many items."""
        for load in self._loads:
            if not any(image.wanted for image in load.readers):
                budget = _free(load.tables, budget)
                if budget <= 0:
                    break
        self._loads = [load for load in self._loads if load.tables]


def _free(tables: list[Any], budget: int) -> int:
    while tables and budget > 0:
        table = tables[-1]
        budget -= len(table)
        if budget >= 0:
            tables.pop().clear()  # A reader that is through may still hold it.
        else:
            take: Callable[[], object] = table.popitem if isinstance(table, dict) else table.pop
            for _ in range(budget + len(table)):
                take()
    return budget
