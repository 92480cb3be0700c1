"""One process, one target, one engine: ``python -m fuzz.worker '{...}'``. Tells its parent in lines of JSON.

A process of its own, because libFuzzer never returns, and because memory is measured by the process.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TextIO

import msgspec

from fuzz import engines
from fuzz.guard import MAX_GROWTH_MIB, Guard
from fuzz.mutation import Fails, smaller

REPORT_S = 1.0


class Job(msgspec.Struct, frozen=True):
    """What a worker is to do."""

    target: str
    engine: str
    inputs: int
    seconds: float
    """After which it ends although there were fewer inputs; 0 for never."""
    seed: int
    directory: str
    """For what is found and what is learnt."""


class Report(msgspec.Struct):
    """How far it is. The last one is ``over``."""

    inputs: int
    seconds: float
    growth_mib: float
    slowest_s: float
    over: bool = False
    finding: str | None = None
    """Path of an input that fails."""
    error: str = ""
    """How it fails."""


class Silence(logging.Handler):
    """Swallows the log, but for errors: whatever is logged as one would have been raised if somebody could hear it."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            raise AssertionError(f"an error is logged: {record.getMessage()}") from (
                record.exc_info[1] if record.exc_info else None
            )


def silence() -> None:
    """Let errors in the log of oarlock be findings, and drop the rest."""
    logger = logging.getLogger("oarlock")
    logger.propagate = False
    logger.handlers = [Silence()]


class Worker:
    """See the module."""

    def __init__(self, job: Job, output: TextIO) -> None:
        self._job = job
        self._output = output
        self._began = self._reported = 0.0
        self._guard: Guard

    def run(self) -> None:
        """Does not return."""
        job = self._job
        silence()
        if job.engine == "coverage":
            import atheris  # type: ignore[import-untyped]

            with atheris.instrument_imports(include=["oarlock"]):
                from fuzz.targets import TARGETS
        else:
            from fuzz.targets import TARGETS
        target = TARGETS[job.target]
        # Hypothesis remembers every input that it made.
        max_growth_mib = inf if job.engine == "structured" else MAX_GROWTH_MIB
        self._guard = guard = Guard(self._reporting(target.check), max_growth_mib)
        guard.watch()
        self._began = self._reported = time.monotonic()
        if job.engine == "coverage":
            corpus = Path(job.directory) / "corpus" / job.target
            engines.coverage(target, guard, job.inputs, job.seed, self._failed, self._over, corpus)
        engine = engines.structured if job.engine == "structured" else engines.chance
        engine(target, guard, job.inputs, job.seed, self._failed)
        self._over()

    def _reporting(self, check: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def reporting(data: bytes) -> None:
            check(data)
            if not self._guard.inputs & 0x3F and time.monotonic() - self._reported > REPORT_S:
                self._reported = time.monotonic()
                if 0 < self._job.seconds < self._reported - self._began:
                    self._over()
                self._report()

        return reporting

    def _report(self, over: bool = False, finding: str | None = None, error: str = "") -> None:
        guard = self._guard
        growth_mib = 0.0 if self._job.engine == "structured" else guard.growth_mib
        report = Report(guard.inputs, time.monotonic() - self._began, growth_mib, guard.slowest_s, over, finding, error)
        self._output.write(msgspec.json.encode(report).decode() + "\n")
        self._output.flush()

    def _over(self) -> None:
        self._report(over=True)
        os._exit(0)

    def _failed(self, data: bytes, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error, limit=-6))
        kind = type(error).__name__
        if kind not in ("TooSlow", "TooLarge"):
            from fuzz.targets import TARGETS

            check = TARGETS[self._job.target].check
            if Fails(check, error)(data):
                data = smaller(data, Fails(check, error))
        path = save(Path(self._job.directory) / "findings", self._job.target, data)
        self._report(over=True, finding=str(path), error=text)
        os._exit(0)


def save(directory: Path, target: str, data: bytes) -> Path:
    """Keep an input that fails, in a file whose name tells the target."""
    from hashlib import sha256

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{target}.{sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    # libFuzzer and its children write to the standard streams; the parent listens to a stream that is ours alone.
    own = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    Worker(msgspec.json.decode(sys.argv[1], type=Job), own).run()
