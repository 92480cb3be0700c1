"""The planted bugs are alive: each still fits the sources, and the hunt tells a catch from a survivor."""

import sys
from pathlib import Path

import pytest
from mutants.bug import Bug, Edit
from mutants.bugs import BUGS
from mutants.hunting import hunt
from mutants.planting import NotPlanted, edited, modules, plant
from mutants.worker import Job, Report

import oarlock
from oarlock.testing.simulation.faults import PROFILES

pytestmark = pytest.mark.interpreted

PACKAGE = Path(oarlock.__file__).parent


def source_of(module: str) -> str:
    return (PACKAGE.parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_still_fits_the_source_and_compiles(bug: Bug) -> None:
    for module in modules(bug):
        source = source_of(module)
        with_bug = edited(bug, module, source)
        assert with_bug != source
        compile(with_bug, module, "exec")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_says_what_rule_it_breaks(bug: Bug) -> None:
    assert bug.rule.endswith(".")
    assert set(bug.tries) <= set(PROFILES)
    assert [other.name for other in BUGS].count(bug.name) == 1


@pytest.mark.parametrize("before", ["this stands nowhere", "raft"])
def test_text_that_is_not_there_once_is_not_replaced(before: str) -> None:
    bug = Bug(name="astray", rule=".", edits=(Edit("core.election", before, ""),))
    with pytest.raises(NotPlanted, match="astray: stands"):
        edited(bug, "oarlock.core.election", source_of("oarlock.core.election"))


def test_what_is_imported_already_cannot_be_changed() -> None:
    assert "oarlock.core.log" in sys.modules or __import__("oarlock.core.log")
    with pytest.raises(NotPlanted, match=r"oarlock\.core\.log was imported before"):
        plant(Bug(name="late", rule=".", edits=(Edit("core.log", "", ""),)))


def end_of(bug: Bug, *, seeds: int = 0, scripts: bool = True) -> Report:
    (report,) = hunt([Job(bug, seeds, scripts)], 1, lambda bug, report: None)
    return report


def named(name: str) -> Bug:
    return next(bug for bug in BUGS if bug.name == name)


def test_a_script_catches_a_bug_of_the_core() -> None:
    report = end_of(named("learners-stand"))
    assert (report.outcome, report.runs) == ("caught", 0)
    assert "script 29c_learners_elect_nobody" in report.by


def test_a_simulated_run_catches_a_bug_of_the_node() -> None:
    report = end_of(named("result-of-a-neighbour"), seeds=3, scripts=False)
    assert report.outcome == "caught"
    assert report.by.partition(" ")[0] in PROFILES


def test_what_nothing_catches_survives() -> None:
    harmless = Bug(
        name="harmless", rule=".", edits=(Edit("core.raft", '"""Raise the commit index."""', '"""Nothing."""'),)
    )
    report = end_of(harmless)
    assert (report.outcome, report.what) == ("survived", "")


def test_a_run_that_does_too_little_without_the_bug_too_proves_nothing() -> None:
    """Of three replicas none is removed: no fault hits anything."""
    edit = Edit("core.raft", '"""Raise the commit index."""', '"""Nothing."""')
    harmless = Bug(name="harmless", rule=".", edits=(edit,), mix={"removed replica": 600}, seconds=1)
    report = end_of(harmless, seeds=1, scripts=False)
    assert (report.outcome, report.vacuous) == ("survived", True)


def test_a_bug_that_was_never_imported_proves_nothing() -> None:
    unused = Bug(name="unused", rule=".", edits=(Edit("node.node", "the turn:", "the turn:"),))
    report = end_of(unused)
    assert report.outcome == "faulty"


@pytest.mark.parametrize("after", ["return undefined", "return (", "return None.voters"])
def test_a_mistake_of_its_author_is_no_catch(after: str) -> None:
    bug = Bug(name="mistaken", rule=".", edits=(Edit("core.election", "return raft.id in raft.voters()", after),))
    assert end_of(bug).outcome == "faulty"
