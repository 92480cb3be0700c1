"""A lock service, two mistakes, and a simulator that finds them before anybody has run three replicas.

A lock is lent for a while: whoever does not come back in time has lost it. Each lending has a number that only grows,
so that what the lock protects can turn away those who are late. Both mistakes work very well on one machine.

Run it: ``python examples/simulated.py``
"""

import time
from collections.abc import Sequence
from random import Random
from typing import Any

import oarlock
from oarlock.testing import Session, SimulationFailed, simulate

LENT_MS = 300


class Locks:
    """Commands: ``(acquire, lock, who)`` gives the number of the lending, or 0 if somebody else has the lock;
    ``(release, lock, who)`` gives 1, or 0 if it was lost already. The query ``lock`` tells who has it."""

    def __init__(self) -> None:
        self.lendings = 0
        self.lent: dict[bytes, tuple[bytes, int]] = {}
        """Who has each lock, and until when, in milliseconds."""

    def apply(self, commands: Sequence[oarlock.Command], at: oarlock.Position) -> list[int]:
        return [self.execute(*command, self.now_ms(at)) for command in commands]

    def now_ms(self, at: oarlock.Position) -> int:
        return at.time_ms  # of the log: the same for this command at every replica, and after every restart

    def execute(self, what: bytes, lock: bytes, who: bytes, now_ms: int) -> int:
        holder, until_ms = self.lent.get(lock, (b"", 0))
        if what == b"release":
            return int(holder == who and self.lent.pop(lock, None) is not None)
        if holder not in (b"", who) and now_ms < until_ms:
            return 0
        self.lendings += 1
        self.lent[lock] = (who, now_ms + LENT_MS)
        return self.lendings

    def query(self, queries: Sequence[Any], at: oarlock.Position) -> list[bytes]:
        return [self.lent.get(lock, (b"", 0))[0] for lock in queries]


class LocksByTheWall(Locks):
    """The mistake: every replica looks at a clock of its own, and at another moment."""

    def now_ms(self, at: oarlock.Position) -> int:
        return time.time_ns() // 1_000_000


async def careless(session: Session, random: Random) -> None:
    """What one client does, again and again, while the simulator kills, cuts off and pauses what it likes. The mistake:
    it believes that it still has what it was lent."""
    lock, who = random.choice((b"database", b"printer")), b"client %d" % random.getrandbits(32)
    if await session.propose((b"acquire", lock, who)):
        assert await session.read(lock) == who, "I was lent the lock, and another has it"
        await session.propose((b"release", lock, who))


async def careful(session: Session, random: Random) -> None:
    """The same without the mistake: it relies on the numbers of the lendings alone."""
    lock, who = random.choice((b"database", b"printer")), b"client %d" % random.getrandbits(32)
    number = await session.propose((b"acquire", lock, who))
    if number:
        again = await session.propose((b"acquire", lock, who))
        assert again == 0 or again > number, f"lending {again} came after {number}"
        await session.propose((b"release", lock, who))


def show(title: str, machine: type[Locks], use: Any) -> None:
    print(f"\n{title}\n")
    try:
        runs = simulate(machine, use, seeds=range(10))
    except SimulationFailed as found:
        print(found)
    else:
        calls, faults = sum(run.operations for run in runs), sum(sum(run.faults.values()) for run in runs)
        print(f"{len(runs)} runs went well: {calls:,} calls, {faults:,} times something was in their way")


def main() -> None:
    show("A clock of its own at every replica:", LocksByTheWall, careful)
    show("A client that believes too much:", Locks, careless)
    show("Neither:", Locks, careful)


if __name__ == "__main__":
    main()
