"""History files: what they mean, what is refused, and that what is written is read back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock.testing.history import BadHistory, read_history, write_history
from oarlock.testing.models import MODELS
from oarlock.testing.operation import NEVER, Operation, describe
from oarlock.testing.values import DEEPEST, Object


def event(process: int | str, type: str, f: str, value: Any = None, key: Any = None) -> bytes:
    return json.dumps({"process": process, "type": type, "f": f, "key": key, "value": value}).encode()


def operations(*events: bytes, model: str = "kv") -> list[Operation]:
    return read_history(events, MODELS[model])


def test_a_result_stands_on_the_ok_and_times_are_line_numbers() -> None:
    assert operations(
        event(1, "invoke", "read", key="k"), event("two", "invoke", "write", 5, "k"), event(1, "ok", "read", 7), b"\n",
        event("two", "ok", "write"),
    ) == [Operation("k", "read", None, 7, 1, 3, 1), Operation("k", "write", 5, None, 2, 5, "two")]  # fmt: skip


def test_what_failed_did_not_happen_and_what_nobody_knows_stays_open() -> None:
    assert operations(
        event(1, "invoke", "write", 1), event(1, "fail", "write", 1), event(2, "invoke", "write", 2),
        event(2, "info", "write", 2), event(3, "invoke", "write", 3),
    ) == [Operation(None, "write", 2, None, 3, NEVER, 2), Operation(None, "write", 3, None, 5, NEVER, 3)]  # fmt: skip


def test_a_process_may_go_on_after_an_unknown_outcome() -> None:
    events = event(1, "invoke", "write", 1), event(1, "info", "write"), event(1, "invoke", "read"), event(1, "ok", "")
    assert [(op.function, op.completed) for op in operations(*events)] == [("write", NEVER), ("read", 4)]


def test_a_remark_of_a_process_that_does_nothing_is_ignored() -> None:
    assert operations(event("nemesis", "info", "partition")) == []


def test_lists_become_tuples_and_objects_something_of_their_own() -> None:
    (cas,) = operations(event(1, "invoke", "cas", [[1], {"b": 2, "a": [3]}]))
    assert cas.argument == ((1,), Object((("a", (3,)), ("b", 2))))
    assert hash(cas.argument)


@pytest.mark.parametrize(
    ("events", "saying"),
    [
        ([b"{"], "line 1: "),
        ([b"[]"], "line 1: Expected `object`"),
        ([b"\xff"], "line 1: "),
        ([b'{"process": 1, "type": "invoke", "f": "read", "value": "\xff"}'], "line 1: "),
        ([b"", event(1, "invoke", "read")], "line 1: "),
        ([event(1, "begin", "read")], "line 1: Invalid enum value 'begin'"),
        ([b'{"type": "invoke", "f": "read"}'], "line 1: Object missing required field `process`"),
        ([b"  ", event(1, "ok", "read")], "line 2: process 1 has invoked nothing that could be 'ok'"),
        ([event(1, "invoke", "read"), event(1, "invoke", "read")], "line 2: process 1 invokes 'read' while its call"),
        ([event(1, "invoke", "read"), event(1, "ok", "write")], "line 2: process 1 completes 'write', but invoked"),
        ([event(1, "invoke", "pop")], "line 1: the model kv has no 'pop', only read, get"),
        ([event(1, "invoke", "cas", 5)], "line 1: cas takes a list of two, \\[old, new\\], not 5"),
        ([event(1, "invoke", "add", "x")], "line 1: what is added is an integer, not 'x'"),
        ([event(1, "invoke", "append", 3)], "line 1: append takes a string, not 3"),
        ([event(1, "invoke", "add", 1.0)], "line 1: what is added is an integer, not 1.0"),
        ([event(1, "invoke", "increment", True)], "line 1: what is added is an integer, not true"),
        ([event(1, "invoke", "read", key=1), event(1, "ok", "read", key=True)], "line 2: .* of true, but invoked .* 1"),
        ([event(1, "invoke", "read", key="a"), event(1, "info", "read", key="b")], "line 2: .* of 'b', but invoked"),
        ([event(1, "invoke", "delete"), event(1, "ok", "delete", "")], "line 2: what it returns is true or false"),
        ([event(1, "invoke", "delete"), event(1, "ok", "delete", [])], "line 2: what it returns is true or false"),
        ([event(1, "invoke", "cas", [1, 2]), event(1, "ok", "cas", [])], "line 2: what it returns is true or false"),
        ([], "there is nothing in it"),
        ([b"\n", b"  "], "there is nothing in it"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(events: list[bytes], saying: str) -> None:
    with pytest.raises(BadHistory, match=saying):
        operations(*events)


def test_a_queue_takes_no_null_which_is_what_it_answers_when_it_is_empty() -> None:
    with pytest.raises(BadHistory, match="line 1: what is enqueued is a value that no empty queue returns, not nil"):
        operations(event(1, "invoke", "enqueue"), model="queue")


def test_what_came_of_it_may_name_the_key_again() -> None:
    (again,) = operations(event(1, "invoke", "read", key={"a": 1}), event(1, "ok", "read", 1, {"a": 1}))
    assert again.key == Object((("a", 1),))


@pytest.mark.parametrize(
    ("model", "function", "argument", "result"),
    [
        ("cas-register", "cas", [1, 2], False),
        ("kv", "delete", None, True),
        ("set", "add", True, True),
        ("set", "contains", 1, False),
        ("lock", "acquire", None, False),
    ],
)
def test_a_result_that_says_yes_or_no_is_pythons(model: str, function: str, argument: Any, result: bool) -> None:
    (told,) = operations(event(1, "invoke", function, argument), event(1, "ok", function, result), model=model)
    assert told.result is result


def test_bytes_are_written_as_text_and_an_unknown_outcome_before_the_next_call() -> None:
    written = [json.loads(line) for line in write_history([
        Operation(b"k", "write", b"1", None, 0.5, NEVER, 1), Operation(b"k", "read", None, b"1", 2.0, 3.0, 1),
    ])]  # fmt: skip
    assert [(line["type"], line.get("key"), line.get("value")) for line in written] == [
        ("invoke", "k", "1"), ("info", None, None), ("invoke", "k", None), ("ok", None, "1"),
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [DEEPEST + 1, 5_000, 100_000])
@pytest.mark.parametrize("where", ["key", "value"])
def test_what_is_nested_too_deeply_is_refused_in_words(depth: int, where: str) -> None:
    nested = b"[" * depth + b"]" * depth
    line = b'{"process": 1, "type": "invoke", "f": "write", "%s": %s}' % (where.encode(), nested)
    with pytest.raises(BadHistory, match="line 1: it is nested too deeply"):
        operations(line)


def test_what_is_nested_as_deeply_as_allowed_is_told_in_words() -> None:
    nested = b"[" * DEEPEST + b"]" * DEEPEST
    line = b'{"process": 1, "type": "invoke", "f": "write", "value": %s}' % nested
    (operation,) = operations(line)
    assert describe(operation).startswith("write([[[")


def test_a_process_that_does_two_things_at_a_time_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="process 0 does two things at a time"):
        list(write_history([Operation("k", "read", None, 1, 0, 5), Operation("k", "read", None, 1, 1, 2)]))


def test_a_process_may_begin_in_the_moment_in_which_it_ended() -> None:
    there_and_back = operations(*write_history([Operation("k", "read", None, n, n, n + 1) for n in range(3)]))
    assert [(op.result, op.invoked, op.completed) for op in there_and_back] == [(0, 1, 2), (1, 3, 4), (2, 5, 6)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.booleans()), min_size=1, max_size=12)
)
def test_what_is_written_is_read_back(calls: list[tuple[int, int, int, bool]]) -> None:
    clock = dict.fromkeys(range(4), 0)
    history = []
    for number, (process, pause, took, known) in enumerate(calls):
        began = clock[process] + pause
        clock[process] = began + took
        result = number if known else None
        history.append(Operation("k", "read", None, result, began, began + took if known else NEVER, process))
    history.sort(key=lambda op: op.invoked)
    back = operations(*write_history(history))
    assert [(op.process, op.result, op.known) for op in back] == [(op.process, op.result, op.known) for op in history]
    for one, one_back in zip(history, back, strict=True):
        for other, other_back in zip(history, back, strict=True):
            assert (one.completed < other.invoked) <= (one_back.completed < other_back.invoked), "no order is lost"
            assert (one_back.completed < other_back.invoked) <= (one.completed <= other.invoked), "and hardly any won"
