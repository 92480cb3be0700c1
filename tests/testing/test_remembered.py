"""What a search remembers does not grow with the square of the history, and changes no verdict."""

import tracemalloc
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock.testing import remembered
from oarlock.testing.linearizability import Operation, check
from oarlock.testing.models import MODELS
from oarlock.testing.remembered import Configuration, InVain
from tests.testing.random_histories import histories, is_explained


def growing(model: str, count: int, clients: int) -> list[Operation]:
    """So many clients let one object grow all the time, and then one looks at it."""
    function = {"set": "add", "append": "append", "queue": "enqueue"}[model]
    values: Sequence[Any] = [f"{n:032}" for n in range(count)] if model == "append" else range(count)
    grown = [Operation("k", function, value, None, n, n + clients - 0.5, n % clients) for n, value in enumerate(values)]
    at = count + clients
    if model == "queue":
        return [*grown, Operation("k", "dequeue", None, values[0], at, at + 1)]
    seen = "".join(values) if model == "append" else frozenset(values)
    return [*grown, Operation("k", "read", None, seen, at, at + 1)]


def spoilt(history: list[Operation]) -> list[Operation]:
    last = history[-1]
    return [*history, Operation("k", last.function, None, "never", last.completed + 1, last.completed + 2)]


@pytest.mark.parametrize(
    ("model", "clients", "legal"),
    [(model, clients, True) for model in ("set", "append", "queue") for clients in (1, 5)] + [("append", 1, False)],
)
def test_memory_does_not_grow_with_the_square_of_a_history(model: str, clients: int, legal: bool) -> None:
    """All states at once are 12 MB or more here."""
    history = growing(model, 2_000 if model == "queue" else 1_000, clients)
    if not legal:
        history = spoilt(history)
    with patch.object(remembered, "HELD_BYTES", 1 << 18):
        tracemalloc.start()
        found = check(history, MODELS[model])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found.outcome == ("linearizable" if legal else "illegal")
    assert len(found.order) == (0 if legal else len(history) - 1)
    assert peak < 4 << 20, f"{peak:,}"


@pytest.mark.parametrize("name", ["set", "queue", "append", "kv"])
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_neither_fingerprints_nor_forgotten_states_change_a_verdict(name: str, data: st.DataObject) -> None:
    operations = data.draw(histories(MODELS[name]))
    with patch.object(remembered, "HELD_BYTES", 0), patch.object(remembered, "SMALL", 0):
        found = check(operations, MODELS[name])
    assert (found.outcome == "linearizable") is is_explained(operations, MODELS[name])


def test_a_search_that_turns_back_far_makes_the_states_anew() -> None:
    """It is the second value of the queue that should have come first, and that turns out at the end."""
    enqueued = [Operation("k", "enqueue", n, None, 0, 1, n) for n in range(2)]
    enqueued += [Operation("k", "enqueue", n, None, 2 * n, 2 * n + 1, n % 2) for n in range(2, 500)]
    dequeued = [
        Operation("k", "dequeue", None, n, 2_000 + 2 * at, 2_001 + 2 * at)
        for at, n in enumerate((1, 0, *range(2, 500)))
    ]
    outright = check([*enqueued, *dequeued], MODELS["queue"])
    with patch.object(remembered, "HELD_BYTES", 10_000):
        thinned = check([*enqueued, *dequeued], MODELS["queue"])
    assert outright.outcome == thinned.outcome == "linearizable"
    assert outright.steps < thinned.steps, "what is made anew is work, and counts"


@pytest.mark.parametrize(
    ("state", "another"),
    [
        (frozenset(range(100)), frozenset(range(1, 101))),
        (tuple(range(100)), (*range(98), 99, 98)),
        ("a" * 99 + "\udc80", "a" * 99 + "\udc81"),
        ("a" * 100, b"a" * 100),
    ],
)
def test_large_states_are_told_apart_by_their_fingerprints(state: Any, another: Any) -> None:
    in_vain = InVain(grows=True)
    in_vain.add(Configuration(5, 2, 1, state))
    assert Configuration(5, 2, 1, type(state)(list(state)) if not isinstance(state, str) else state) in in_vain
    assert Configuration(5, 2, 1, another) not in in_vain
    assert Configuration(5, 4, 1, state) not in in_vain


def test_more_than_there_is_room_for_is_no_verdict() -> None:
    enqueued = [Operation("k", "enqueue", n, None, 0, 1, n) for n in range(6)]
    history = [*enqueued, *[Operation("k", "dequeue", None, n, 2 + n, 2.5 + n) for n in (*range(5), -1)]]
    with patch.object(remembered, "MOST_BYTES", 100 * remembered.ENTRY_BYTES):
        found = check(history, MODELS["queue"])
    assert (found.outcome, found.key) == ("undecided", "k")
    assert "is not judged within" in found.sentence and "of memory" in found.sentence
    assert check(history, MODELS["queue"]).outcome == "illegal"
