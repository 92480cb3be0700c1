"""Random schedules. ``OARLOCK_RANDOM_RUNS=5000`` runs so many; a failure names its seed and prints its script, which
``oarlock.testing.script.play`` plays again. What a seed ever finds is kept as a scenario.

OARLOCK_RANDOM_FIRST_SEED=1234 OARLOCK_RANDOM_RUNS=1 pytest tests/core/test_random_runs.py
"""

import os

import pytest

from oarlock.testing.script import Player, ScenarioFailed
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


@pytest.mark.parametrize("seed", range(3))
def test_the_script_of_a_run_replays_it(seed: int) -> None:
    original = RandomRun(seed)
    original.run()
    replay = Player()
    for line in original.player.said:
        replay.play(line)
    for replica in original.c.replicas.values():
        twin = replay.steps.cluster[replica.id]
        assert twin.applied == replica.applied
        assert twin.raft.status() == replica.raft.status()
        assert twin.raft.deadline() == replica.raft.deadline()


def test_a_failure_tells_the_seed_and_the_script_that_leads_there() -> None:
    original = RandomRun(0)
    original.settle_down = lambda: original.say("expect read nobody waiting")  # type: ignore[method-assign]
    with pytest.raises(ScenarioFailed, match=r"^seed 0:\d+: expect read nobody waiting\n") as failure:
        original.run()
    script = str(failure.value).partition("the script that leads there:\n\n")[2]
    with pytest.raises(ScenarioFailed, match="expect read nobody waiting"):
        replay = Player()
        for line in script.splitlines():
            replay.play(line)
