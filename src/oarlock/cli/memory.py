"""How the memory of a process that serves for long is managed: what the interpreter and the C library leave to it."""

import gc

GC_THRESHOLDS = (50_000, 20, 50)
"""Batches make many short-lived containers and no cycles, so collecting often finds nothing and costs latency."""

MAPPED_BYTES = 1 << 20
"""Blocks from this size on, for which the heap has no room, are mapped one by one, and given back one by one. Smaller
ones are too frequent to be mapped."""
TRIM_BYTES = 16 << 20
"""What may be free at the heap's end before it is given back."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""As in glibc's <malloc.h>."""


def calm_the_collector() -> None:
    """Leave what is there since the start out of every collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def let_large_blocks_go() -> None:
    """Have glibc give the memory of large blocks back when they are freed.

    Left alone it takes blocks from the heap that are as large as any that was freed before, up to 32 MiB, and the heap
    shrinks only from its end: after some hundreds of large commands and replies the process would keep nearly all of
    what they took. It goes before what the environment says (``MALLOC_MMAP_THRESHOLD_``), and with another C library
    does nothing.
    """
    try:
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    except (ImportError, OSError):  # a Python without ctypes serves as well
        return
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES)
