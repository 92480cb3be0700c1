"""A serving process gives back what large commands and replies took."""

import os
import platform
import subprocess
import sys

import pytest

HOLD_AND_LET_GO = """
import os, sys
from oarlock.cli.memory import let_large_blocks_go

def resident_mib():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

if "as it is left alone" not in sys.argv:
    let_large_blocks_go()
b"x" * (30 << 20)  # glibc would take blocks of this size from the heap from here on
at_first = resident_mib()
small, large = [], []
for _ in range(40):
    large.append(b"x" * (4 << 20))
    small.append(b"x" * (64 << 10))  # which stay, and keep the heap from shrinking
held = resident_mib() - at_first
large.clear()
print(held, resident_mib() - at_first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is of glibc")
def test_what_large_commands_took_is_given_back_though_small_ones_stay() -> None:
    _, alone = held_and_left("as it is left alone")
    if alone < 100:
        pytest.skip("another allocator is at work")
    held, left = held_and_left()
    assert left < 20, f"of {held} MiB {left} were left"


def held_and_left(*arguments: str) -> tuple[int, int]:
    """How many MiB forty commands of four took, and how many were left."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    command = [sys.executable, "-c", HOLD_AND_LET_GO, *arguments]
    ran = subprocess.run(command, env=plain, capture_output=True, check=True, timeout=60)
    held, left = map(int, ran.stdout.split())
    return held, left
