"""The garbage collector of a process that makes many short-lived containers and no cycles."""

import gc

THRESHOLDS = (50_000, 20, 50)
"""Collecting often finds nothing and costs latency."""


def calm_the_collector() -> None:
    """Leave what is there since the start out of every collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
