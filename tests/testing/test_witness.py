"""A given order is followed in linear time, and judged as by a judge that tries every place of every read."""

import doctest
import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock.testing import witness
from oarlock.testing.models import ILLEGAL, MODELS
from oarlock.testing.operation import NEVER, Operation
from oarlock.testing.witness import TRANSACTION, Witnessed, contradiction
from tests.testing.random_histories import respects_time

KV = MODELS["kv"]


def write(value: str, invoked: float, completed: float = NEVER, key: str = "k") -> Operation:
    return Operation(key, "write", value, None, invoked, completed)


def read(value: str | None, invoked: float, completed: float, key: str = "k") -> Operation:
    return Operation(key, "read", None, value, invoked, completed)


def both(
    function: str, arguments: Sequence[Any], results: Sequence[Any], invoked: float, completed: float
) -> Operation:
    calls = tuple((key, function, argument) for key, argument in zip("xy", arguments, strict=True))
    return Operation(None, TRANSACTION, calls, tuple(results), invoked, completed)


def sentence(*history: Witnessed | Operation) -> str:
    found = contradiction([item if isinstance(item, Witnessed) else Witnessed(item) for item in history], KV)
    return "" if found is None else found.sentence


def test_the_documented_example() -> None:
    assert doctest.testmod(witness).failed == 0


def test_an_order_that_explains_everything() -> None:
    assert not sentence(
        Witnessed(write("1", 0, 9), 4), Witnessed(write("2", 1, 8), 2), read("2", 2, 3), read("1", 4, 5),
        Witnessed(write("lost", 0)), Witnessed(write("refused", 0, 1), executed=False),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("history", "saying"),
    [
        ([Witnessed(write("1", 0, 1))], "was acknowledged, and stands nowhere in the order"),
        ([Witnessed(write("1", 0, 1), 5, executed=False)], "was said not to have happened, and stands at position 5"),
        ([Witnessed(write("1", 0, 1), 2), Witnessed(write("2", 2, 3), 1)], "stands behind it, at position 2 after"),
        (
            [Witnessed(write("1", 5, 6), 1), Witnessed(write("2", 0, 9), 2), Witnessed(write("3", 0, 1), 3)],
            "write('3') by process 0 had completed before write('1') by process 0 was invoked",
        ),
        ([Witnessed(Operation("k", "increment", None, 2, 0, 1), 1)], "stands at position 1, where the answer is 1"),
        ([Witnessed(write("1", 0, 1), 1), read(None, 2, 3)], "fits nowhere: it comes after position 1, and up to"),
        ([Witnessed(write("1", 2, 3), 1), read("1", 0, 1)], "it comes at the beginning or later, and before position"),
        (
            [Witnessed(write("1", 0, 9), 1), read("1", 2, 3), read(None, 4, 5)],
            "read() -> nil by process 0 fits nowhere: it comes after position 1",
        ),
        (
            [Witnessed(write("1", 0, 1), 1), Witnessed(write("2", 0, 9), 2), Witnessed(write("3", 4, 9), 3),
             read("3", 2, 3)],
            "it comes after position 1, and before position 3",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_what(history: list[Witnessed | Operation], saying: str) -> None:
    assert saying in sentence(*history)


def test_reads_are_placed_in_the_order_of_completion_not_of_invocation() -> None:
    first, second = Witnessed(write("1", 0, 20), 1), Witnessed(write("2", 0, 20), 2)
    assert not sentence(first, second, read("2", 1, 10), read("1", 2, 3), read("1", 4, 5))
    assert sentence(first, second, read("1", 1, 10), read("2", 2, 3), read("1", 4, 5))


def test_a_transaction_is_seen_whole_or_not_at_all() -> None:
    moved = Witnessed(both("write", ["a", "b"], [None, None], 0, 9), 1)
    assert not sentence(moved, both("read", [None, None], ["a", "b"], 1, 2))
    assert not sentence(moved, both("read", [None, None], [None, None], 1, 2))
    assert "fits nowhere" in sentence(moved, both("read", [None, None], ["a", None], 1, 2))


def test_what_a_transaction_wrote_in_between_was_never_to_be_seen() -> None:
    twice = (("k", "write", "1"), ("k", "increment", None))
    transaction = Witnessed(Operation(None, TRANSACTION, twice, (None, 2), 0, 9), 1)
    assert not sentence(transaction, read("2", 1, 2))
    assert "fits nowhere" in sentence(transaction, read("1", 1, 2))


def test_a_result_within_a_transaction_is_judged() -> None:
    wrong = Operation(None, TRANSACTION, (("k", "write", "1"), ("k", "increment", None)), (None, 3), 0, 9)
    assert "where the answer is 2" in sentence(Witnessed(wrong, 7))


def test_two_operations_cannot_have_one_position() -> None:
    with pytest.raises(ValueError, match="position 1 is taken by"):
        sentence(Witnessed(write("1", 0, 9), 1), Witnessed(write("2", 0, 9), 1))


CALLS = st.one_of(
    st.tuples(st.sampled_from("xy"), st.just("write"), st.sampled_from("12")),
    st.tuples(st.sampled_from("xy"), st.just("increment"), st.none()),
    st.tuples(st.sampled_from("xy"), st.just("read"), st.none()),
    st.tuples(st.sampled_from("xy"), st.just("swap"), st.sampled_from("12")),
)


@st.composite
def witnessed(draw: st.DrawFn) -> list[Witnessed]:
    """A few operations that mostly took effect in the order of their positions, with mostly true answers."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    history: list[Witnessed] = []
    state: dict[Any, Any] = {}
    for position in range(draw(st.integers(1, 6))):
        calls = draw(st.lists(CALLS, min_size=1, max_size=2))
        results = []
        for key, function, argument in calls:
            result, state[key] = KV.functions[function].run(state.get(key), Operation(key, function, argument, None, 0))
            results.append(result if rng.random() < 0.9 else rng.choice([None, "1", "2", 1]))
        began = position + rng.choice([0, -0.5, -1.5, -2.5, rng.choice([0, 4])])
        ended = max(began, position + rng.choice([0.1, 0.6, 1.6, 2.6])) if rng.random() < 0.85 else NEVER
        operation = Operation(None, TRANSACTION, tuple(calls), tuple(results), began, ended)
        reads = all(function == "read" for _, function, _ in calls)
        at = None if (reads and rng.random() < 0.9) else position
        if rng.random() < 0.03:
            at = None
        history.append(Witnessed(operation, at, executed=rng.random() < 0.97))
    return draw(st.permutations(history))


def is_explained(history: Sequence[Witnessed]) -> bool:
    kept = []
    for item in history:
        reads = all(function == "read" for _, function, _ in item.operation.argument)
        if item.executed and item.position is None and not reads and item.operation.known:
            return False
        if not item.executed and item.position is not None:
            return False
        if item.executed and (item.position is not None or (reads and item.operation.known)):
            kept.append(item)
    return any(_explains(order) for order in permutations(kept))


def _explains(order: Sequence[Witnessed]) -> bool:
    positions = [item.position for item in order if item.position is not None]
    if positions != sorted(positions) or not respects_time([item.operation for item in order]):
        return False
    state: dict[Any, Any] = {}
    for item in order:
        operation = item.operation
        for (key, function, argument), result in zip(operation.argument, operation.result, strict=True):
            part = Operation(key, function, argument, result, operation.invoked, operation.completed)
            after = KV.step(state.get(key), KV.normal(part))
            if after is ILLEGAL and part.known:
                return False
            state[key] = state.get(key) if after is ILLEGAL else after
    return True


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(witnessed())
def test_the_verdict_is_that_of_a_judge_that_tries_every_order(history: list[Witnessed]) -> None:
    assert (contradiction(history, KV) is None) is is_explained(history)


def test_a_long_log_of_transactions_is_followed_in_linear_time() -> None:
    """Blind search would not end here: hundreds of transactions over a few keys at once, all the time."""
    rng = random.Random(1)
    history, state = [], dict.fromkeys("xyz", None)
    for position in range(20_000):
        began, ended = position - rng.uniform(0, 200), position + rng.uniform(0, 200)
        if rng.random() < 0.5:
            results = tuple(state.values())
            calls = tuple((key, "read", None) for key in state)
            history.append(Witnessed(Operation(None, TRANSACTION, calls, results, began, ended)))
        else:
            state = {key: f"{position}{key}" for key in state}
            calls = tuple((key, "write", value) for key, value in state.items())
            history.append(Witnessed(Operation(None, TRANSACTION, calls, (None,) * 3, began, ended), position))
    assert contradiction(history, KV) is None
