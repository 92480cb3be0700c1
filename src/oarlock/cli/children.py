"""Child processes that never outlive this one, not even when it is killed.

Linux sends a child the signal it asked for when its parent dies (``prctl``, ``PR_SET_PDEATHSIG``); the request is
made between fork and exec, so a child's program and arguments know nothing of it and can be run by hand.
The parent must be single-threaded while it starts children: only then is code between fork and exec safe.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_prctl: Callable[..., int] | None = getattr(ctypes.CDLL(None), "prctl", None)


class Child:
    """One running child. Its output goes to the end of a log file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Start ``command``. It gets no terminal signals: Ctrl-C is the parent's to pass on."""
        self.log = log
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        self.pid = self._process.pid

    def status(self) -> int | None:
        """None while it runs; then its exit status, or minus the signal that ended it."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to finish (SIGTERM). A stopped process is continued, or it would never hear."""
        if self.status() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it now."""
        if self.status() is None:
            self._process.kill()
            self._process.wait()

    def last_words(self, lines: int = 3) -> list[str]:
        """The last lines that it wrote to its log since it was started."""
        with self.log.open("rb") as output:
            output.seek(max(self._log_start, output.seek(0, os.SEEK_END) - 8192))
            written = output.read().decode(errors="replace").splitlines()
        return [line for line in written if line.strip()][-lines:]


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if _prctl is None:
        return None
    prctl = _prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_kernel
