"""Integers as Redis reads them from strings: signed, 64 bits, in the one spelling that printing them gives."""

from typing import Final

MIN: Final = -(1 << 63)
MAX: Final = (1 << 63) - 1

_LONGEST: Final = 20
"""Characters of the longest one, the minimum with its sign."""


def parse(text: bytes) -> int | None:
    """The integer that ``text`` spells, or None: no blanks, no plus sign, no leading zeros, no ``-0``, 64 bits."""
    if not 0 < len(text) <= _LONGEST:
        return None
    digits = text[1:] if text[0] == 0x2D else text
    if not digits.isdigit() or (digits[0] == 0x30 and len(text) > 1):
        return None
    value = int(text)
    return value if MIN <= value <= MAX else None
