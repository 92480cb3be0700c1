"""The search for an order in which a single copy could have executed the operations on one object.

Wing and Gong's search with Lowe's memoisation (*Testing for linearizability*, 2017): take any operation that could come
next, undo it when that leads nowhere, and never look twice at the same operations taken in the same state. Since
completed operations are numbered in the order of their completion, those taken are all up to some number and a few
bits beyond it, at most one for each client.

Most branches are cut before they are entered:

- A **pure** operation that is legal now is taken at once. It changes nothing, so taking it early hinders nobody.
- Of operations that differ in nothing but their times only the one that must complete first is tried; if the other
  came first, the two could change places.
- **Foresight**: a state that a completed operation still waits for must not be left if nothing can lead there again.
- States that no operation can tell apart are one state.
- A write is taken at once, without alternatives, if nobody waits for what it replaces and all who wait for its value
  can follow immediately.
- A write of unknown outcome is left out if nothing compares the state with its value.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from oarlock.testing.functions import UNTOLD, State
from oarlock.testing.models import ILLEGAL, Model
from oarlock.testing.operation import Operation
from oarlock.testing.reach import Nowhere
from oarlock.testing.remembered import Configuration, Fork, InVain, Path
from oarlock.testing.survey import is_wild, only_wanted, told_apart, windows


class OutOfSteps(Exception):
    """The budget is used up: undecided."""


class Steps:
    """A budget. A step is one look at whether one operation can come next."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.used = 0

    def take(self, count: int) -> None:
        """:raises OutOfSteps: so many are not left"""
        if self.used + count > self.allowed:
            raise OutOfSteps
        self.used += count


class _OtherState:
    """Stands for every state that no operation can tell from the others of its kind."""

    def __repr__(self) -> str:
        return "OTHER"


_OTHER = _OtherState()


def linearize(operations: Sequence[Operation], model: Model, steps: Steps) -> list[Operation] | None:
    """An order that explains every result, or None if there is none. The operations are normal ones, of one object.

    :raises OutOfSteps: undecided
    """
    return _Search(operations, model, steps).run()


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model, steps: Steps) -> None:
        self._model = model
        self._steps = steps
        functions = model.functions
        completed = sorted((op for op in operations if op.known), key=lambda op: op.completed)
        unknown = [op for op in operations if not op.known and not functions[op.function].reads]
        unknown.sort(key=lambda op: op.invoked)
        everything = completed + unknown
        self._wild = [op for op in everything if is_wild(op, model)]
        self._told_apart = told_apart(everything, self._wild, model)
        self._only_wanted = self._told_apart is not None and only_wanted(everything, model)
        if self._only_wanted:
            unknown = [op for op in unknown if self._seen(functions[op.function].makes(op)) is not _OTHER]
            everything = completed + unknown
        self._operations = everything
        self._count = len(completed)
        self._pure = [functions[op.function].is_pure(op) for op in everything]
        self._wants = [functions[op.function].wants(op) for op in everything]
        self._makes = [self._seen(functions[op.function].makes(op)) for op in everything]
        self._blind = [
            made is not UNTOLD and wanted is UNTOLD and functions[op.function].compares(op) == ()
            for op, made, wanted in zip(everything, self._makes, self._wants, strict=True)
        ]
        self._alike = self._groups()
        self._windows = list(windows(completed))
        self._unknown_invoked = [op.invoked for op in unknown]
        self._waiting = Counter(self._wants[i] for i in range(self._count) if self._wants[i] is not UNTOLD)
        self._leads = model.reach(self._wild) if self._wild else Nowhere(())
        targets = self._find_targets()
        self._foresees = targets is not None
        self._leads_to = targets or {}
        self._sources = Counter(wanted for i in range(len(everything)) for wanted in self._led_to(i))
        self._next_wanting = self._find_next_wanting()
        self._order: list[int] = []

    # What is known before it begins

    def _seen(self, state: State) -> State:
        """The state as the operations see it: those that none of them tells apart are one."""
        apart = self._told_apart
        return state if apart is None or state is UNTOLD or state in apart else _OTHER

    def _groups(self) -> list[int]:
        """A number for each operation, the same for those that differ in nothing but their times."""
        numbers: dict[Any, int] = {}
        groups = []
        for i, operation in enumerate(self._operations):
            what: tuple[Any, ...]
            if self._blind[i]:
                what = ("makes", self._makes[i])
            else:
                told = operation.result if operation.known else UNTOLD
                # True equals 1, but only one of them is a number.
                what = (operation.function, operation.argument, operation.known, told, type(told), operation.process)
                if operation.function not in ("acquire", "release"):
                    what = what[:-1]
            groups.append(numbers.setdefault(what, len(numbers)))
        return groups

    def _find_targets(self) -> dict[State, list[State]] | None:
        """For each state that some operation makes, the wanted states to which it may lead."""
        made = {self._makes[i] for i in range(len(self._operations)) if not self._pure[i]} - {UNTOLD}
        return self._leads.targets(made, self._waiting)

    def _led_to(self, i: int) -> Sequence[State]:
        return () if self._pure[i] else self._leads_to.get(self._makes[i], ())

    def _find_next_wanting(self) -> list[int]:
        """For each completed operation, the first from it on that waits for one state."""
        following = [self._count] * (self._count + 1)
        for i in reversed(range(self._count)):
            following[i] = following[i + 1] if self._wants[i] is UNTOLD else i
        return following

    # The search

    def run(self) -> list[Operation] | None:
        here = self._settle(Configuration(0, 0, 0, self._seen(self._model.initial)))
        in_vain, path = InVain(bool(self._wild)), Path(bool(self._wild))
        while here.first < self._count:
            if here not in in_vain:
                candidates = self._candidates(here.first, here.beyond, here.unknown)
                path.push(Fork(here, len(self._order), candidates))
            while True:
                if not path.forks:
                    return None
                fork = path.forks[-1]
                self._undo(fork.taken)
                here = path.come_back(self._after)
                branch = self._next(fork, here)
                if branch is not None:
                    here = self._settle(branch)
                    break
                in_vain.add(here)
                path.pop()
        return [self._operations[i] for i in self._order]

    def _after(self, state: State, begin: int, end: int) -> State:
        """The state to which these places of the order lead."""
        for i in self._order[begin:end]:
            if not self._pure[i]:
                self._steps.take(1)
                state = self._seen(self._model.step(state, self._operations[i]))
        return state

    def _settle(self, here: Configuration) -> Configuration:
        """Take every pure operation that is legal now."""
        first, beyond, unknown, state = here
        progress = True
        while progress and first < self._count:
            progress = False
            for i in self._windows[first]:
                if self._pure[i] and not beyond >> (i - first) & 1 and self._is_legal(state, i):
                    self._take(i)
                    beyond |= 1 << (i - first)
                    progress = True
            if beyond & 1:
                first, beyond = _normal(first, beyond)
            else:
                progress = False
        return Configuration(first, beyond, unknown, state)

    def _next(self, fork: Fork, here: Configuration) -> Configuration | None:
        """The next configuration that one more operation leads to, but for those that foresight rules out."""
        first, beyond, unknown, state = here
        for i in fork.candidates:
            if self._alike[i] in fork.tried or (self._wants[i] is not UNTOLD and self._wants[i] != state):
                continue
            fork.tried.add(self._alike[i])
            after = self._model.step(state, self._operations[i])
            if after is ILLEGAL:
                self._steps.take(1)
                continue
            after = self._seen(after)
            no_choice = self._only_wanted and self._needs_no_alternative(here, i)
            self._take(i)
            if self._is_hopeless(here, i, after):
                self._undo(len(self._order) - 1)
                continue
            if no_choice:
                fork.candidates = iter(())
            if i < self._count:
                return Configuration(*_normal(first, beyond | 1 << (i - first)), unknown, after)
            return Configuration(first, beyond, unknown | 1 << (i - self._count), after)
        return None

    def _candidates(self, first: int, beyond: int, unknown: int) -> Iterator[int]:
        """What may come next: all that was invoked before the first operation not taken completed.

        Those of unknown outcome come last, since they need not come at all.
        """
        for i in self._windows[first]:
            if not beyond >> (i - first) & 1:
                yield i
        invoked = bisect_right(self._unknown_invoked, self._operations[first].completed)
        for i in range(invoked):
            if not unknown >> i & 1:
                yield self._count + i

    def _is_legal(self, state: State, i: int) -> bool:
        wanted = self._wants[i]
        if wanted is not UNTOLD:
            return bool(wanted == state)
        return self._model.step(state, self._operations[i]) is not ILLEGAL

    def _is_hopeless(self, here: Configuration, i: int, after: State) -> bool:
        """Whether a completed operation waits for a state that nothing leads to any more, once ``i`` is taken."""
        if not self._foresees:
            return False
        if here.state != after and self._is_lost(here.state, after):
            return True
        if not self._wild:
            return False
        waiting = self._next_wanting[here.first]
        while waiting < self._count and (waiting == i or here.beyond >> (waiting - here.first) & 1):
            waiting = self._next_wanting[waiting + 1]
        return waiting < self._count and self._is_lost(self._wants[waiting], after)

    def _is_lost(self, wanted: State, state: State) -> bool:
        return bool(
            wanted != state
            and self._waiting[wanted] > 0
            and self._sources[wanted] == 0
            and not self._leads(state, wanted)
        )

    def _needs_no_alternative(self, here: Configuration, i: int) -> bool:
        """Whether any order that there is could as well begin with this write and those who wait for its value.

        All operations write blindly or wait for one state. If nobody waits for the present state, and those who wait
        for the new one can all come now, then they can change places with whatever came before them.
        """
        made = self._makes[i]
        if not self._blind[i] or self._waiting[here.state] or here.state == made:
            return False
        if made is _OTHER:
            return i < self._count
        if self._sources[made] != 1 or (i >= self._count and not self._waiting[made]):
            return False
        available = sum(
            self._pure[j] and self._wants[j] == made and not here.beyond >> (j - here.first) & 1
            for j in self._windows[here.first]
        )
        return bool(available == self._waiting[made])

    def _take(self, i: int) -> None:
        self._steps.take(1)
        self._order.append(i)
        if i < self._count and self._wants[i] is not UNTOLD:
            self._waiting[self._wants[i]] -= 1
        for wanted in self._led_to(i):
            self._sources[wanted] -= 1

    def _undo(self, length: int) -> None:
        while len(self._order) > length:
            i = self._order.pop()
            if i < self._count and self._wants[i] is not UNTOLD:
                self._waiting[self._wants[i]] += 1
            for wanted in self._led_to(i):
                self._sources[wanted] += 1


def _normal(first: int, beyond: int) -> tuple[int, int]:
    """The same operations taken, such that ``first`` is not."""
    ones = (~beyond & (beyond + 1)).bit_length() - 1
    return first + ones, beyond >> ones
