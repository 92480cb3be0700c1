"""What tests of the command line share: running it, and waiting for a condition."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from oarlock.cli.command import run

DEADLINE_S = 30.0
Outcome = tuple[int, str, str]
Command = Callable[..., Outcome]


def oarlock(*arguments: str, timeout_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    """Run ``oarlock`` to its end."""
    command = [sys.executable, "-m", "oarlock", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)


def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a corpse that nobody has collected."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process; exit status, output, complaints."""

    def command(*arguments: str) -> Outcome:
        status = run(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def refused(outcome: Outcome, saying: str, status: int = 2) -> None:
    """It said why in one sentence, and nothing else."""
    code, out, err = outcome
    assert code == status, (out, err)
    assert saying in err and err.startswith("oarlock") and err.count("\n") == 1, err
    assert not out
