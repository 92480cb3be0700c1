"""Many seeds: which run each stands for, several at a time, their totals; and a short campaign that must go well."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest

from oarlock.testing.simulation import campaign
from oarlock.testing.simulation.campaign import Totals, WorkerDied, carry_out, plan_of
from oarlock.testing.simulation.faults import PROFILES
from oarlock.testing.simulation.run import Plan, Verdict, run


@pytest.mark.parametrize("replicas", [3, 5])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_cluster_keeps_its_promises(profile: str, replicas: int) -> None:
    """``make simulate`` carries out many more of these, and longer ones."""
    plan = Plan(100 + replicas, profile, replicas, seconds=7, clients=4)
    verdict = run(plan)
    assert verdict.violations == [], f"to see it: {plan}"
    assert verdict.vacuous == ""
    assert verdict.reads_verified > 20
    assert verdict.elections >= 1


@pytest.mark.long
@pytest.mark.parametrize("seed", [233, 432, 703, 1747, 1983])
def test_what_failed_once_goes_well(seed: int) -> None:
    """A removal that came to nothing, and a disk that failed a snapshot (docs/testing.md, bugs found). And transactions
    after a WATCH that failed, which the judges were wrong about."""
    assert run(plan_of(seed, None, (3, 5), 20.0)).ok


def test_a_seed_always_stands_for_the_same_run() -> None:
    plans = [plan_of(seed, None, (3, 5), 20.0) for seed in range(200)]
    assert plans == [plan_of(seed, None, (3, 5), 20.0) for seed in range(200)]
    assert {plan.profile for plan in plans} == set(PROFILES)
    assert {plan.replicas for plan in plans} == {3, 4, 5}


def test_what_is_asked_for_is_not_drawn() -> None:
    plans = [plan_of(seed, "storage", (4, 4), 7.0) for seed in range(20)]
    assert {(plan.profile, plan.replicas, plan.seconds) for plan in plans} == {("storage", 4, 7.0)}


def test_runs_at_the_same_time_come_in_order_and_as_they_would_alone() -> None:
    plans = [plan_of(seed, "calm", (3, 3), 2.0) for seed in (5, 6, 7)]
    alone, together = (list(carry_out(plans, jobs)) for jobs in (1, 2))
    assert [verdict.seed for verdict in together] == [5, 6, 7]
    assert [verdict.trace_hash for verdict in together] == [verdict.trace_hash for verdict in alone]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_breaks_off_has_failed_and_is_named(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    def breaks_off(plan: Plan, **options: object) -> Verdict:
        if plan.seed == 6:
            raise LookupError("nobody foresaw this")
        return run(plan)

    monkeypatch.setattr(campaign, "run", breaks_off)
    five, six, seven = carry_out([plan_of(seed, "calm", (3, 3), 2.0) for seed in (5, 6, 7)], jobs)
    assert five.ok
    assert seven.ok
    assert not six.ok
    assert six.seed == 6
    assert "nobody foresaw this" in six.violations[0]
    assert "broke off in breaks_off" in six.violations[0]


def test_a_worker_that_dies_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(plan: Plan, **options: object) -> Verdict:
        if plan.seed == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return verdict(plan.seed)

    monkeypatch.setattr(campaign, "run", dies)
    monkeypatch.setattr(campaign, "LOOK_S", 0.05)
    with pytest.raises(WorkerDied, match=r"seed [56] or one soon after"):
        list(carry_out([plan_of(seed, "calm", (3, 3), 2.0) for seed in (5, 6, 7)], 2))


def verdict(seed: int, **fields: object) -> Verdict:
    figures = dict.fromkeys(
        ("operations", "unknown", "refused", "reads_verified", "elections", "virtual_seconds", "cpu_seconds"), 1
    )
    usual = {
        "profile": "calm",
        "replicas": 3,
        "ok": True,
        "violations": [],
        "vacuous": "",
        "trace_hash": "",
        "faults": {},
    }
    return msgspec.convert({"seed": seed, **usual, **figures, **fields}, Verdict)


def test_totals_add_up_and_remember_the_first_failure() -> None:
    totals = Totals()
    totals.add(verdict(1, faults={"kill": 2}))
    totals.add(verdict(2, ok=False, vacuous="nothing happened"))
    totals.add(verdict(3, ok=False, violations=["lost"], vacuous="nothing happened", faults={"kill": 1, "pause": 1}))
    assert (totals.runs, totals.failed, totals.vacuous) == (3, 1, 1)
    assert (totals.operations, totals.virtual_seconds) == (3, 3)
    assert totals.faults == {"kill": 3, "pause": 1}
    assert totals.first_failure is not None
    assert totals.first_failure.seed == 2
