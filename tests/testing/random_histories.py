"""Small random histories of every model, and a judge that tries every order."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import msgspec
from hypothesis import strategies as st

from oarlock.testing.models import ILLEGAL, Model
from oarlock.testing.operation import NEVER, Operation

VALUES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(-1, 3)
TEXTS = st.text("ab", max_size=3)
NIL = st.none()
FLAG = st.booleans()
TOLD = st.one_of(NIL, FLAG)
PAIR = st.tuples(st.one_of(NIL, VALUES), VALUES)

CALLS: dict[str, list[tuple[str, st.SearchStrategy[Any], st.SearchStrategy[Any]]]] = {
    "register": [("read", NIL, st.one_of(NIL, VALUES)), ("write", VALUES, NIL)],
    "cas-register": [
        ("read", NIL, st.one_of(NIL, VALUES)),
        ("write", VALUES, NIL),
        ("cas", PAIR, FLAG),
        ("swap", VALUES, st.one_of(NIL, VALUES)),
    ],
    "append": [("read", NIL, TEXTS), ("append", st.sampled_from(["a", "b"]), NIL), ("write", TEXTS, NIL)],
    "counter": [
        ("read", NIL, NUMBERS),
        ("add", st.sampled_from([1, 2]), st.one_of(NIL, NUMBERS)),
        ("increment", NIL, st.one_of(NIL, NUMBERS)),
        ("add", st.sampled_from([-1, 1]), NIL),
    ],
    "set": [
        ("read", NIL, st.frozensets(VALUES)),
        ("add", VALUES, TOLD),
        ("remove", VALUES, TOLD),
        ("contains", VALUES, FLAG),
    ],
    "queue": [("enqueue", VALUES, NIL), ("dequeue", NIL, st.one_of(NIL, VALUES))],
    "lock": [("acquire", NIL, TOLD), ("release", NIL, TOLD)],
    "kv": [
        ("read", NIL, st.sampled_from([None, "1", "2", "11", "12"])),
        ("write", st.sampled_from([1, "2", b"1"]), NIL),
        ("delete", NIL, st.one_of(TOLD, st.just(""))),
        ("cas", st.tuples(st.sampled_from([None, "1"]), st.sampled_from(["1", "2"])), FLAG),
        ("append", st.just("1"), st.one_of(NIL, st.integers(1, 3))),
        ("increment", NIL, st.one_of(NIL, FLAG, st.integers(1, 3))),
        ("add", st.sampled_from([1, 10]), st.one_of(NIL, st.sampled_from([1, 2, 11, 12]))),
        ("swap", st.sampled_from(["1", "2"]), st.sampled_from([None, "1", "2"])),
    ],
}


@st.composite
def histories(draw: st.DrawFn, model: Model, most: int = 6) -> list[Operation]:
    """Operations on one object with a random subset of the model's functions.

    Half of the time the results are those of a single copy that executed them in some order within their times, so that
    about half of the histories are linearizable.
    """
    functions = draw(st.lists(st.sampled_from(CALLS[model.name]), min_size=1, max_size=4))
    operations = []
    for _ in range(draw(st.integers(0, most))):
        name, arguments, results = draw(st.sampled_from(functions))
        invoked = draw(st.integers(0, 8))
        completed = draw(st.one_of(st.just(NEVER), st.integers(0, 5).map(lambda length, at=invoked: at + length)))
        process = draw(st.integers(0, 2))
        operations.append(Operation("k", name, draw(arguments), draw(results), invoked, completed, process))
    return _answered(draw, operations, model) if draw(FLAG) else operations


def _answered(draw: st.DrawFn, operations: list[Operation], model: Model) -> list[Operation]:
    """The same operations with the answers of a single copy, but for one now and then."""
    points = [
        (draw(st.floats(op.invoked, min(op.completed, 20), allow_nan=False)), number)
        for number, op in enumerate(operations)
    ]
    state, answered = model.initial, list(operations)
    for _, number in sorted(points):
        operation = operations[number]
        outcome = model.functions[operation.function].run(state, model.normal(operation))
        if outcome is None:  # it waits for ever
            answered[number] = msgspec.structs.replace(operation, completed=NEVER)
            continue
        if draw(st.integers(0, 7)):
            answered[number] = msgspec.structs.replace(operation, result=outcome[0])
        state = outcome[1]
    return answered


def is_explained(operations: Sequence[Operation], model: Model) -> bool:
    """Whether some order of the completed operations and of some of the others explains every result."""
    return any(
        respects_time(order) and replays([model.normal(op) for op in order], model) for order in _orders(operations)
    )


def _orders(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    known = [op for op in operations if op.known]
    unknown = [op for op in operations if not op.known]
    for choice in range(1 << len(unknown)):
        yield from permutations(known + [op for i, op in enumerate(unknown) if choice >> i & 1])


def respects_time(order: Sequence[Operation]) -> bool:
    return not any(later.completed < op.invoked for i, op in enumerate(order) for later in order[i + 1 :])


def replays(order: Sequence[Operation], model: Model) -> bool:
    state = model.initial
    for operation in order:
        state = model.step(state, operation)
        if state is ILLEGAL:
            return False
    return True
