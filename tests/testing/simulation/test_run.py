"""A run and its verdict: the same plan goes the same way, trouble is noticed, and what proves nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from oarlock.testing.simulation import faults
from oarlock.testing.simulation import run as running
from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.faults import KINDS, PROFILES, Fault
from oarlock.testing.simulation.run import Plan, Verdict, planned_faults, run
from oarlock.testing.simulation.shrink import shrunk
from oarlock.testing.simulation.trace import Trace

SHORT = Plan(3, "mixed", seconds=4, clients=4)


@pytest.fixture(autouse=True)
def brief_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run does not spend most of its time in peace."""
    monkeypatch.setattr(running, "PEACE_S", 1.0)
    monkeypatch.setattr(running, "CONVERGENCE_S", 8.0)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Cluster], object]], Plan]:
    """Makes a plan in which, after two seconds, something happens to the cluster."""

    def plan(action: Callable[[Cluster], object]) -> Plan:
        def fault(cluster: Cluster, random: Random) -> Callable[[], None]:
            action(cluster)
            return lambda: None

        monkeypatch.setitem(KINDS, "planted", fault)
        return msgspec.structs.replace(SHORT, faults=[Fault(2.0, "planted", 0.1, 0)])

    return plan


# The same again


def test_the_same_plan_gives_the_same_run_to_the_last_byte() -> None:
    one, other = run(SHORT), run(SHORT)
    assert one.trace_hash == other.trace_hash
    assert msgspec.structs.replace(one, cpu_seconds=0) == msgspec.structs.replace(other, cpu_seconds=0)


def test_telling_the_story_changes_nothing() -> None:
    silent, told = run(SHORT), run(SHORT, trace=Trace(keep=True))
    assert silent.trace_hash == told.trace_hash
    assert not silent.story
    assert any("leads term" in line for line in told.story)


def test_another_seed_is_another_run() -> None:
    one, other = (run(msgspec.structs.replace(SHORT, seed=seed, faults=[])) for seed in (3, 4))
    assert one.trace_hash != other.trace_hash  # even if no fault makes a difference


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_a_process_in_which_strings_hash_differently_gives_the_same_run(hash_seed: str) -> None:
    program = """
import msgspec, sys
from oarlock.testing.simulation import run as running
running.PEACE_S, running.CONVERGENCE_S = 1.0, 8.0
print(running.run(msgspec.json.decode(sys.argv[1], type=running.Plan)).trace_hash)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, msgspec.json.encode(SHORT).decode()],
        env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == run(SHORT).trace_hash


def test_faults_can_be_said_instead_of_drawn() -> None:
    drawn = run(SHORT)
    assert drawn.schedule == planned_faults(SHORT) != []
    said = run(msgspec.structs.replace(SHORT, faults=drawn.schedule))
    assert said.trace_hash == drawn.trace_hash


# Verdicts


def test_a_run_in_which_nobody_does_anything_is_vacuous() -> None:
    verdict = run(msgspec.structs.replace(SHORT, clients=0, faults=[]))
    assert not verdict.ok
    assert not verdict.violations
    assert verdict.vacuous == "only 0 calls were acknowledged in 4 s"


def test_a_cluster_that_does_not_come_to_rest_in_peace_fails(planted: Any) -> None:
    def break_two(cluster: Cluster) -> None:
        for host in cluster.hosts[:2]:
            host.crash()
            host.broken = "for good"

    (violation,) = run(planted(break_two)).violations
    assert violation.startswith("not at rest 8 s after peace: ")


def test_one_replica_that_is_gone_for_good_is_borne(planted: Any) -> None:
    def break_one(cluster: Cluster) -> None:
        cluster.hosts[0].crash()
        cluster.hosts[0].broken = "for good"

    assert run(planted(break_one)).ok


def test_a_spoilt_state_is_found(planted: Any) -> None:
    def spoil(cluster: Cluster) -> None:
        host = next(host for host in cluster.hosts if host.node is not None)
        data = host.node._applier._machine._data  # type: ignore[union-attr]
        data.lifetimes.deadlines[b"nobody set it"] = 10**9

    (violation,) = run(planted(spoil)).violations
    assert "the state of replica" in violation


def test_an_exception_that_nobody_caught_is_found(planted: Any) -> None:
    def trip(cluster: Cluster) -> None:
        process = cluster.hosts[0].process
        assert process is not None
        process.post(1, lambda: 1 / 0)

    violations = run(planted(trip)).violations
    assert any("replica 1: " in violation and "ZeroDivisionError" in violation for violation in violations)


def test_an_answer_that_does_not_come_is_found(planted: Any) -> None:
    def silence(cluster: Cluster) -> None:
        """Bytes for clients of one replica get lost, and nobody closes anything."""
        for end in cluster.wires._ends:
            if end.process is cluster.hosts[0].process and not end.frames:
                end.write = lambda data: None  # type: ignore[method-assign]

    plan = msgspec.structs.replace(planted(silence), clients=8)
    violations = run(plan).violations
    assert any("no answer after" in violation or "waits for an answer" in violation for violation in violations)


def test_a_lie_to_a_client_is_found(planted: Any) -> None:
    def lie(cluster: Cluster) -> None:
        told = next(call for call in cluster.record.calls if call.outcome == "ok" and call.request[0] == b"INCRBY")
        told.result += 1

    assert "told" in run(planted(lie)).violations[0]


# Faults


def test_each_kind_of_fault_can_be_met_and_leaves_nothing_behind() -> None:
    """All of them, in two runs; and in a third, where snapshots are taken and no disk is bad yet, what damages one."""
    kinds = list(KINDS)
    met: dict[str, int] = {}
    for seed, order in enumerate((kinds[::-1], kinds, ["snapshot"] * 12 + ["damaged snapshot"] * 4)):
        schedule = [Fault(1.0 + 0.3 * number, kind, 0.25, 1000 * seed + number) for number, kind in enumerate(order)]
        verdict = run(Plan(seed, seconds=1.5 + 0.3 * len(kinds), clients=6, faults=schedule))
        assert verdict.ok, (verdict.violations, verdict.vacuous)
        for kind in verdict.faults:
            met[kind] = 1
    assert [kind for kind in kinds if kind not in met] == []


def test_every_kind_is_in_some_profile_and_mixed_has_all() -> None:
    assert set(PROFILES["mixed"].rates) == set(KINDS)
    assert {kind for profile in PROFILES.values() for kind in profile.rates} == set(KINDS)


def test_a_schedule_is_the_seed_s_and_ends_in_time() -> None:
    profile = PROFILES["mixed"]
    one, other, third = (faults.schedule(profile, Random(seed), 30.0) for seed in (1, 1, 2))
    assert one == other != third
    assert one == sorted(one, key=lambda fault: fault.at_s)
    assert all(fault.at_s + fault.lasts_s <= 30.0 for fault in one)


def test_damage_hits_a_minority_only() -> None:
    for replicas in (3, 5):
        cluster = Cluster(running._key_value_store(), replicas, Random(1), running.Trace(False))
        cluster.start(0)
        cluster.loop.run(3)
        for draw in range(60):
            KINDS["damaged sector"](cluster, Random(draw))
        assert sum(host.damaged for host in cluster.hosts) == (replicas - 1) // 2
        cluster.loop.end()


# Shrinking


def test_of_many_faults_those_that_matter_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A violation that takes two faults, among a dozen that do not matter."""
    begun: list[int] = []

    def fault(cluster: Cluster, random: Random) -> Callable[[], None]:
        begun.append(1)
        if len(begun) == 2:
            cluster.violated("both were there")
        return begun.clear

    monkeypatch.setitem(KINDS, "planted", fault)
    others = [Fault(0.2 * number, "jump of the time of day", 0.1, number) for number in range(12)]
    both = [Fault(1.05, "planted", 3.0, 1), Fault(1.85, "planted", 3.0, 2)]
    plan = Plan(1, seconds=2.5, clients=2, faults=sorted(others + both, key=lambda fault: fault.at_s))

    def fresh(plan: Plan) -> Verdict:
        begun.clear()
        return run(plan)

    verdict = fresh(plan)
    assert verdict.violations == ["both were there"]
    told: list[tuple[int, int]] = []
    assert shrunk(plan, verdict, fresh, tell=lambda tries, left: told.append((tries, left))).faults == both
    assert told[-1][1] == 2
    assert len(told) < 40


def test_what_is_wrong_by_itself_needs_no_fault() -> None:
    plan = Plan(1, seconds=1, clients=0, faults=[])
    many = [Fault(0.1 * number, "kill", 0.1, number) for number in range(8)]
    verdict = msgspec.structs.replace(run(plan), violations=["something"], schedule=many)
    tries: list[int] = []
    assert shrunk(plan, verdict, lambda fewer: verdict, lambda count, left: tries.append(count)).faults == []
    assert tries == [1]
