"""The witness: each kind of lie in a history is found, and its truthful twin passes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pytest

from oarlock.state_machine import Position, StateMachine
from oarlock.testing.simulation.applied import Divergence, History
from oarlock.testing.simulation.record import Call, Outcome, Record, Watched
from oarlock.types import Command, Index


class Registers:
    """Commands: (marker, key, value); the result is the old value. Queries: a key, or ``time`` for the answer's."""

    def __init__(self) -> None:
        self.values: dict[Any, bytes] = {}

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        results = []
        for command in commands:
            _, key, value = command
            results.append(self.values.get(key))
            self.values[key] = value  # type: ignore[assignment]
        return results

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [at.time_ms if query == "time" else self.values.get(query) for query in queries]


class Subject:
    """As much of a subject as the witness asks for."""

    def machine(self) -> StateMachine:
        return Registers()

    def command(self, logged: Command) -> Command:
        return logged

    def markers(self, logged: Command) -> Iterable[Hashable]:
        return (logged[0],)

    def told(self, result: Any) -> Any:
        return result

    def digest(self, machine: Any) -> object:
        return dict(machine.values)


class Story:
    """A hand-made history. What a call returns is told by the test, true or not."""

    def __init__(self) -> None:
        self.record = Record()
        self.history = History(self.record, Subject())  # type: ignore[arg-type]
        self.machine = self.history.observed(Registers(), "replica 1", 1)
        self.index = 0

    def write(self, value: bytes, key: bytes = b"k", after: Call | None = None, client: int = 1) -> Call:
        """A write is sent; its value is its marker."""
        call = Call(client, 1, (value, key, value), self.record.tick(), 0.0, None, value, after)
        return self.record.begin(call)

    def read(self, key: bytes = b"k", after: Call | None = None, client: int = 2) -> Call:
        """A read is sent."""
        return self.record.begin(Call(client, 1, ("read", key), self.record.tick(), 0.0, key, None, after))

    def apply(self, *calls: Call, machine: StateMachine | None = None) -> None:
        """Some writes are applied together."""
        self.index += 1
        commands = tuple(call.request for call in calls)
        (machine or self.machine).apply(commands, Position(Index(self.index), self.index))

    def end(self, call: Call, result: Any, outcome: Outcome = "ok", ahead_ms: int = 0) -> None:
        """Its client is told: of a read, after the machine was asked, so long after the last entry."""
        if call.is_read and outcome == "ok":
            self.machine.query((call.query,), Position(Index(self.index), self.index + ahead_ms))
        self.record.end(call, outcome, result, 0.0)

    def written(self, value: bytes, before: bytes | None = None, key: bytes = b"k") -> Call:
        """A write from its beginning to its end."""
        call = self.write(value, key)
        self.apply(call)
        self.end(call, before)
        return call

    @property
    def problem(self) -> str:
        """What the witness objects to; empty if to nothing."""
        problems = self.history.violations()
        assert len(problems) <= 1, problems
        return problems[0] if problems else ""


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.mark.parametrize(
    ("told", "problem"), [(b"2", ""), (b"1", "not linearizable: client 2"), (None, "not linearizable")]
)
def test_a_read_sees_what_had_ended_when_it_began(story: Story, told: Any, problem: str) -> None:
    story.written(b"1")
    story.written(b"2", before=b"1")
    story.end(story.read(), told)
    assert story.problem.startswith(problem) if problem else not story.problem


@pytest.mark.parametrize(("told", "ok"), [(None, True), (b"1", True), (b"2", False)])
def test_a_read_may_see_what_goes_on_meanwhile_and_nothing_that_began_later(story: Story, told: Any, ok: bool) -> None:
    read, write = story.read(), story.write(b"1")
    story.apply(write)
    story.end(read, told)
    story.end(write, None)
    story.written(b"2", before=b"1")
    assert (not story.problem) == ok


@pytest.mark.parametrize(("later", "ok"), [(b"2", True), (b"1", False)])
def test_a_read_is_no_older_than_one_that_had_ended(story: Story, later: bytes, ok: bool) -> None:
    story.written(b"1")
    write = story.write(b"2")  # goes on all the while
    story.apply(write)
    story.end(story.read(), b"2")
    story.end(story.read(client=3), later)
    story.end(write, b"1")
    assert (not story.problem) == ok


@pytest.mark.parametrize(("outcome", "ok"), [("ok", False), ("unknown", True), ("failed", True)])
def test_an_acknowledged_update_was_applied(story: Story, outcome: Outcome, ok: bool) -> None:
    story.end(story.write(b"1"), None, outcome)
    assert (not story.problem) == ok
    assert ok or "acknowledged, but never applied: client 1" in story.problem


@pytest.mark.parametrize(("outcome", "ok"), [("ok", True), ("unknown", True), ("failed", False)])
def test_what_was_said_not_to_be_executed_was_not(story: Story, outcome: Outcome, ok: bool) -> None:
    write = story.write(b"1")
    story.apply(write)
    story.end(write, None, outcome)
    assert (not story.problem) == ok
    assert ok or "said not to be executed" in story.problem


def test_nothing_is_applied_twice(story: Story) -> None:
    write = story.write(b"1")
    story.apply(write)
    with pytest.raises(Divergence, match=r"applied twice, at index 1 .* and at index 2"):
        story.apply(write)


@pytest.mark.parametrize("in_order", [True, False])
def test_updates_stand_in_the_order_of_real_time(story: Story, in_order: bool) -> None:
    one = story.write(b"1")
    if in_order:
        story.apply(one)
    story.end(one, None if in_order else b"2")
    two = story.write(b"2")
    story.apply(two)
    story.end(two, b"1" if in_order else None)
    if not in_order:
        story.apply(one)
    assert (not story.problem) == in_order
    assert in_order or "had ended when" in story.problem


@pytest.mark.parametrize("in_order", [True, False])
def test_updates_of_a_pipeline_stand_in_its_order(story: Story, in_order: bool) -> None:
    one = story.write(b"1")
    two = story.write(b"2", after=one)
    for call in (one, two) if in_order else (two, one):
        story.apply(call)
    story.end(one, None if in_order else b"2")
    story.end(two, b"1" if in_order else None)
    assert (not story.problem) == in_order
    assert in_order or "went before it on its connection" in story.problem


@pytest.mark.parametrize(("told", "ok"), [(b"1", True), (None, False), (b"2", False)])
def test_a_read_stands_at_its_place_in_its_pipeline(story: Story, told: Any, ok: bool) -> None:
    one = story.write(b"1")
    read = story.read(after=one, client=1)
    two = story.write(b"2", after=read)
    story.apply(one, two)
    story.end(one, None)
    story.end(read, told)
    story.end(two, b"1")
    assert (not story.problem) == ok


@pytest.mark.parametrize("in_order", [True, False])
def test_reads_of_a_pipeline_stand_in_its_order(story: Story, in_order: bool) -> None:
    write = story.write(b"1")
    one = story.read()
    two = story.read(after=one)
    story.apply(write)
    story.end(one, None if in_order else b"1")
    story.end(two, b"1" if in_order else None)
    story.end(write, None)
    assert (not story.problem) == in_order


@pytest.mark.parametrize("outcome", ["failed", "unknown"])
@pytest.mark.parametrize("in_order", [True, False])
def test_updates_stand_in_order_past_a_call_that_came_to_nothing(
    story: Story, in_order: bool, outcome: Outcome
) -> None:
    one = story.write(b"1")
    refused = story.read(after=one, client=1)
    two = story.write(b"2", after=refused)
    for call in (one, two) if in_order else (two, one):
        story.apply(call)
    story.end(one, None if in_order else b"2")
    story.end(refused, None, outcome)
    story.end(two, b"1" if in_order else None)
    assert (not story.problem) == in_order
    assert in_order or "went before it on its connection" in story.problem


@pytest.mark.parametrize(("told", "ok"), [(b"1", True), (None, False), (b"2", False)])
def test_a_read_keeps_its_place_past_calls_that_came_to_nothing(story: Story, told: Any, ok: bool) -> None:
    one = story.write(b"1")
    refused = story.read(after=one, client=1)
    read = story.read(after=refused, client=1)
    again = story.write(b"never", after=read)
    two = story.write(b"2", after=again)
    story.apply(one, two)
    for call, result, outcome in (
        (one, None, "ok"), (refused, None, "failed"), (read, told, "ok"), (again, None, "failed"), (two, b"1", "ok"),
    ):  # fmt: skip
        story.end(call, result, outcome)  # type: ignore[arg-type]
    assert (not story.problem) == ok


@pytest.mark.parametrize("in_order", [True, False])
def test_reads_stand_in_order_past_a_call_that_came_to_nothing(story: Story, in_order: bool) -> None:
    write = story.write(b"1")
    one = story.read()
    refused = story.write(b"never", after=one, client=2)
    two = story.read(after=refused)
    story.apply(write)
    story.end(one, None if in_order else b"1")
    story.end(refused, None, "failed")
    story.end(two, b"1" if in_order else None)
    story.end(write, None)
    assert (not story.problem) == in_order


@pytest.mark.parametrize("changed", [True, False])
def test_what_was_watched_has_not_changed_when_it_is_executed(story: Story, changed: bool) -> None:
    read = story.read()
    story.end(read, None)
    other = story.write(b"1", key=b"k" if changed else b"other")
    story.apply(other)
    story.end(other, None)
    call = story.write(b"2")
    call.watched = Watched(read.invoked, read.query, read)
    story.apply(call)
    story.end(call, b"1" if changed else None)
    assert (not story.problem) != changed
    assert not changed or "executed although what it watched had changed from None to b'1'" in story.problem


@pytest.mark.parametrize(("told", "ok"), [(b"1", True), (None, False)])
def test_a_client_is_told_what_its_update_did(story: Story, told: Any, ok: bool) -> None:
    story.written(b"1")
    story.written(b"2", before=told)
    assert (not story.problem) == ok
    assert ok or "told None, but it did b'1'" in story.problem


def test_a_read_whose_query_is_none_is_judged_like_any_other(story: Story) -> None:
    call = story.record.begin(Call(2, 1, "read", story.record.tick(), 0.0, None, None))
    story.end(call, b"what nobody wrote")
    assert story.problem.startswith("not linearizable")


@pytest.mark.parametrize(("told", "ok"), [(31, True), (1, False), (32, False)])
def test_an_answer_that_depends_on_time_is_judged_by_the_time_at_which_it_was_given(
    story: Story, told: int, ok: bool
) -> None:
    story.written(b"1")
    story.end(story.read("time"), told, ahead_ms=30)  # type: ignore[arg-type]
    story.written(b"2", before=b"1")
    story.end(story.read("time"), 7, ahead_ms=5)  # type: ignore[arg-type]
    assert (not story.problem) == ok
    assert ok or story.problem.startswith("not linearizable")


def test_an_answer_for_which_no_machine_was_asked_is_found(story: Story) -> None:
    story.written(b"1")
    story.end(story.read(), b"1")
    read, other = story.read(), story.read(b"other")
    story.end(other, None)  # asked for something else meanwhile
    story.record.end(read, "ok", b"1", 0.0)
    assert story.problem.startswith("answered with b'1', but its replica has not asked its machine: client 2")


def test_an_answer_is_given_neither_before_what_is_applied_nor_ahead_of_every_clock(story: Story) -> None:
    machine = story.history.observed(Registers(), "replica 2", 2, lambda: 50)
    machine.apply((), Position(Index(3), 30))
    for index, time_ms in ((3, 30), (4, 50)):
        machine.query((b"k",), Position(Index(index), time_ms))
    for index, time_ms in ((2, 30), (3, 29)):
        with pytest.raises(Divergence, match=r"replica 2 answers at .*, behind what it has applied: index 3 \(30 ms\)"):
            machine.query((b"k",), Position(Index(index), time_ms))
    with pytest.raises(Divergence, match=r"replica 2 answers at index 3 \(51 ms\), which is ahead of every clock"):
        machine.query((b"k",), Position(Index(3), 51))


def test_a_read_that_was_not_answered_may_have_seen_anything(story: Story) -> None:
    story.end(story.read(), None, "failed")
    story.end(story.read(), None, "unknown")
    story.read()
    assert not story.problem


# Between replicas


def second(story: Story) -> StateMachine:
    """Another replica, which has applied nothing yet."""
    return story.history.observed(Registers(), "replica 2", 2)


def test_replicas_that_apply_the_same_agree(story: Story) -> None:
    write = story.write(b"1")
    story.apply(write)
    second(story).apply((write.request,), Position(Index(1), 1))


@pytest.mark.parametrize(
    ("command", "index", "time_ms"),
    [((b"other", b"k", b"v"), 1, 1), ((b"1", b"k", b"1"), 2, 1), ((b"1", b"k", b"1"), 1, 2)],
)
def test_replicas_that_apply_something_else_or_elsewhere_do_not(
    story: Story, command: Any, index: int, time_ms: int
) -> None:
    story.apply(story.write(b"1"))
    with pytest.raises(Divergence, match=r"replica 2 applies .* another applied .* in its place"):
        second(story).apply((command,), Position(Index(index), time_ms))


def test_a_replica_with_another_result_is_found(story: Story) -> None:
    write = story.write(b"1")
    story.apply(write)
    machine = second(story)
    machine.values[b"k"] = b"secret"  # type: ignore[attr-defined]
    with pytest.raises(Divergence, match=r"replica 2 applied .* with b'secret', others with None"):
        machine.apply((write.request,), Position(Index(1), 1))


def test_a_replica_with_another_state_is_found(story: Story) -> None:
    writes = [story.write(b"%d" % number) for number in range(9)]
    other = second(story)
    other.values[b"nobody looks"] = b"here"  # type: ignore[attr-defined]
    with pytest.raises(Divergence, match="the state of replica 2 at index 8 is not that of another"):
        for write in writes:
            story.apply(write)
            other.apply((write.request,), Position(Index(story.index), story.index))


def test_no_replica_goes_back(story: Story) -> None:
    story.apply(story.write(b"1"))
    story.apply(story.write(b"2"))
    with pytest.raises(Divergence, match="after index 2 and 2 ms"):
        story.machine.apply((), Position(Index(1), 1))
    with pytest.raises(Divergence, match="after index 2 and 2 ms"):
        story.machine.apply((), Position(Index(3), 1))


def test_a_machine_whose_results_depend_on_what_is_applied_together_is_found(story: Story) -> None:
    class Greedy(Registers):
        def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
            return [len(commands) for _ in super().apply(commands, at)]

    story.history._subject.machine = Greedy  # type: ignore[method-assign, assignment]
    story.machine = story.history.observed(Greedy(), "replica 1", 1)
    one, two = story.write(b"1"), story.write(b"2")
    story.apply(one, two)
    story.end(one, 2)
    story.end(two, 2)
    assert "applying one command after another" in story.problem


@pytest.mark.parametrize("told", [None, b"1"])
def test_a_read_may_come_before_what_nobody_knew_of_when_it_was_asked(story: Story, told: Any) -> None:
    write = story.write(b"1")
    read = story.read(after=write, client=1)
    story.end(write, None, "unknown")  # at its deadline; it takes effect later
    story.apply(write)
    story.end(read, told)
    assert not story.problem
