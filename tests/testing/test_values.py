"""What JSON tells apart stays apart, and is written and shown as it was."""

import json
from typing import Any

import pytest

from oarlock.testing.history import write_history
from oarlock.testing.linearizability import check
from oarlock.testing.models import MODELS
from oarlock.testing.operation import describe
from tests.testing.test_history import event, operations


@pytest.mark.parametrize(
    ("written", "read", "equal"),
    [
        (1, True, False),
        (0, False, False),
        (True, True, True),
        ({"a": 1}, [["a", 1]], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([1], [True], False),
        ([1, [False]], [1, [False]], True),
        (1, 1.0, True),
        (None, [], False),
    ],
)
def test_values_are_equal_if_they_are_equal_in_json(written: Any, read: Any, equal: bool) -> None:
    events = event(1, "invoke", "write", written), event(1, "ok", "write"), event(1, "invoke", "read")
    history = operations(*events, event(1, "ok", "read", read), model="register")
    assert check(history, MODELS["register"]).outcome == ("linearizable" if equal else "illegal")
    keys = operations(event(1, "invoke", "read", key=written), event(2, "invoke", "read", key=read), model="register")
    assert (keys[0].key == keys[1].key) is equal


def test_an_object_and_a_boolean_are_written_and_shown_as_they_were() -> None:
    value = {"b": [True, None], "a": {"c": False}}
    history = operations(event(1, "invoke", "write", value, [False]), model="register")
    assert [json.loads(line) for line in write_history(history)] == [
        {"process": 1, "type": "invoke", "f": "write", "key": [False], "value": value}
    ]
    assert describe(history[0]) == "write({'a': {'c': false}, 'b': [true, nil]}) -> ? by process 1"
