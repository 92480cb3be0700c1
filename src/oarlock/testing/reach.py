"""Which states lead to which, by operations whose effect depends on the state: appends, increments, additions.

The search turns back where a completed operation waits for a state that can come no more. So a wrong "no" makes a
legal history illegal, and a wrong "yes" only costs time: where it is not easily told, the answer is yes.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from oarlock.testing.functions import State
from oarlock.testing.operation import Operation

EXACT_PAIRS = 200_000
"""Up to this many pairs of a state that is made and one that is wanted are looked at one by one."""


class Reach:
    """Leads anywhere, for all that is known. ``wild`` are the operations at hand."""

    def __init__(self, wild: Sequence[Operation]) -> None:
        self.wild = wild

    def __call__(self, state: State, wanted: State) -> bool:
        """Whether any number of them, none included, can lead from one state to the other."""
        return True

    def targets(self, made: Collection[State], wanted: Collection[State]) -> dict[State, list[State]] | None:
        """For each state in ``made``, those in ``wanted`` that it leads to; None if that would take too long."""
        if len(made) * len(wanted) > EXACT_PAIRS:
            return None
        return {state: [one for one in wanted if state == one or self(state, one)] for state in made}


class Nowhere(Reach):
    """There are no such operations."""

    def __call__(self, state: State, wanted: State) -> bool:
        return bool(state == wanted)

    def targets(self, made: Collection[State], wanted: Collection[State]) -> dict[State, list[State]]:
        return {state: [state] for state in made}


class Lengthening(Reach):
    """Appends to a string: it begins with what was there, and goes on with what they append."""

    def __init__(self, wild: Sequence[Operation]) -> None:
        super().__init__(wild)
        self._appended = {operation.argument for operation in wild}
        self._lengths = sorted({len(text) for text in self._appended})
        self._cuts: dict[State, bytearray] = {}

    def __call__(self, state: State, wanted: State) -> bool:
        if not isinstance(wanted, str | bytes) or not isinstance(state, str | bytes | None):
            return False
        if state is None:
            return bool(self._cuts_of(wanted)[0])
        if len(state) > len(wanted) or not self._cuts_of(wanted)[len(state)]:
            return False
        return wanted[: len(state)] == state

    def targets(self, made: Collection[State], wanted: Collection[State]) -> dict[State, list[State]]:
        found: dict[State, list[State]] = {state: [] for state in made}
        lengths = {len(state) for state in made if isinstance(state, str | bytes)}
        for one in wanted:
            for state in self._origins(one, lengths) if found else ():
                if state in found:
                    found[state].append(one)
        return found

    def _origins(self, wanted: State, lengths: set[int]) -> Iterator[State]:
        if not isinstance(wanted, str | bytes):
            yield wanted
            return
        cuts = self._cuts_of(wanted)
        if cuts[0]:
            yield None
        for length in lengths:
            if length <= len(wanted) and cuts[length]:
                yield wanted[:length]

    def _cuts_of(self, wanted: Any) -> bytearray:
        """A 1 at each length of what may have been there, so that appends can have made the rest."""
        cuts = self._cuts.get(wanted)
        if cuts is None:
            cuts, ends = bytearray(len(wanted) + 1), [len(wanted)]
            cuts[-1] = 1
            while ends:
                end = ends.pop()
                for length in self._lengths:
                    if (cut := end - length) >= 0 and not cuts[cut] and wanted[cut:end] in self._appended:
                        cuts[cut] = 1
                        ends.append(cut)
            self._cuts[wanted] = cuts
        return cuts


class Counting(Reach):
    """Additions to a number: it does not fall unless one of them is negative."""

    def __init__(self, wild: Sequence[Operation]) -> None:
        super().__init__(wild)
        self._rises = all((operation.argument or 0) >= 0 for operation in wild)

    def __call__(self, state: State, wanted: State) -> bool:
        return isinstance(wanted, int | float) and (not self._rises or bool(state <= wanted))


class Changing(Reach):
    """Elements put into a set and taken out: no others come or go."""

    def __init__(self, wild: Sequence[Operation]) -> None:
        super().__init__(wild)
        self._added = {operation.argument for operation in wild if operation.function == "add"}
        self._removed = {operation.argument for operation in wild if operation.function == "remove"}

    def __call__(self, state: State, wanted: State) -> bool:
        return isinstance(wanted, frozenset) and wanted - state <= self._added and state - wanted <= self._removed


class CountingText(Reach):
    """Additions to a number that is kept as text: they make nothing but numbers."""

    def __call__(self, state: State, wanted: State) -> bool:
        return bool(state == wanted) or (isinstance(wanted, str) and re.fullmatch("-?[0-9]+", wanted) is not None)


def of_text(wild: Sequence[Operation]) -> Reach:
    """Appends and additions, on one key."""
    kinds: set[Callable[[Sequence[Operation]], Reach]] = {
        Lengthening if operation.function == "append" else CountingText for operation in wild
    }
    return kinds.pop()(wild) if len(kinds) == 1 else Reach(wild)
