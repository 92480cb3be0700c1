"""``oarlock`` with a disk that stalls, and one that fails, for as long as a file beside the data directory says so.

Nothing of Oarlock is replaced: what blocks, in the very thread that writes, is the system call.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oarlock.cli import main

STALLED, FAILING = ".stalled", ".failing"
"""Suffixes of the directory's name that make the files."""
LOOK_S = 0.005


def obeying(call: Callable[..., Any], directory: Path) -> Callable[..., Any]:
    def stall_or_fail(*arguments: Any) -> Any:
        while directory.with_suffix(STALLED).exists():
            time.sleep(LOOK_S)
        result = call(*arguments)  # what fails may be on the disk all the same
        if directory.with_suffix(FAILING).exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return result

    return stall_or_fail


if __name__ == "__main__":
    directory = Path(sys.argv[sys.argv.index("--data-dir") + 1])
    os.pwrite = obeying(os.pwrite, directory)
    os.fdatasync = obeying(os.fdatasync, directory)
    os.fsync = obeying(os.fsync, directory)
    main()
