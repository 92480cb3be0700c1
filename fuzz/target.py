"""What a target is: one decoder, the rules that hold of it whatever it is given, and some valid input to begin with."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One decoder to be fuzzed."""

    name: str
    check: Callable[[bytes], None]
    """Gives the bytes to the decoder. Whatever it raises is a finding: rules are asserted, and the errors that a
    decoder is documented to raise are taken as the answers they are."""
    seeds: Sequence[bytes]
    """Valid inputs, and some that are nearly valid."""
    valid: Callable[[], Any] | None = None
    """Makes the hypothesis strategy of valid input, without the control bytes. A function, so that only the engine that
    wants it imports hypothesis. None: the input is a program of small instructions, and any bytes are valid."""
    controls: int = 0
    """Bytes at the end that say how the target treats those before them."""
    max_bytes: int = 512
    """Largest input worth trying. Small ones are fast; targets enlarge some of them on their own."""
