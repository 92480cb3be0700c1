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

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from oarlock.testing.functions import ANYTHING, UNTOLD, State
from oarlock.testing.models import ILLEGAL, Model
from oarlock.testing.operation import Operation
from oarlock.testing.reach import Nowhere


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


class _Configuration(NamedTuple):
    """Where the search stands: never entered twice, if it is equal."""

    first: int
    """The first completed operation that is not taken."""
    beyond: int
    """Bit i: the operation ``first + i`` is taken."""
    unknown: int
    """Bit i: the i-th operation of unknown outcome is taken."""
    state: State


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
        self._wild = [op for op in everything if _is_wild(op, model)]
        self._told_apart = _told_apart(everything, self._wild, model)
        only_wanted = self._told_apart is not None and _only_wanted(everything, model)
        if only_wanted:
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
        self._windows = list(_windows(completed))
        self._unknown_invoked = [op.invoked for op in unknown]
        self._waiting = Counter(self._wants[i] for i in range(self._count) if self._wants[i] is not UNTOLD)
        self._only_wanted = only_wanted
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
                what = (operation.function, operation.argument, operation.known, told, operation.process)
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
        here = self._settle(_Configuration(0, 0, 0, self._seen(self._model.initial)))
        entered: set[_Configuration] = set()
        path: list[tuple[_Configuration, int, Iterator[_Configuration]]] = []
        while here.first < self._count:
            if here not in entered:
                entered.add(here)
                path.append((here, len(self._order), self._next(here)))
            while True:
                if not path:
                    return None
                _, taken, branches = path[-1]
                self._undo(taken)
                branch = next(branches, None)
                if branch is not None:
                    here = self._settle(branch)
                    break
                path.pop()
        return [self._operations[i] for i in self._order]

    def _settle(self, here: _Configuration) -> _Configuration:
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
        return _Configuration(first, beyond, unknown, state)

    def _next(self, here: _Configuration) -> Iterator[_Configuration]:
        """Every configuration that one more operation leads to, but for those that foresight rules out."""
        first, beyond, unknown, state = here
        tried: set[int] = set()
        for i in self._candidates(here):
            if self._alike[i] in tried or (self._wants[i] is not UNTOLD and self._wants[i] != state):
                continue
            tried.add(self._alike[i])
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
            if i < self._count:
                yield _Configuration(*_normal(first, beyond | 1 << (i - first)), unknown, after)
            else:
                yield _Configuration(first, beyond, unknown | 1 << (i - self._count), after)
            if no_choice:
                return

    def _candidates(self, here: _Configuration) -> Iterator[int]:
        """What may come next: all that was invoked before the first operation not taken completed.

        Those of unknown outcome come last, since they need not come at all.
        """
        for i in self._windows[here.first]:
            if not here.beyond >> (i - here.first) & 1:
                yield i
        invoked = bisect_right(self._unknown_invoked, self._operations[here.first].completed)
        for i in range(invoked):
            if not here.unknown >> i & 1:
                yield self._count + i

    def _is_legal(self, state: State, i: int) -> bool:
        wanted = self._wants[i]
        if wanted is not UNTOLD:
            return bool(wanted == state)
        return self._model.step(state, self._operations[i]) is not ILLEGAL

    def _is_hopeless(self, here: _Configuration, i: int, after: State) -> bool:
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

    def _needs_no_alternative(self, here: _Configuration, i: int) -> bool:
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


def _is_wild(operation: Operation, model: Model) -> bool:
    """Whether what it leaves depends on what was there."""
    function = model.functions[operation.function]
    return not function.is_pure(operation) and function.makes(operation) is UNTOLD


def _told_apart(operations: Iterable[Operation], wild: Sequence[Operation], model: Model) -> set[State] | None:
    """The states that some operation compares with the present one, or None if that may be any."""
    apart: set[State] = set()
    for operation in operations:
        compared = model.functions[operation.function].compares(operation)
        if wild or compared is ANYTHING:
            return None
        apart.update(compared)
    return apart


def _only_wanted(operations: Iterable[Operation], model: Model) -> bool:
    """Whether every operation writes blindly, or is known and legal in one state alone."""
    for operation in operations:
        function = model.functions[operation.function]
        wants = function.wants(operation)
        if wants is UNTOLD:
            if function.makes(operation) is UNTOLD or function.compares(operation) != ():
                return False
        elif not operation.known:
            return False
    return True


def _windows(completed: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
    """For each operation, in order of completion: it and those that complete later but were invoked before it did."""
    by_invocation = sorted(range(len(completed)), key=lambda i: completed[i].invoked)
    window: list[int] = []
    position = 0
    for i, operation in enumerate(completed):
        while position < len(by_invocation) and completed[by_invocation[position]].invoked <= operation.completed:
            insort(window, by_invocation[position])
            position += 1
        yield tuple(window)
        window.remove(i)
