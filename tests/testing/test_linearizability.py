"""The checker gives every verdict of recorded histories, where they are at hand, and of small ones that always are."""

import os
import re
from pathlib import Path

import pytest

from oarlock.testing.linearizability import NEVER, Operation, first_illegal_key, is_linearizable, register, string

HISTORIES = os.environ.get("OARLOCK_HISTORIES", "")
"""A directory of recorded histories with known verdicts (those of the checker Porcupine)."""
JEPSEN_LINEARIZABLE = {2, 5, 7, 18, 25, 31, 38, 45, 48, 49}


def write(value: object, invoked: float, completed: float = NEVER) -> Operation:
    return Operation("k", "write", value, None, invoked, completed)


def read(value: object, invoked: float, completed: float) -> Operation:
    return Operation("k", "read", None, value, invoked, completed)


@pytest.mark.parametrize(
    ("operations", "verdict"),
    [
        ([], True),
        ([write(1, 0, 1), read(1, 2, 3)], True),
        ([write(1, 0, 1), read(None, 2, 3)], False),
        ([write(1, 0, 9), read(None, 2, 3), read(1, 4, 5)], True),
        ([write(1, 0, 9), read(1, 2, 3), read(None, 4, 5)], False),
        ([write(1, 0), read(None, 2, 3), read(1, 4, 5)], True),
        ([write(1, 0), read(None, 2, 3)], True),
        ([write(1, 0), read(1, 2, 3), read(None, 4, 5)], False),
        ([write(1, 0, 1), write(2, 2), write(3, 2, 3), read(2, 4, 5), read(3, 6, 7)], False),
        ([write(1, 0, 1), Operation("k", "swap", 2, 1, 2, 3), read(2, 4, 5)], True),
        ([write(1, 0, 1), Operation("k", "swap", 2, None, 2, 3)], False),
        ([write(1, 0, 1), Operation("k", "swap", 2, None, 2), read(2, 4, 5)], True),
        ([Operation("k", "cas", (None, 1), True, 0, 1), Operation("k", "cas", (None, 2), True, 2, 3)], False),
        ([Operation("k", "cas", (None, 1), True, 0, 1), Operation("k", "cas", (None, 2), False, 2, 3)], True),
    ],
)
def test_small_histories_of_a_register(operations: list[Operation], verdict: bool) -> None:
    assert is_linearizable(operations, register) is verdict


def test_the_key_that_is_illegal_is_named() -> None:
    good = [Operation("good", "write", 1, None, 0, 1)]
    bad = [Operation("bad", "write", 1, None, 0, 1), Operation("bad", "read", None, 2, 2, 3)]
    assert first_illegal_key(good + bad, register) == "bad"
    assert first_illegal_key(good, register) is None


@pytest.mark.skipif(not HISTORIES, reason="set OARLOCK_HISTORIES to a directory of recorded histories")
def test_every_verdict_of_the_recorded_registers() -> None:
    logs = sorted(Path(HISTORIES, "jepsen").glob("etcd_*.log"))
    assert logs
    for log in logs:
        number = int(log.stem.removeprefix("etcd_"))
        assert is_linearizable(_jepsen(log), register) is (number in JEPSEN_LINEARIZABLE), log


@pytest.mark.skipif(not HISTORIES, reason="set OARLOCK_HISTORIES to a directory of recorded histories")
def test_every_verdict_of_the_recorded_strings() -> None:
    for log in sorted(Path(HISTORIES, "kv").glob("*.txt")):
        assert (first_illegal_key(_kv(log), string, "") is None) is log.stem.endswith("-ok"), log


def _jepsen(log: Path) -> list[Operation]:
    begun: dict[str, tuple[str, object, float]] = {}
    operations = []
    for at, line in enumerate(log.read_text().splitlines()):
        match = re.search(r"jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)$", line)
        if match is None:
            continue
        process, kind, function, text = match.groups()
        values = [None if word == "nil" else word for word in text.strip("[]").split()]
        value: object = tuple(values) if function == "cas" else values[0]
        if kind == "invoke":
            begun[process] = (function, value, at)
            continue
        function, argument, invoked = begun.pop(process)
        if kind == "info":
            operations.append(Operation("k", function, argument, None, invoked))
        elif function == "cas":
            operations.append(Operation("k", function, argument, kind == "ok", invoked, at))
        elif kind == "ok":
            operations.append(Operation("k", function, argument, value, invoked, at))
    for function, argument, invoked in begun.values():
        operations.append(Operation("k", function, argument, None, invoked))
    return operations


def _kv(log: Path) -> list[Operation]:
    begun: dict[str, tuple[str, str, str, float]] = {}
    operations = []
    for at, line in enumerate(log.read_text().splitlines()):
        match = re.match(r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*)", :value (.*)\}', line)
        assert match is not None, line
        process, kind, function, key, value = match.groups()
        if kind == "invoke":
            begun[process] = (function, key, value.strip('"'), at)
        else:
            function, key, argument, invoked = begun.pop(process)
            operations.append(Operation(key, function, argument, value.strip('"'), invoked, at))
    return operations
