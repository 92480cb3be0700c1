"""Values that a person types: addresses, sizes, lists of members. What they mean is decided elsewhere.

Each function is the ``type`` of a click option: text in, value out, or :class:`click.BadParameter` with a sentence.
"""

import re

import click

from oarlock.network.address import InvalidAddress, parse_address
from oarlock.types import ReplicaId

_SIZE = re.compile(r"([0-9]{1,18}) ?(B|KiB|MiB|GiB|TiB)?", re.ASCII)
_UNITS = {None: 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


def address(text: str, *, to_be_dialled: bool = False) -> str:
    """``HOST:PORT``, kept as text once it is known to be one."""
    try:
        return str(parse_address(text.strip(), to_be_dialled=to_be_dialled))
    except InvalidAddress as error:
        raise click.BadParameter(str(error)) from error


def reachable(text: str) -> str:
    """The same of an address that others dial: not the one that only stands for all of a machine's own."""
    return address(text, to_be_dialled=True)


def members(text: str) -> dict[ReplicaId, str]:
    """``ID=HOST:PORT,ID=HOST:PORT,…`` as a mapping in the order of the ids."""
    found: dict[ReplicaId, str] = {}
    for part in text.split(","):
        digits, equals, place = (piece.strip() for piece in part.partition("="))
        if not equals or not digits.isascii() or not digits.isdecimal() or int(digits) < 1:
            raise click.BadParameter(f"{part.strip()!r} is not ID=HOST:PORT with an id of 1 or more.")
        replica, place = ReplicaId(int(digits)), reachable(place)
        if replica in found:
            raise click.BadParameter(f"replica {replica} is listed twice.")
        if place in found.values():
            raise click.BadParameter(f"two replicas have the address {place}.")
        found[replica] = place
    return dict(sorted(found.items()))


def size(text: str) -> int:
    """Bytes, or so many KiB, MiB, GiB or TiB; more than none."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is not a size like 65536, 512KiB or 64MiB.")
    return int(found[1]) << _UNITS[found[2]]


def span(text: str) -> tuple[int, int]:
    """``FIRST..LAST``, both included, or one number."""
    first, dots, last = text.partition("..")
    try:
        span = (int(first), int(last if dots else first))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not FIRST..LAST.") from None
    if span[0] < 0:
        raise click.BadParameter(f"{text!r} begins below 0.")
    if span[0] > span[1]:
        raise click.BadParameter(f"{text!r} goes from no number to a greater one.")
    return span
