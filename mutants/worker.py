"""One process, one bug: ``python -m mutants.worker '{...}'``. Tells its parent in lines of JSON how far the hunt is.

A process of its own, because a bug is planted in modules as they are imported, and they are imported once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Literal, NoReturn, TextIO

import msgspec

from mutants.bug import Bug
from mutants.planting import modules, plant

if TYPE_CHECKING:
    from oarlock.testing.simulation.run import Verdict

SCENARIOS = Path(__file__).parent.parent / "tests" / "scenarios"
STUCK_S = 60.0
"""CPU seconds without an end of a script or a run, of which each usually takes one or two."""
MISTAKES = (NameError, AttributeError, ImportError, SyntaxError)
"""What a bug that is badly written raises: catching that proves nothing. (UnboundLocalError is a NameError.)"""
LIVENESS = ("not at rest", "no answer after")
"""How the sentences begin that complain of what does not happen, instead of what does."""
FEW_RUNS = 12
"""Of a bug that names its tests, before these have their turn."""
MIX = "mix"
"""Stands for a profile of a bug's own."""

Outcome = Literal["hunting", "caught", "stalled", "survived", "faulty"]
"""``stalled``: caught by what it keeps from happening. ``faulty``: it is no bug but a mistake of its author's."""


class Job(msgspec.Struct, frozen=True):
    """What a worker is to do."""

    bug: Bug
    seeds: int
    """Simulated runs at the most."""
    scripts: bool = True
    first_seed: int = 1
    profile: str = ""
    """Runs of this only."""


class Report(msgspec.Struct):
    """How far the hunt is; the last one is not ``hunting``."""

    outcome: Outcome
    by: str = ""
    """The scripts, or profile and seed, that caught it."""
    what: str = ""
    """The first violation."""
    runs: int = 0
    cpu_seconds: float = 0.0
    vacuous: bool = False
    """The last run did too little to prove anything."""


class Worker:
    """See the module."""

    def __init__(self, job: Job, output: TextIO) -> None:
        self._job = job
        self._bug = job.bug
        self._output = output
        self._report = Report("hunting")

    def run(self) -> NoReturn:
        """Hunt to the end. Does not return."""
        signal.signal(signal.SIGPROF, self._stuck)
        if self._bug.edits:
            plant(self._bug)
        if self._job.scripts:
            self._play_scripts()
        for number in range(min(self._job.seeds, FEW_RUNS) if self._bug.tests else self._job.seeds):
            seed = self._job.first_seed + number
            self._simulate(seed, self._job.profile or profile_of(self._bug, number))
        if self._bug.tests:
            self._run_tests()
        self._check_planted()
        self._end("survived", "", "")

    def _play_scripts(self) -> None:
        from oarlock.testing.script import ScenarioFailed, play

        failures: list[tuple[str, ScenarioFailed]] = []
        for path in sorted(SCENARIOS.glob("*.txt")):
            self._begin(f"script {path.stem}")
            try:
                play(path.read_text(encoding="utf-8"), path.name)
            except ScenarioFailed as failure:
                failures.append((path.stem, failure))
        if not failures:
            return
        name, first = failures[0]
        if isinstance(first.__cause__, MISTAKES):
            self._end("faulty", f"script {name}", repr(first.__cause__))
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        said = [line.strip() for line in str(first).splitlines()]
        self._end("caught", f"script {name}{others}", ": ".join([said[0].partition(": ")[2], *said[1:2]]))

    def _simulate(self, seed: int, profile: str) -> None:
        from oarlock.testing.simulation.faults import Profile, schedule
        from oarlock.testing.simulation.run import Plan, run

        self._begin(f"{profile} {seed}")
        plan = Plan(seed, profile, self._bug.replicas, self._bug.seconds)
        if profile == MIX:
            faults = schedule(Profile(self._bug.mix), Random(f"faults {seed}"), self._bug.seconds)
            plan = msgspec.structs.replace(plan, profile="mixed", faults=faults)
        self._report.runs += 1
        verdict = run(plan)
        self._report.vacuous = bool(verdict.vacuous)
        if verdict.violations or verdict.vacuous:
            self._judge(f"{profile} {seed}", verdict, self._healthy(seed, profile))

    def _run_tests(self) -> None:
        """With the bug planted in what they import; nothing that they print may get among our lines."""
        import pytest

        self._begin("tests")
        signal.setitimer(signal.ITIMER_PROF, 0)
        failed: list[str] = []

        class FirstFailure:
            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                if report.failed:
                    failed.append(report.nodeid)

        self._output = os.fdopen(os.dup(1), "w")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        pytest.main(["-x", "-q", "-p", "no:cacheprovider", *self._bug.tests], plugins=[FirstFailure()])
        if failed:
            self._end("caught", f"test {failed[0].rpartition('::')[2]}", "")

    def _judge(self, by: str, verdict: Verdict, healthy: Report) -> None:
        """The same run without the bug must find nothing; if that does too little, so may this."""
        if healthy.outcome != "survived":
            self._end("faulty", by, f"without the bug, too: {healthy.what}")
        if not verdict.violations:
            if not healthy.vacuous:
                self._end("stalled", by, verdict.vacuous)
            return
        what = verdict.violations[0]
        if any(f"{mistake.__name__}(" in what for mistake in (*MISTAKES, UnboundLocalError)):
            self._end("faulty", by, what)
        stalled = all(violation.startswith(LIVENESS) for violation in verdict.violations)
        self._end("stalled" if stalled else "caught", by, what)

    def _healthy(self, seed: int, profile: str) -> Report:
        """The same run without the bug."""
        if not self._bug.edits:
            return Report("survived", vacuous=self._report.vacuous)
        healthy = msgspec.structs.replace(self._bug, edits=())
        job = Job(healthy, 1, scripts=False, first_seed=seed, profile=profile)
        lines = subprocess.run(command(job), capture_output=True, check=True).stdout.splitlines()
        return msgspec.json.decode(lines[-1], type=Report)

    def _check_planted(self) -> None:
        if missing := [name for name in modules(self._bug) if name not in sys.modules]:
            self._end("faulty", "", f"never imported: {', '.join(missing)}")

    def _begin(self, what: str) -> None:
        self._report.by = what
        self._tell()
        signal.setitimer(signal.ITIMER_PROF, STUCK_S)

    def _stuck(self, signum: int, frame: FrameType | None) -> None:
        self._end("stalled", self._report.by, f"no end after {STUCK_S:g} s of CPU")

    def _tell(self) -> None:
        self._report.cpu_seconds = time.process_time()
        self._output.write(msgspec.json.encode(self._report).decode() + "\n")
        self._output.flush()

    def _end(self, outcome: Outcome, by: str, what: str) -> NoReturn:
        self._report.outcome, self._report.by, self._report.what = outcome, by, " ".join(what.split())
        self._tell()
        os._exit(0)  # whatever the bug has left undone


def profile_of(bug: Bug, number: int) -> str:
    """The profile of a run: they take turns, and every second turn is that of one that the bug asks for."""
    from oarlock.testing.simulation.faults import PROFILES

    everything = list(PROFILES)
    tries = [MIX] if bug.mix else bug.tries
    if not tries:
        return everything[number % len(everything)]
    if number % 2 == 0:
        return tries[number // 2 % len(tries)]
    return everything[number // 2 % len(everything)]


def command(job: Job) -> list[str]:
    """The command that starts a worker."""
    return [sys.executable, "-m", "mutants.worker", msgspec.json.encode(job).decode()]


if __name__ == "__main__":
    Worker(msgspec.json.decode(sys.argv[1], type=Job), sys.stdout).run()
