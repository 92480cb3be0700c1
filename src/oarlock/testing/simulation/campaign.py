"""Many seeds: which run each stands for, several at a time, and what came of all of them."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING

from oarlock.testing.simulation.faults import PROFILES
from oarlock.testing.simulation.run import Plan, Verdict, planned_faults, run
from oarlock.testing.simulation.trace import Trace

if TYPE_CHECKING:
    from multiprocessing.pool import IMapIterator

LOOK_S = 1.0
"""How often to look whether all workers are still there, while a verdict is waited for."""


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
        yield from map(carried_out, plans)
        return
    others = multiprocessing.active_children()
    with multiprocessing.Pool(jobs, _ignore_interrupts) as pool:
        workers = [child for child in multiprocessing.active_children() if child not in others]
        plans = list(plans)
        verdicts = pool.imap(carried_out, plans)
        for plan in plans:
            yield _verdict(verdicts, plan, workers)


def carried_out(plan: Plan, *, keep_story: bool = False) -> Verdict:
    """The verdict of a run. One that broke off has failed like any other, so that its seed is known."""
    trace = Trace(keep_story)
    try:
        return run(plan, trace=trace)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        why = f"the run broke off in {last.name}, line {last.lineno} of {last.filename}: {error!r}"
        return Verdict(
            plan.seed, plan.profile, plan.replicas, ok=False, violations=[why], vacuous="", trace_hash="",
            operations=0, unknown=0, refused=0, reads_verified=0, elections=0, faults={}, virtual_seconds=0.0,
            cpu_seconds=0.0, schedule=planned_faults(plan) if plan.faults is None else list(plan.faults),
            story=trace.lines or [],
        )  # fmt: skip


class WorkerDied(Exception):
    """A process that carried out runs is no more, and with it their verdicts."""


def _verdict(
    verdicts: IMapIterator[Verdict], plan: Plan, workers: Sequence[multiprocessing.process.BaseProcess]
) -> Verdict:
    """The next verdict. A pool would wait for that of a dead worker for ever."""
    while True:
        alive = all(worker.is_alive() for worker in workers)
        try:
            return verdicts.next(LOOK_S)
        except multiprocessing.TimeoutError:
            if not alive:
                raise WorkerDied(
                    f"A worker process has died, carrying out seed {plan.seed} or one soon after it; is there enough "
                    "memory? Try again with fewer --jobs."
                ) from None


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
