"""The command: runs every target in processes of its own, one at a time, and prints a line for each.

python -m fuzz                          # every target, a million inputs each
python -m fuzz requests log --inputs 5000
python -m fuzz --replay .fuzz/findings/log.0123456789ab
"""

import argparse
import importlib.util
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import msgspec

from fuzz.targets import TARGETS
from fuzz.worker import Job, Report, save, silence

DIRECTORY = Path(".fuzz")
STRUCTURED_SHARE, MOST_STRUCTURED = 50, 5_000
"""One input in so many, and no more than this, is generated from its grammar: that is slow, and finds what it finds
early."""
SILENT_S = 300
"""A worker that says nothing for so long is stuck in code that no signal reaches, and is killed."""


def main() -> int:
    """Exit status 0 if nothing was found, 1 if something was, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz the decoders.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which; all by default: {', '.join(TARGETS)}")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target (a million)")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="end each engine of each target after so long, if not before"
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed tries other inputs")
    parser.add_argument("--engine", choices=("coverage", "structured", "chance"), help="only this one")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give a target one input that once failed")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return replay(arguments.replay)
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    has_atheris = importlib.util.find_spec("atheris") is not None
    if not has_atheris and not arguments.engine:
        print("atheris is not installed: inputs are mutated without regard to what code they reach")
    print(f"{'target':<16}{'inputs':>10}{'seconds':>9}{'a second':>10}{'growth':>10}{'slowest':>10}")
    found = 0
    for name in arguments.targets or TARGETS:
        structured = min(arguments.inputs // STRUCTURED_SHARE, MOST_STRUCTURED)
        # Chance tries ten times as many in the same time, and coverage goes deeper: each finds what the other does not.
        guided = (arguments.inputs - structured) // 2 if has_atheris else 0
        shares = [
            ("structured", structured), ("chance", arguments.inputs - structured - guided), ("coverage", guided),
        ]  # fmt: skip
        if arguments.engine:
            shares = [(arguments.engine, arguments.inputs)]
        line = Line(name)
        for engine, inputs in shares:
            if inputs and not line.finding:
                line.add(run(Job(name, engine, inputs, arguments.seconds, arguments.seed, str(DIRECTORY)), line))
        line.end()
        found += bool(line.finding)
    return 1 if found else 0


class Line:
    """The line of one target: the sums of its engines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done: list[Report] = []
        self.finding = ""

    def add(self, report: Report) -> None:
        """An engine is done."""
        self._done.append(report)
        if report.finding:
            self.finding = report.finding
            self._error = report.error

    def show(self, report: Report) -> None:
        """How far it is, where somebody watches."""
        if sys.stdout.isatty():
            print("\r" + self._text([*self._done, report]), end="", flush=True)

    def end(self) -> None:
        """All engines are done."""
        print(("\r" if sys.stdout.isatty() else "") + self._text(self._done) + ("  FAILED" if self.finding else ""))
        if self.finding:
            print(f"\n{self._error}\nIt is kept in {self.finding}. To see it again:")
            print(f"    make fuzz ARGS='--replay {self.finding}'\n")
        sys.stdout.flush()

    def _text(self, reports: list[Report]) -> str:
        inputs = sum(report.inputs for report in reports)
        seconds = sum(report.seconds for report in reports)
        growth = max((report.growth_mib for report in reports), default=0.0)
        slowest_ms = 1000 * max((report.slowest_s for report in reports), default=0.0)
        rate = inputs / max(seconds, 0.001)
        return f"{self._name:<16}{inputs:>10,}{seconds:>9.1f}{rate:>10,.0f}{growth:>6.0f} MiB{slowest_ms:>7.0f} ms"


def run(job: Job, line: Line) -> Report:
    """Run a worker to its end, and return its last report."""
    DIRECTORY.mkdir(exist_ok=True)
    log = DIRECTORY / f"{job.target}.{job.engine}.log"
    last = Report(0, 0.0, 0.0, 0.0)
    command = [sys.executable, "-m", "fuzz.worker", msgspec.json.encode(job).decode()]
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as worker:
        assert worker.stdout is not None
        try:
            while True:
                alarm = threading.Timer(SILENT_S, worker.kill)
                alarm.start()
                text = worker.stdout.readline()
                alarm.cancel()
                if not text:
                    break
                last = msgspec.json.decode(text, type=Report)
                line.show(last)
        except BaseException:
            worker.kill()
            raise
        finally:
            alarm.cancel()
    if last.over:
        return last
    # It died, or libFuzzer gave it up: then libFuzzer has kept the input.
    said = log.read_text(errors="replace")[-2000:]
    kept = sorted((DIRECTORY / "corpus" / job.target).glob("[cto]*-*"))
    path = save(DIRECTORY / "findings", job.target, kept[0].read_bytes()) if kept else log
    for left in kept:
        left.unlink()
    return msgspec.structs.replace(last, finding=str(path), error=f"the worker ended with {worker.returncode}:\n{said}")


def replay(path: Path) -> int:
    """Give a target one input."""
    target = TARGETS.get(path.name.split(".")[0])
    if target is None:
        print(f"the name of {path} does not begin with that of a target", file=sys.stderr)
        return 2
    silence()
    data = path.read_bytes()
    print(f"{target.name}: {len(data)} bytes: {data[:400]!r}")
    try:
        target.check(data)
    except Exception:
        traceback.print_exc(limit=-8)
        return 1
    print("no rule is broken; what takes more than a second, or more and more memory, does not show here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
