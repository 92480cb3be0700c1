"""Simulating a user's own state machine: many runs, and for one that goes wrong a message to work with."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from math import isfinite
from typing import Any

import msgspec

from oarlock.state_machine import StateMachine
from oarlock.testing.simulation.contents import difference
from oarlock.testing.simulation.faults import PROFILES
from oarlock.testing.simulation.library import Library, Outcome, Program
from oarlock.testing.simulation.operators import MOST_HOSTS
from oarlock.testing.simulation.run import LEAST_CALLS_A_SECOND, Plan, Verdict, run
from oarlock.testing.simulation.session import Use
from oarlock.testing.simulation.shrink import shrunk
from oarlock.testing.simulation.trace import Trace

LEAST_SECONDS = 1.0
"""Of a run: the cluster has formed by then, and somebody was answered."""
STORY_LINES = 12
"""The end of the story that a failure tells."""


class SimulationFailed(AssertionError):
    """A run went wrong. The message says what, under which seed, and with which faults."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict
        """Of the run with the fewest faults; its ``story`` is whole."""


def simulate(
    machine: Callable[[], StateMachine],
    use: Use,
    *,
    seeds: Iterable[int] = range(20),
    replicas: int = 3,
    profile: str = "mixed",
    seconds: float = 10.0,
    clients: int = 4,
    state: Callable[[Any], object] | None = None,
    invariant: Callable[[Any], bool | None] | None = None,
    another_hash_seed: bool = True,
) -> list[Verdict]:
    """Replicate ``machine()`` in a simulated world of faults, let clients ``use`` it, and judge what became of it.

    ``use(session, random)`` is what a client does again and again; whatever it decides it must draw from ``random``.
    ``profile`` names a mix of faults (:data:`~oarlock.testing.simulation.faults.PROFILES`), ``seconds`` are virtual.
    ``state`` gives what must be equal on replicas that applied the same, by default all that the machine holds;
    ``invariant`` is called with a machine after each ``apply``, and raises AssertionError or returns False where it is
    broken.
    ``another_hash_seed``: carry out the first run once more in a process in which strings hash differently, which finds
    what depends on the order of a set. Then ``machine`` and ``use`` must stand at the top of a module.

    :raises SimulationFailed: with the seed, and the fewest faults with which it still fails; its cause is what the
        machine, the invariant or ``use`` raised, if anything.
    :raises ValueError: there is no such profile, a number makes no sense, or there is nothing to carry out.
    """
    __tracebackhide__ = True  # pytest shows what went wrong, not how that was noticed
    _require_sense(profile, replicas, seconds, clients)
    program = Program(machine, use, state, invariant)
    machine()  # whatever it raises is best seen as it is
    verdicts: list[Verdict] = []
    for seed in seeds:
        plan = Plan(seed, profile, replicas, seconds, clients)
        subject = Library(program)
        verdict = run(plan, subject)
        if verdict.violations:
            failure, cause = _failure(plan, verdict, subject, program)
            raise failure from cause
        if not verdict.operations:
            raise SimulationFailed(
                f"seed {seed} proves nothing: no call was answered in {seconds:g} s. Does use() propose or read?",
                verdict,
            )
        if another_hash_seed and not verdicts:
            _compare_elsewhere(plan, verdict, subject, program)
        verdicts.append(verdict)
    if not verdicts:
        raise ValueError("no seeds, no runs")
    operations = sum(verdict.operations for verdict in verdicts)
    if operations < LEAST_CALLS_A_SECOND * seconds * len(verdicts):
        raise SimulationFailed(
            f"{len(verdicts)} runs of {seconds:g} s prove too little: only {operations} calls were acknowledged in all",
            verdicts[0],
        )
    return verdicts


def _require_sense(profile: str, replicas: int, seconds: float, clients: int) -> None:
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}: it is one of {', '.join(PROFILES)}")
    if not 1 <= replicas <= MOST_HOSTS:
        raise ValueError(f"{replicas} replicas: a cluster has from 1 to {MOST_HOSTS}")
    if not (isfinite(seconds) and seconds >= LEAST_SECONDS):
        raise ValueError(f"{seconds:g} seconds: a run ends, and takes at least {LEAST_SECONDS:g}")
    if clients < 1:
        raise ValueError(f"{clients} clients: without any, nothing happens")


def _failure(
    plan: Plan, verdict: Verdict, subject: Library, program: Program
) -> tuple[SimulationFailed, Exception | None]:
    """What to raise, and from what."""
    fewest = shrunk(plan, verdict, lambda fewer: run(fewer, subject))
    again = Library(program)
    last = run(fewest, again, trace=Trace(keep=True))
    if not last.violations:
        return SimulationFailed(
            f"seed {plan.seed}: {verdict.violations[0]}\n"
            "When this run was repeated it went well: the machine or use() depends on something outside the "
            "simulation, such as a clock, the global random source, or what earlier runs have left behind.",
            verdict,
        ), subject.raised  # fmt: skip
    lines = [f"seed {plan.seed}: {last.violations[0]}"]
    if last.schedule:
        lines.append(f"It takes {len(last.schedule)} of {len(verdict.schedule)} faults:")
        lines += [f"  {fault}" for fault in last.schedule]
    else:
        lines.append("It takes no fault at all.")
    lines.append("The end of the story:")
    lines += [f"  {line if len(line) <= 160 else line[:157] + '...'}" for line in last.story[-STORY_LINES:]]
    lines.append(f"To see this run alone: seeds=[{plan.seed}], and all else as it is.")
    return SimulationFailed("\n".join(lines), last), again.raised


# Once more in another process


class _Elsewhere(msgspec.Struct, frozen=True):
    """How the run went in another process."""

    verdict: Verdict
    outcomes: list[Outcome]
    states: dict[int, object]


def _compare_elsewhere(plan: Plan, verdict: Verdict, subject: Library, program: Program) -> None:
    """Carry the run out in a process in which strings hash differently, and compare.

    :raises SimulationFailed: if it goes another way there.
    """
    try:
        pickle.dumps(program)
        other = _run_elsewhere(plan, program)
    except (pickle.PicklingError, AttributeError, TypeError, BrokenProcessPool) as error:
        warnings.warn(
            f"what depends on the order of a set is not looked for: {error}. For that, the state machine and what uses "
            "it must stand at the top of a module that can be imported (a program says `if __name__ == '__main__'`); "
            "another_hash_seed=False ends this warning.",
            stacklevel=3,
        )
        return
    where = f"seed {plan.seed} goes differently in a process in which strings hash differently: "
    why = "; something depends on the order of a set, on id(), on a clock, or on the process in another way"
    for here, there in zip(subject.outcomes, other.outcomes, strict=False):
        if here.command != there.command:
            break
        if here.contents != there.contents:
            raise SimulationFailed(
                f"{where}{here.command!r:.100} at index {here.index} gives {here.shown:.200} here and "
                f"{there.shown:.200} there{why}", other.verdict,
            )  # fmt: skip
    if other.verdict.violations:
        raise SimulationFailed(f"{where}{other.verdict.violations[0]}", other.verdict)
    for index, state in subject.states.items():
        if other.verdict.trace_hash == verdict.trace_hash and other.states[index] != state:
            place = difference(state, other.states[index])
            raise SimulationFailed(f"{where}after index {index} the states differ ({place}){why}", other.verdict)
    if other.verdict.trace_hash != verdict.trace_hash:
        raise SimulationFailed(f"{where}other commands are proposed, or at other times{why}", other.verdict)


def _run_elsewhere(plan: Plan, program: Program) -> _Elsewhere:
    with _hash_seed("1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"):
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        with pool:
            return pool.submit(_carry_out, plan, program).result()


def _carry_out(plan: Plan, program: Program) -> _Elsewhere:
    subject = Library(program)
    verdict = run(plan, subject)
    return _Elsewhere(verdict, subject.outcomes, subject.states)


@contextmanager
def _hash_seed(seed: str) -> Iterator[None]:
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = seed
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
