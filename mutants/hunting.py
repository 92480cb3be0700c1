"""Hunts bugs in processes of their own, a few at a time."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from mutants.bug import Bug
from mutants.worker import Job, Report, command


def hunt(jobs: Sequence[Job], at_a_time: int, on_end: Callable[[Bug, Report], None]) -> list[Report]:
    """The last report of each job, in their order; ``on_end`` is called as each ends, in a thread."""

    def hunted(job: Job) -> Report:
        report = _hunt(job)
        on_end(job.bug, report)
        return report

    with ThreadPoolExecutor(at_a_time) as pool:
        return list(pool.map(hunted, jobs))


def _hunt(job: Job) -> Report:
    """Run a worker to its end."""
    # A simulated run is the same in every process, but only with the same hashes is what it costs.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(command(job), stdout=subprocess.PIPE, stderr=errors, env=environment)
        try:
            assert worker.stdout is not None
            last = Report("hunting")
            for line in worker.stdout:
                last = msgspec.json.decode(line, type=Report)
            worker.wait()
        except BaseException:
            worker.kill()
            raise
        if last.outcome == "hunting":  # it died
            errors.seek(0)
            said = errors.read()
            last.outcome, last.what = "faulty", f"the worker ended with {worker.returncode}"
            print(said, file=sys.stderr)
    return last
