"""Many seeds: which run each stands for, several at a time, and what came of all of them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from random import Random

from oarlock.testing.simulation.faults import PROFILES
from oarlock.testing.simulation.run import Plan, Verdict, run


def plan_of(seed: int, profile: str | None, replicas: tuple[int, int], seconds: float) -> Plan:
    """The run that a seed stands for. Without a profile it is any, half of the time ``mixed``."""
    random = Random(f"plan {seed}")
    chosen = profile or (random.choice(list(PROFILES)) if random.random() < 0.5 else "mixed")
    size = random.randint(*replicas)
    if profile is None and size == 1 and chosen == "network":
        chosen = "mixed"  # a single replica has no network to suffer from
    return Plan(seed, chosen, size, seconds, random.randint(3, 6))


def carry_out(plans: Iterable[Plan], jobs: int) -> Iterator[Verdict]:
    """Carry out every plan, ``jobs`` at a time; the verdicts in the order of the plans."""
    if jobs == 1:
        yield from map(run, plans)
        return
    with multiprocessing.Pool(jobs, _ignore_interrupts) as pool:
        yield from pool.imap(run, plans)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us


class Totals:
    """Figures over many runs."""

    def __init__(self) -> None:
        self.runs = self.failed = self.vacuous = 0
        self.operations = self.reads_verified = self.unknown = self.refused = self.elections = 0
        self.virtual_seconds = self.cpu_seconds = 0.0
        self.faults: dict[str, int] = {}
        self.first_failure: Verdict | None = None

    def add(self, verdict: Verdict) -> None:
        """Count one."""
        self.runs += 1
        self.failed += bool(verdict.violations)
        self.vacuous += bool(verdict.vacuous and not verdict.violations)
        self.operations += verdict.operations
        self.reads_verified += verdict.reads_verified
        self.unknown += verdict.unknown
        self.refused += verdict.refused
        self.elections += verdict.elections
        self.virtual_seconds += verdict.virtual_seconds
        self.cpu_seconds += verdict.cpu_seconds
        for kind, count in verdict.faults.items():
            self.faults[kind] = self.faults.get(kind, 0) + count
        if not verdict.ok and self.first_failure is None:
            self.first_failure = verdict
