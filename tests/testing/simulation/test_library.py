"""Simulating a user's own state machine: good ones pass, each kind of wrong one is found, and messages help."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random
from typing import Any

import pytest

from oarlock import Position
from oarlock.testing import Session, SimulationFailed, simulate
from oarlock.testing.simulation.library import Library, Program
from oarlock.testing.simulation.run import Plan, run
from oarlock.testing.simulation.trace import Trace
from oarlock.types import Index
from tests.testing.simulation import machines
from tests.testing.simulation.machines import Alarm, Unusual, Words, use_alarm, use_unusual, use_words


def failure_of(machine: Any, use: Any = use_words, seconds: float = 4, **options: Any) -> SimulationFailed:
    with pytest.raises(SimulationFailed) as caught:
        simulate(machine, use, **{"seeds": range(3), "seconds": seconds, **options})
    return caught.value


# Good machines


def test_a_good_machine_passes() -> None:
    verdicts = simulate(Words, use_words, seeds=range(3), seconds=6)
    assert [verdict.seed for verdict in verdicts] == [0, 1, 2]
    assert all(verdict.reads_verified > 20 and verdict.operations > verdict.reads_verified for verdict in verdicts)
    assert any(verdict.faults for verdict in verdicts)


def test_results_without_eq_parts_of_the_state_generators_and_unhashable_queries_pass() -> None:
    assert simulate(Unusual, use_unusual, seeds=range(2), seconds=5)[0].reads_verified > 20


def test_results_and_answers_are_judged_as_they_were_when_they_were_given() -> None:
    class Live(Words):
        def one(self, words: list[bytes]) -> Any:
            super().one(words)
            return self.counts

        def query(self, queries: Any, at: Any) -> Any:
            return [self.counts]

    machine = Library(Program(Live, use_words)).machine()
    results = machine.apply((b"w1",), Position(Index(1), 1))
    answers = machine.query((None,), Position(Index(1), 1))
    machine.apply((b"w2",), Position(Index(2), 2))
    assert list(results) == list(answers) == [{"w1": 1}]


def test_a_machine_that_waits_for_a_time_passes() -> None:
    assert simulate(Alarm, use_alarm, seeds=range(2), seconds=5)[0].reads_verified > 20


@pytest.mark.parametrize(("machine", "taken"), [(machines.Recorded, True), (machines.CannotRestore, False)])
def test_snapshots_are_taken_of_a_machine_that_can_take_them_back(machine: Any, taken: bool) -> None:
    verdict = run(
        Plan(1, "process", seconds=6, faults=[]), Library(Program(machine, use_words)), trace=Trace(keep=True)
    )
    assert verdict.ok
    assert any("has a snapshot at" in line for line in verdict.story) == taken


def test_a_machine_whose_answers_depend_on_their_own_time_and_place_passes() -> None:
    assert simulate(machines.Lease, machines.use_lease, seeds=range(4), seconds=5)[0].reads_verified > 20


@pytest.mark.parametrize("profile", ["calm", "network", "process", "storage", "clocks"])
def test_every_profile_is_fit_for_a_library(profile: str) -> None:
    assert simulate(Words, use_words, seeds=[4], seconds=5, profile=profile, another_hash_seed=False)


def test_the_same_seed_goes_the_same_way() -> None:
    one, other = (simulate(Words, use_words, seeds=[5], seconds=4, another_hash_seed=False)[0] for _ in range(2))
    assert one.trace_hash == other.trace_hash
    assert one.operations == other.operations


# Nondeterminism


@pytest.mark.parametrize("machine", [machines.Clock, machines.ClockInState, machines.Dice, machines.Address])
def test_what_comes_from_outside_makes_replicas_differ(machine: Any) -> None:
    message = str(failure_of(machine))
    assert "the state of replica" in message or "others with" in message
    assert "seed 0: " in message
    assert "It takes no fault at all." in message


def test_a_state_that_differs_is_shown_where_it_does() -> None:
    assert ": .at is 1" in str(failure_of(machines.ClockInState))


def test_the_order_of_a_set_in_a_result_is_found_by_another_hash_seed() -> None:
    message = str(failure_of(machines.SetInResult))
    assert "in a process in which strings hash differently: b" in message or "hash differently: (b" in message
    assert " here and ['w" in message
    simulate(machines.SetInResult, use_words, seeds=[0], seconds=4, another_hash_seed=False)  # nothing else finds it


def test_the_order_of_a_set_in_the_state_is_found_by_another_hash_seed() -> None:
    message = str(failure_of(machines.SetInState))
    assert "the states differ (.last[" in message
    simulate(machines.SetInState, use_words, seeds=[0], seconds=4, another_hash_seed=False)


def test_a_state_that_depends_on_what_is_applied_together_is_found() -> None:
    async def use(session: Session, random: Random) -> None:
        for _ in range(5):
            await use_words(session, random)

    message = str(failure_of(machines.Division, use, seconds=2, another_hash_seed=False))
    assert "not linearizable" in message


def test_a_query_that_changes_the_state_is_found() -> None:
    assert "query changed the state" in str(failure_of(machines.Curious))


def test_what_machines_of_one_process_share_is_found() -> None:
    assert failure_of(machines.Forgets, another_hash_seed=False)


# A broken contract


def test_results_must_be_as_many_as_commands() -> None:
    assert re.search(r"apply returned (\d) results for (?!\1)\d commands", str(failure_of(machines.TooFew)))
    assert re.search(r"query returned (\d) answers for (?!\1)\d queries", str(failure_of(machines.TooManyAnswers)))
    assert "which is no sequence of results" in str(failure_of(machines.NoSequence))


def test_an_exception_out_of_apply_is_named_and_is_the_cause() -> None:
    failure = failure_of(machines.Raises)
    assert "apply raised ZeroDivisionError('by the seventh word') at index " in str(failure)
    assert isinstance(failure.__cause__, ZeroDivisionError)


def test_an_exception_out_of_query_is_named_and_is_the_cause() -> None:
    failure = failure_of(machines.QueryRaises)
    assert "query raised LookupError('nothing asked'), given (None,)" in str(failure)
    assert isinstance(failure.__cause__, LookupError)


@pytest.mark.parametrize(
    ("machine", "sentence", "cause"),
    [
        (machines.OnePiece, r"snapshot returned b'.*, which is not pieces of bytes, one after another", None),
        (machines.TextPieces, r"snapshot gave '.* as a piece, which is not bytes", None),
        (machines.SnapshotRaises, r"snapshot raised OSError\('no such file'\)", OSError),
        (machines.PieceRaises, r"snapshot raised, when it was asked for a piece, KeyError\('where is it'\)", KeyError),
        (machines.RestoreRaises, r"restore raised KeyError\('what is it'\)", KeyError),
        (machines.RestoresAtOnce, r"restore cannot be awaited: it begins with `async def restore", None),
    ],
)
def test_what_is_wrong_in_snapshot_and_restore_is_named_and_is_the_cause(
    machine: Any, sentence: str, cause: type[Exception] | None
) -> None:
    failure = failure_of(machine, another_hash_seed=False)
    assert re.search(f"^seed [0-2]: {sentence}", str(failure))
    assert failure.__cause__ is None if cause is None else isinstance(failure.__cause__, cause)


def test_a_constructor_that_raises_is_seen_as_it_is() -> None:
    def machine() -> Any:
        raise KeyError("no such file")

    with pytest.raises(KeyError, match="no such file"):
        simulate(machine, use_words)


# What the user says is right


def no_word_thrice(machine: Words) -> None:
    assert max(machine.counts.values(), default=0) < 3, "a word came thrice"


def test_an_invariant_that_does_not_hold_is_a_failure_with_its_words() -> None:
    failure = failure_of(Words, invariant=no_word_thrice)
    assert "the invariant does not hold after (" in str(failure)
    assert ": a word came thrice\n" in str(failure)
    assert isinstance(failure.__cause__, AssertionError)


@pytest.mark.parametrize("returned", [None, True])
def test_an_invariant_that_holds_is_no_failure(returned: bool | None) -> None:
    simulate(Words, use_words, seeds=[0], seconds=4, invariant=lambda machine: returned, another_hash_seed=False)


def test_an_invariant_that_returns_false_does_not_hold() -> None:
    failure = failure_of(Words, invariant=lambda machine: len(machine.counts) < 20, another_hash_seed=False)
    assert re.search(r"the invariant does not hold after \(.* at index \d+: it returned False\n", str(failure))


def test_an_invariant_that_returns_something_else_is_a_mistake() -> None:
    failure = failure_of(Words, invariant=lambda machine: machine.counts, another_hash_seed=False)
    assert "an invariant raises AssertionError or returns a bool; this one returned {" in str(failure)
    assert isinstance(failure.__cause__, TypeError)


def test_an_invariant_with_a_bug_of_its_own_names_it() -> None:
    def invariant(machine: Any) -> None:
        assert machine.no_such_thing

    assert "AttributeError" in str(failure_of(Words, invariant=invariant, another_hash_seed=False))


def test_state_says_what_must_be_equal() -> None:
    simulate(machines.ClockInState, use_words, seeds=[0], seconds=4, state=lambda machine: machine.counts,
             another_hash_seed=False)  # fmt: skip


def test_an_assertion_of_use_is_a_failure_with_its_words() -> None:
    async def use(session: Session, random: Random) -> None:
        await session.propose(b"w1")
        assert await session.read(None) < 10, "counted to ten"

    failure = failure_of(Words, use, another_hash_seed=False)
    assert ": counted to ten\n" in str(failure)
    assert isinstance(failure.__cause__, AssertionError)


def test_a_bug_of_use_is_a_failure_that_names_it() -> None:
    async def use(session: Session, random: Random) -> None:
        await session.propose(b"w1")
        await session.propose("no bytes")  # type: ignore[arg-type]

    failure = failure_of(Words, use, another_hash_seed=False)
    assert "a command is bytes or a tuple of bytes, not 'no bytes'" in str(failure)
    assert isinstance(failure.__cause__, TypeError)


def test_a_use_that_wants_a_thread_is_told_that_there_are_none() -> None:
    async def use(session: Session, random: Random) -> None:
        await asyncio.to_thread(print)

    assert "a simulated process has no threads" in str(failure_of(Words, use, another_hash_seed=False))


def test_a_use_that_does_nothing_proves_nothing() -> None:
    async def use(session: Session, random: Random) -> None:
        pass

    assert "proves nothing: no call was answered" in str(failure_of(Words, use))


# How it is told


def test_a_message_is_short_and_says_how_to_see_it_again() -> None:
    message = str(failure_of(machines.Dice, profile="storage", seeds=[7]))
    assert message.startswith("seed 7: ")
    assert "To see this run alone: seeds=[7]" in message
    assert len(message.splitlines()) < 25
    assert max(map(len, message.splitlines())) < 600


def test_the_fewest_faults_are_told_where_it_takes_any() -> None:
    failure = failure_of(machines.Impatient, profile="network", seeds=[1], another_hash_seed=False)
    assert "apply raised TimeoutError('nobody wrote for a second')" in str(failure)
    assert "It takes 1 of " in str(failure)
    (fault,) = failure.verdict.schedule
    assert f"  {fault}" in str(failure)


def test_what_does_not_happen_again_is_said_to_come_from_outside() -> None:
    calls = []

    class Once(Words):
        def one(self, words: list[bytes]) -> Any:
            calls.append(1)
            return [0] if len(calls) == 10 else super().one(words)

    failure = failure_of(Once, another_hash_seed=False)
    assert "When this run was repeated it went well" in str(failure)


def test_what_cannot_be_sent_elsewhere_gives_a_warning() -> None:
    class Local(Words):
        pass

    with pytest.warns(UserWarning, match="must stand at the top of a module"):
        assert simulate(Local, use_words, seeds=[0], seconds=3)


def test_a_program_that_simulates_when_it_is_imported_gives_a_warning_and_does_not_hang(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            from oarlock.testing import simulate
            from tests.testing.simulation.machines import Words

            async def use(session, random):
                await session.propose(b"w1")

            print(len(simulate(Words, use, seeds=[0, 1], seconds=2)))
        """)
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": ":".join(path for path in ["."  , *sys.path] if path)},
    )  # fmt: skip
    assert done.stdout == "2\n"
    assert "must stand at the top of a module" in done.stderr


def test_a_machine_can_be_simulated_without_what_servers_need(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys

            for name in ("hiredis", "click", "uvicorn"):
                sys.modules[name] = None

            from oarlock.testing import simulate
            from tests.testing.simulation.machines import Words, use_words

            assert simulate(Words, use_words, seeds=[0], seconds=2, another_hash_seed=False)
        """)
    )
    subprocess.run(
        [sys.executable, program], check=True, timeout=60, cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": ":".join(path for path in ["."  , *sys.path] if path)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"profile": "stormy"}, "there is no profile 'stormy'"),
        ({"seeds": []}, "no seeds, no runs"),
        ({"replicas": 0}, "0 replicas: a cluster has from 1 to 9"),
        ({"replicas": 10}, "10 replicas: a cluster has from 1 to 9"),
        ({"seconds": float("nan")}, "nan seconds: a run ends, and takes at least 1"),
        ({"seconds": float("inf")}, "inf seconds: a run ends"),
        ({"seconds": 0}, "0 seconds: a run ends, and takes at least 1"),
        ({"seconds": -3.5}, r"-3\.5 seconds: a run ends"),
        ({"clients": 0}, "0 clients: without any, nothing happens"),
    ],
)
def test_bad_usage_is_said(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        simulate(Words, use_words, **options)
