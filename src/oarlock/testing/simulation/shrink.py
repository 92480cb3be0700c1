"""Of a schedule of faults that makes a run fail, the fewest that still do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from oarlock.testing.simulation.faults import Fault

if TYPE_CHECKING:
    from oarlock.testing.simulation.run import Plan, Verdict

MOST_TRIES = 120


def shrunk(
    plan: Plan, verdict: Verdict, carry_out: Callable[[Plan], Verdict], tell: Callable[[int, int], None] | None = None
) -> Plan:
    """The plan with as few faults as it takes to violate something: parts of the schedule are left out, the larger
    first, while what remains still fails. ``tell`` hears the number of tries and of faults left."""
    faults = list(verdict.schedule)
    tries = 0

    def fails(some: list[Fault]) -> bool:
        nonlocal tries
        tries += 1
        failed = bool(carry_out(msgspec.structs.replace(plan, faults=some)).violations)
        if tell is not None:
            tell(tries, len(some) if failed else len(faults))
        return failed

    if faults and fails([]):
        return msgspec.structs.replace(plan, faults=[])  # as what is wrong by itself does
    size = max(1, len(faults) // 2)
    while faults and tries < MOST_TRIES:
        start, smaller = 0, False
        while start < len(faults) and tries < MOST_TRIES:
            without = faults[:start] + faults[start + size :]
            if fails(without):
                faults, smaller = without, True
            else:
                start += size
        if not smaller and size == 1:
            break
        size = max(1, size // 2)
    return msgspec.structs.replace(plan, faults=faults)
