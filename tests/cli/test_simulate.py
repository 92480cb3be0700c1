"""``oarlock simulate``: what it prints, exit statuses, stories, and what it says of usage that makes no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from oarlock.cli.command import run
from oarlock.testing.simulation import run as running
from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.faults import KINDS, PROFILES, Profile
from tests.cli.conftest import oarlock

QUICK = ("--minutes", "0.05", "--jobs", "1", "--profile", "calm", "--replicas", "3")


@pytest.fixture(autouse=True)
def brief_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PEACE_S", 0.5)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the profile ``calm`` meets a fault that violates something, and others that do not."""

    def fault(cluster: Cluster, random: Random) -> Callable[[], None]:
        cluster.violated("a planted violation")
        return lambda: None

    monkeypatch.setitem(KINDS, "planted", fault)
    monkeypatch.setitem(PROFILES, "calm", Profile({"planted": 200.0, "jump of the time of day": 100.0}))


def fields(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_each_run_is_an_object_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seeds", "3..4", "--json"]) == 0
    found = fields(capsys.readouterr().out)
    assert [run["seed"] for run in found] == [3, 4]
    for one in found:
        assert one["ok"] is True
        assert one["operations"] > one["reads_verified"] > 0
        assert one["elections"] >= 1
        assert one["virtual_seconds"] > 3
        assert one["cpu_seconds"] > 0
        assert isinstance(one["faults"], dict)
    assert found[0]["trace_hash"] != found[1]["trace_hash"]


def test_a_run_goes_the_same_way_in_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (oarlock("simulate", *QUICK, "--seed", "3", "--json") for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    assert fields(first.stdout)[0]["trace_hash"] == fields(second.stdout)[0]["trace_hash"]


def test_a_summary_tells_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seeds", "3..4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 runs, 0 failed, 0 vacuous; 0.")
    assert "operations acknowledged" in out
    assert "elections" in out


@pytest.mark.usefixtures("wrong")
def test_a_failure_is_exit_status_1_and_says_how_to_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seeds", "3..4"]) == 1
    out = capsys.readouterr().out
    assert "2 runs, 2 failed" in out
    assert "The first to fail is seed 3 (profile calm, 3 replicas): a planted violation" in out
    assert "oarlock simulate --seed 3 --trace" in out


@pytest.mark.usefixtures("wrong")
def test_a_failure_can_be_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seed", "3", "--shrink"]) == 1
    out = capsys.readouterr().out
    assert "It takes 1 of " in out
    assert out.rstrip().splitlines()[-1].split("  ")[-1].startswith("planted, for ")


@pytest.mark.usefixtures("wrong")
def test_a_failure_is_in_its_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seed", "3", "--json"]) == 1
    (one,) = fields(capsys.readouterr().out)
    assert one["ok"] is False
    assert one["violations"] == ["a planted violation"]


@pytest.mark.usefixtures("wrong")
def test_only_objects_are_on_standard_output_also_when_a_failure_is_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seed", "3", "--json", "--shrink"]) == 1
    streams = capsys.readouterr()
    assert len(fields(streams.out)) == 1
    assert "It takes 1 of " in streams.err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the profile ``calm`` breaks off, after a while."""

    def fault(cluster: Cluster, random: Random) -> Callable[[], None]:
        raise LookupError("nobody foresaw this")

    monkeypatch.setitem(KINDS, "planted", fault)
    monkeypatch.setitem(PROFILES, "calm", Profile({"planted": 200.0, "jump of the time of day": 100.0}))


@pytest.mark.usefixtures("broken")
def test_a_run_that_breaks_off_is_told_up_to_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--minutes", "0.05", "--profile", "calm", "--seed", "3", "--trace"]) == 1
    out = capsys.readouterr().out
    assert "leads term 1" in out
    assert "the run broke off in fault" in out
    assert "LookupError('nobody foresaw this')" in out


@pytest.mark.usefixtures("broken")
def test_a_run_that_breaks_off_can_be_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", *QUICK, "--seed", "3", "--shrink"]) == 1
    out = capsys.readouterr().out
    assert "It takes 1 of " in out
    assert "the run broke off in fault" in out


def test_a_run_that_proves_nothing_is_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "LEAST_CALLS_A_SECOND", 1e6)
    assert run(["simulate", *QUICK, "--seed", "3"]) == 1
    assert "1 runs, 0 failed, 1 vacuous" in capsys.readouterr().out


def test_a_trace_tells_the_run_as_a_story(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "--minutes", "0.05", "--profile", "process", "--replicas", "3", "--seed", "5", "--trace"]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("seed 5: profile process, 3 replicas, 3 s; faults:\n")
    assert "leads term 1" in out
    assert "peace" in out
    assert run([*arguments, "--json"]) == 0
    streams = capsys.readouterr()
    assert len(fields(streams.out)) == 1
    assert "leads term 1" in streams.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--trace",), "--trace tells one run: say which with --seed."),
        (("--seeds", "9..3"), "'9..3' goes from no number to a greater one."),
        (("--seeds", "-3..5"), "'-3..5' begins below 0."),
        (("--seed", "-3"), "-3 is not in the range x>=0."),
        (("--seed", "3", "--seeds", "3..5"), "--seed is one run, --seeds are many: give one of them."),
        (("--seeds", "many"), "'many' is not FIRST..LAST."),
        (("--replicas", "0..3"), "--replicas: from 1 to 9."),
        (("--replicas", "3..12"), "--replicas: from 1 to 9."),
        (("--profile", "stormy"), "'stormy' is not one of"),
        (("--jobs", "0"), "--jobs"),
        (("--minutes", "0"), "--minutes"),
        (("--minutes", "nan"), "--minutes: a run must end."),
        (("--minutes", "inf"), "--minutes: a run must end."),
    ],
)
def test_bad_usage_is_a_sentence_and_exit_status_2(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert len(complaint.splitlines()) == 1
    assert "See `oarlock simulate --help`" in complaint


def test_help_tells_what_a_run_is_and_when_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--help"]) == 0
    out = capsys.readouterr().out
    for word in ("--seeds", "--shrink", "--trace", "--json", "vacuous", "not linearizable"):
        assert word in out


def test_every_profile_can_be_chosen() -> None:
    from oarlock.cli import simulate

    assert tuple(PROFILES) == simulate.PROFILES
