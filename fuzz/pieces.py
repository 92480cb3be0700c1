"""Small ways to read an input: control bytes at its end, cuts into chunks, numbers from its start."""

from itertools import pairwise
from random import Random

WHOLE, SINGLE = 0, 1


def _fractions(how: int) -> list[int]:
    random = Random(how)
    return sorted(random.randrange(1 << 16) for _ in range(1 + how % 6))


_CUTS = [_fractions(how) for how in range(256)]


def cut(stream: bytes, how: int) -> list[bytes]:
    """The stream in chunks: :data:`WHOLE`, in :data:`SINGLE` bytes, or in a few chunks that ``how`` chooses."""
    if how == WHOLE:
        return [stream]
    if how == SINGLE:
        return [stream[at : at + 1] for at in range(len(stream))]
    bounds = [0, *(fraction * len(stream) >> 16 for fraction in _CUTS[how]), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds)]


def controls(data: bytes, count: int) -> tuple[bytes, bytes]:
    """What stands before the last ``count`` bytes, and those, zeros where there are not so many."""
    return data[: max(0, len(data) - count)], data[-count:].rjust(count, b"\0")


class Numbers:
    """Numbers from the start of an input; zeros once it is used up, so that every input is a whole program."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size_bytes: int = 1) -> int:
        """An unsigned number of so many bytes."""
        start, self._at = self._at, self._at + size_bytes
        return int.from_bytes(self._data[start : self._at], "big")

    def rest(self) -> bytes:
        """All that is left."""
        start, self._at = self._at, len(self._data)
        return self._data[start:]
