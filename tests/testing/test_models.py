"""What each model's functions do and return, and that what they give away of a state holds at every state."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock.testing.functions import UNTOLD
from oarlock.testing.models import ILLEGAL, MODELS, InvalidOperation
from oarlock.testing.operation import NEVER, Operation
from tests.testing.random_histories import CALLS, histories


def step(model: str, state: Any, function: str, argument: Any = None, result: Any = None, process: Any = 0) -> Any:
    operation = Operation("k", function, argument, result, 0, 1, process)
    return MODELS[model].step(state, MODELS[model].normal(operation))


@pytest.mark.parametrize(
    ("model", "before", "function", "argument", "result", "after"),
    [
        ("register", 1, "read", None, 1, 1),
        ("register", 1, "read", None, 2, ILLEGAL),
        ("register", 1, "read", None, None, ILLEGAL),
        ("register", 1, "write", 2, "an echo", 2),
        ("cas-register", 1, "cas", (1, 2), True, 2),
        ("cas-register", 1, "cas", (1, 2), None, 2),
        ("cas-register", 1, "cas", (1, 2), (1, 2), 2),
        ("cas-register", 1, "cas", (1, 2), False, ILLEGAL),
        ("cas-register", 3, "cas", (1, 2), False, 3),
        ("cas-register", 3, "cas", (1, 2), 0, 3),
        ("cas-register", 3, "cas", (1, 2), True, ILLEGAL),
        ("cas-register", 1, "swap", 2, 1, 2),
        ("cas-register", 1, "swap", 2, None, ILLEGAL),
        ("append", "a", "append", "b", None, "ab"),
        ("append", "a", "append", "b", "b", "ab"),
        ("append", "a", "append", "b", 2, "ab"),
        ("append", "a", "append", "b", 3, ILLEGAL),
        ("append", "a", "get", None, "a", "a"),
        ("counter", 4, "add", 3, None, 7),
        ("counter", 4, "add", 3, 7, 7),
        ("counter", 4, "add", 3, 3, ILLEGAL),
        ("counter", 4, "increment", None, 5, 5),
        ("counter", 4, "read", None, 4, 4),
        ("set", frozenset("a"), "add", "b", None, frozenset("ab")),
        ("set", frozenset("a"), "add", "b", True, frozenset("ab")),
        ("set", frozenset("a"), "add", "a", True, ILLEGAL),
        ("set", frozenset("a"), "remove", "a", 1, frozenset()),
        ("set", frozenset("a"), "remove", "b", 1, ILLEGAL),
        ("set", frozenset("a"), "contains", "a", True, frozenset("a")),
        ("set", frozenset("a"), "contains", "a", False, ILLEGAL),
        ("set", frozenset("ab"), "read", None, ("b", "a"), frozenset("ab")),
        ("set", frozenset("ab"), "read", None, ("b",), ILLEGAL),
        ("set", frozenset("ab"), "read", None, ("b", "a", "b"), ILLEGAL),
        ("queue", (1, 2), "dequeue", None, 1, (2,)),
        ("queue", (1, 2), "dequeue", None, 2, ILLEGAL),
        ("queue", (1, 2), "dequeue", None, None, ILLEGAL),
        ("queue", (), "dequeue", None, None, ()),
        ("queue", (1,), "enqueue", 2, None, (1, 2)),
        ("lock", None, "acquire", None, None, 0),
        ("lock", 1, "acquire", None, None, ILLEGAL),
        ("lock", 0, "acquire", None, None, ILLEGAL),
        ("lock", 0, "release", None, None, None),
        ("lock", 1, "release", None, None, ILLEGAL),
        ("lock", None, "release", None, None, ILLEGAL),
        ("lock", None, "acquire", None, True, 0),
        ("lock", None, "acquire", None, False, ILLEGAL),
        ("lock", 1, "acquire", None, False, 1),
        ("lock", 1, "acquire", None, True, ILLEGAL),
        ("lock", 0, "acquire", None, 0, 0),
        ("lock", 0, "release", None, False, ILLEGAL),
        ("lock", 1, "release", None, False, 1),
        ("lock", None, "release", None, 0, None),
        ("kv", None, "increment", None, 1, "1"),
        ("kv", "9", "add", 5, 14, "14"),
        ("kv", "9", "add", -10, -1, "-1"),
        ("kv", "x", "add", 5, None, ILLEGAL),
        ("kv", "09", "add", 5, None, ILLEGAL),
        ("kv", "9" * 5_000, "increment", None, None, ILLEGAL),
        ("kv", None, "increment", None, True, ILLEGAL),
        ("kv", None, "append", "x", 1, "x"),
        ("kv", "x", "append", "x", True, "xx"),
        ("kv", "1", "read", None, 1, "1"),
        ("kv", "1", "read", None, b"1", "1"),
        ("kv", "1", "write", b"2", "OK", "2"),
        ("kv", "1", "cas", (1, b"2"), 1, "2"),
        ("kv", None, "cas", (None, "2"), True, "2"),
        ("kv", "1", "delete", None, 1, None),
        ("kv", None, "delete", None, 1, ILLEGAL),
        ("kv", None, "delete", None, 0, None),
        ("kv", None, "delete", None, "", ILLEGAL),
        ("kv", None, "delete", None, (), ILLEGAL),
        ("kv", "1", "getset", 2, "1", "2"),
    ],
)
def test_what_a_function_does(model: str, before: Any, function: str, argument: Any, result: Any, after: Any) -> None:
    assert step(model, before, function, argument, result) == after


def test_of_an_unknown_outcome_any_result_will_do() -> None:
    assert MODELS["cas-register"].step(1, Operation("k", "cas", (2, 3), True, 0, NEVER)) == 1
    assert MODELS["lock"].step(1, Operation("k", "acquire", None, None, 0, NEVER)) == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_has(name: str) -> None:
    model = MODELS[name]
    assert {function for function, _, _ in CALLS[name]} <= set(model.functions)
    with pytest.raises(InvalidOperation, match=f"the model {name} has no 'jump', only "):
        model.function(Operation("k", "jump", None, None, 0))


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_function_gives_away_holds_at_every_state(name: str, data: st.DataObject) -> None:
    """The search relies on it: one wrong hint, and a linearizable history is called illegal."""
    model = MODELS[name]
    operations = [model.normal(op) for op in data.draw(histories(model))]
    states = [model.initial]
    for operation in operations:
        outcome = model.functions[operation.function].run(data.draw(st.sampled_from(states)), operation)
        states.extend([] if outcome is None else [outcome[1]])
    for operation in operations:
        function = model.functions[operation.function]
        compared = function.compares(operation)
        for state in states:
            after = model.step(state, operation)
            if after is ILLEGAL:
                continue
            if function.is_pure(operation):
                assert after == state
            assert operation.known is False or function.wants(operation) in (UNTOLD, state)
            if after != state:
                assert function.makes(operation) in (UNTOLD, after)
            if compared is not None and state not in compared:
                assert all(model.step(other, operation) is not ILLEGAL for other in states if other not in compared)
    wild = [
        op for op in operations
        if not model.functions[op.function].is_pure(op) and model.functions[op.function].makes(op) is UNTOLD
    ]  # fmt: skip
    leads = model.reach(wild)
    for state in states:
        for operation in wild:
            after = model.step(state, operation)
            assert after is ILLEGAL or after == state or leads(state, after)
