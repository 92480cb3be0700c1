"""What a search remembers: where it was in vain, and where it may come back to.

States may grow with the history, as a set and a string do, and one for each step would take memory with the square of
its length. So what was in vain is remembered by a fingerprint where the state is large, and of the states to come back
to only as many are held as there is room for; the others are made anew, from one held before, by the operations taken
since. Neither changes a verdict.
"""

from array import array
from collections.abc import Callable, Hashable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from oarlock.testing.functions import State

MOST_BYTES = 2 << 30
"""About so much may be remembered of what was in vain. A budget of steps like the default one is used up before."""
ENTRY_BYTES = 300
"""What one configuration takes."""
HELD_BYTES = 64 << 20
"""About so much may be held in states to come back to."""
SMALL = 64
"""A state of up to so many characters or elements is its own fingerprint."""
FINGERPRINT_BYTES = 16
"""Of a trillion large states no two have the same fingerprint, but for a chance of one in a hundred trillion."""


class OutOfMemory(Exception):
    """More would have to be remembered than there is room for: undecided."""


class Configuration(NamedTuple):
    """Where the search stands: never left in vain twice, if it is equal."""

    first: int
    """The first completed operation that is not taken."""
    beyond: int
    """Bit i: the operation ``first + i`` is taken."""
    unknown: int
    """Bit i: the i-th operation of unknown outcome is taken."""
    state: State


class InVain:
    """The configurations from which nothing led to the end.

    Nobody need know what was entered and not yet left: every step takes one more operation, so no way leads in circles,
    and where the search never turns back there is nothing to remember.
    """

    def __init__(self, grows: bool) -> None:
        self._grows = grows
        self._found: set[tuple[int, int, int, Hashable]] = set()
        self._taken: set[int] = set()
        self._bytes = 0
        self._numbers = _Numbers()
        self._addends = _Addends()

    def add(self, here: Configuration) -> None:
        """:raises OutOfMemory: no more can be remembered"""
        first, beyond, unknown, state = here
        self._bytes += ENTRY_BYTES + (beyond.bit_length() + unknown.bit_length()) // 8
        if self._bytes > MOST_BYTES:
            raise OutOfMemory
        if self._grows:
            self._taken.add(hash(here[:-1]))
            state = self._fingerprint(state)
        self._found.add((first, beyond, unknown, state))

    def __contains__(self, here: Configuration) -> bool:
        if not self._grows:
            return here in self._found
        # Most operations were never taken in vain, and of those there is no need to look at the state.
        taken = here[:-1]
        return hash(taken) in self._taken and (*taken, self._fingerprint(here.state)) in self._found

    def _fingerprint(self, state: State) -> Hashable:
        match state:
            case str() if len(state) > SMALL:
                return _digest(state.encode("utf-8", "surrogatepass"), b"str")
            case bytes() if len(state) > SMALL:
                return _digest(state, b"bytes")
            case tuple() if len(state) > SMALL:
                return _digest(array("Q", map(self._numbers.__getitem__, state)).tobytes(), b"tuple")
            case frozenset() if len(state) > SMALL:
                return sum(map(self._addends.__getitem__, state))
            case _:
                small: Hashable = state
                return small


def _digest(content: bytes, kind: bytes) -> bytes:
    return blake2b(content, digest_size=FINGERPRINT_BYTES, person=kind).digest()


class _Numbers(dict[Any, int]):
    """A number for each element, in the order in which they are met."""

    def __missing__(self, element: Any) -> int:
        self[element] = number = len(self)
        return number


class _Addends(dict[Any, int]):
    """A large number for each element, such that no two sets have the same sum."""

    def __missing__(self, element: Any) -> int:
        self[element] = addend = int.from_bytes(_digest(len(self).to_bytes(8), b"element"))
        return addend


class Fork:
    """A configuration that the search may come back to, to try another branch."""

    __slots__ = ("candidates", "here", "taken", "tried")

    def __init__(self, here: Configuration, taken: int, candidates: Iterator[int]) -> None:
        self.here = here
        self.taken = taken
        """How many operations had been taken."""
        self.candidates = candidates
        """The operations that are still to be tried."""
        self.tried: set[int] = set()
        """Groups of operations of which one was tried."""


class _Forgotten:
    def __repr__(self) -> str:
        return "FORGOTTEN"


_FORGOTTEN = _Forgotten()


class Path:
    """The forks between the beginning and where the search stands. The first always holds its state."""

    def __init__(self, grows: bool) -> None:
        self.forks: list[Fork] = []
        self._grows = grows
        self._holding: list[int] = []
        self._held = 0

    def push(self, fork: Fork) -> None:
        self.forks.append(fork)
        self._hold(fork.here.state)

    def pop(self) -> None:
        fork = self.forks.pop()
        if self._holding[-1] == len(self.forks):
            self._holding.pop()
            self._held -= self._size(fork.here.state)

    def come_back(self, after: Callable[[State, int, int], State]) -> Configuration:
        """The last fork's configuration. ``after`` tells to which state these places of the order lead from another."""
        fork = self.forks[-1]
        if fork.here.state is _FORGOTTEN:
            near = self.forks[self._holding[-1]]
            fork.here = fork.here._replace(state=after(near.here.state, near.taken, fork.taken))
            self._hold(fork.here.state)
        return fork.here

    def _hold(self, state: State) -> None:
        """The last fork holds this state now."""
        self._holding.append(len(self.forks) - 1)
        self._held += self._size(state)
        if self._held > HELD_BYTES:
            self._thin_out()

    def _thin_out(self) -> None:
        """Forget every other state but the last: those far back, which are needed last, become the fewest."""
        for fork in (self.forks[at] for at in self._holding[1:-1:2]):
            self._held -= self._size(fork.here.state)
            fork.here = fork.here._replace(state=_FORGOTTEN)
        del self._holding[1:-1:2]

    def _size(self, state: State) -> int:
        """About how many bytes it takes of its own, the same on every machine."""
        if not self._grows:
            return 0
        match state:
            case str() | bytes():
                return len(state)
            case tuple():
                return 8 * len(state)
            case frozenset():
                return 48 * len(state)
            case _:
                return 0
