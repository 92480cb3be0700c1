"""Random schedules. ``OARLOCK_RANDOM_RUNS=5000`` runs so many; a failure names its seed and prints its script.
A seed that ever finds something is kept as a test of its own here.

OARLOCK_RANDOM_FIRST_SEED=1234 OARLOCK_RANDOM_RUNS=1 pytest tests/core/test_random_runs.py
"""

import os

import pytest

from tests.core.random_run import RandomRun

RUNS = int(os.environ.get("OARLOCK_RANDOM_RUNS", "200"))
FIRST_SEED = int(os.environ.get("OARLOCK_RANDOM_FIRST_SEED", "0"))
SEEDS_PER_TEST = 20


def run(seed: int) -> None:
    try:
        RandomRun(seed).run()
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + RUNS, SEEDS_PER_TEST))
def test_random_runs(first: int) -> None:
    for seed in range(first, min(first + SEEDS_PER_TEST, FIRST_SEED + RUNS)):
        run(seed)
