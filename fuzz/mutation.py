"""Inputs by chance: valid ones, spoilt. Deterministic, and in need of nothing but the standard library."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

_TELLING = bytes((0x00, 0x01, 0x0A, 0x0D, 0x7F, 0x80, 0x93, 0xC1, 0xFF)) + b"\"'$*+-:,#_(%~>|=0123[]\\ "
"""Bytes that mean something to one decoder or another."""


def mutations(seeds: Sequence[bytes], random: Random, count: int, max_bytes: int) -> Iterator[bytes]:
    """The seeds, and then mutations of them and of each other, ``count`` in all."""
    for number in range(count):
        if number < len(seeds):
            yield seeds[number]
            continue
        data = bytearray(random.choice(seeds))
        for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
            _edit(data, random, seeds)
        yield bytes(data[-max_bytes:])


def _edit(data: bytearray, random: Random, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    span = random.choice((1, 1, 2, 4, 8, 16))
    match random.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1 if at < len(data):
            data[at] = random.choice(_TELLING)
        case 2:
            data[at:at] = bytes((random.choice(_TELLING),))
        case 3:
            data[at:at] = random.randbytes(span)
        case 4:
            del data[at : at + span]
        case 5:
            data[at:at] = data[at : at + span]
        case _:
            other = random.choice(seeds)
            start = random.randrange(len(other) + 1)
            data[at:at] = other[start : start + 2 * span]


def smaller(data: bytes, fails: Callable[[bytes], bool], tries: int = 2_000) -> bytes:
    """A shorter input that fails as well: what can be left out is, halves first, then less and less."""
    span = len(data) // 2
    while span:
        at = 0
        while at < len(data) and tries > 0:
            tries -= 1
            shorter = data[:at] + data[at + span :]
            if fails(shorter):
                data = shorter
            else:
                at += span
        span //= 2
    return data


class Fails:
    """Whether an input fails in the way that another did: by the same kind of exception."""

    def __init__(self, check: Callable[[bytes], None], error: BaseException) -> None:
        self._check = check
        self._kind = type(error)

    def __call__(self, data: bytes) -> bool:
        try:
            self._check(data)
        except Exception as error:
            return type(error) is self._kind
        return False
