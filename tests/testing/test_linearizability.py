"""The checker gives the verdicts of small histories, of recorded ones, and of a judge that tries every order."""

import doctest
import random
from collections.abc import Iterator
from itertools import permutations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oarlock.testing import linearizability
from oarlock.testing.history import read_history
from oarlock.testing.linearizability import NEVER, InvalidOperation, Operation, check
from oarlock.testing.models import MODELS
from tests.testing.random_histories import histories, is_explained, replays, respects_time
from tests.testing.recorded import DIRECTORY, recorded


def write(value: object, invoked: float, completed: float = NEVER) -> Operation:
    return Operation("k", "write", value, None, invoked, completed)


def read(value: object, invoked: float, completed: float = NEVER) -> Operation:
    return Operation("k", "read", None, value, invoked, completed)


def swap(value: object, was: object, invoked: float, completed: float = NEVER) -> Operation:
    return Operation("k", "swap", value, was, invoked, completed)


def cas(old: object, new: object, done: object, invoked: float, completed: float = NEVER) -> Operation:
    return Operation("k", "cas", (old, new), done, invoked, completed)


def verdict(*operations: Operation, model: str = "cas-register") -> str:
    return check(operations, MODELS[model]).outcome


@pytest.mark.parametrize(
    ("operations", "linearizable"),
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
        ([write(1, 0, 1), write(2, 2), write(3, 2, 3), read(3, 4, 5), read(2, 6, 7)], True),
        ([read(1, 0, 1), write(1, 2)], False),
        ([write(1, 0, 1), read(None, 1, 2)], True),
        ([write(1, 0, 1), swap(2, 1, 2, 3), read(2, 4, 5)], True),
        ([write(1, 0, 1), swap(2, None, 2, 3)], False),
        ([write(1, 0, 1), swap(2, None, 2), read(2, 4, 5)], True),
        ([cas(None, 1, True, 0, 1), cas(None, 2, True, 2, 3)], False),
        ([cas(None, 1, True, 0, 1), cas(None, 2, False, 2, 3)], True),
        ([write(1, 0), cas(None, 2, False, 2, 3)], True),
        ([write(1, 0, 1), write(7, 0, 20), cas(1, 2, None, 5), read(2, 8, 9)], True),
        ([write(1, 0), cas(None, 2, False, 2, 3), read(None, 4, 5)], False),
    ],
)
def test_small_histories_of_a_register(operations: list[Operation], linearizable: bool) -> None:
    assert verdict(*operations) == ("linearizable" if linearizable else "illegal")


def test_the_same_operations_may_leave_another_state_in_another_order() -> None:
    enqueued = [Operation("k", "enqueue", value, None, 0, 1 + value) for value in range(3)]
    for order in permutations(range(3)):
        dequeued = [Operation("k", "dequeue", None, value, 5 + at, 5.5 + at) for at, value in enumerate(order)]
        assert verdict(*enqueued, *dequeued, model="queue") == "linearizable"


@pytest.mark.parametrize("operations", [[], [write(1, 0)], [read(1, 0), write(2, 1)]])
def test_what_judges_nothing_says_so(operations: list[Operation]) -> None:
    found = check(operations, MODELS["register"])
    assert found.outcome == "linearizable"
    assert found.sentence == "Linearizable, but nothing was judged: no operation has a known outcome."


@pytest.mark.parametrize("told", [(True, 1), (1, True)])
def test_results_that_are_equal_but_of_another_kind_are_not_alike(told: tuple[object, object]) -> None:
    """A number that an append returns is the length, and anything else says nothing."""
    appended = [Operation("k", "append", "1", result, at, 10 + at, at) for at, result in enumerate(told)]
    assert verdict(*appended, Operation("k", "read", None, "11", 20, 21), model="append") == "linearizable"


def test_a_lock_that_is_refused_was_held() -> None:
    acquired = Operation("k", "acquire", None, True, 0, 1, 1)
    refused = Operation("k", "acquire", None, False, 2, 3, 2)
    released = Operation("k", "release", None, None, 4, 5, 1)
    refused_later = Operation("k", "acquire", None, False, 6, 7, 2)
    assert verdict(acquired, refused, released, model="lock") == "linearizable"
    assert verdict(acquired, released, refused_later, model="lock") == "illegal"
    assert verdict(refused, model="lock") == "illegal"


def test_the_documented_example() -> None:
    assert doctest.testmod(linearizability).failed == 0


def test_the_key_that_is_illegal_is_named_and_the_operation_with_which_it_became_so() -> None:
    good = [Operation("good", "write", 1, None, 0, 1)]
    stale = Operation("bad", "read", None, 1, 4, 5, process=7)
    bad = [
        Operation("bad", "write", 1, None, 0, 1),
        Operation("bad", "write", 2, None, 2, 3),
        stale,
        Operation("bad", "read", None, 2, 6, 7),
        Operation("bad", "write", 3, None, 6, 8),
    ]
    found = check(good + bad, MODELS["register"])
    assert (found.outcome, found.key, found.culprit) == ("illegal", "bad", stale)
    assert list(found.operations) == bad
    assert [(placed.operation, placed.state) for placed in found.order] == [(bad[0], 1), (bad[1], 2)]
    assert "read() -> 1 by process 7" in found.sentence
    assert check(good, MODELS["register"]).outcome == "linearizable"


def test_the_object_with_the_fewest_operations_is_judged_first() -> None:
    def stale(key: str, writes: int) -> Iterator[Operation]:
        for at in range(writes):
            yield Operation(key, "write", at, None, at, at + 0.5)
        yield Operation(key, "read", None, None, writes, writes + 0.5)

    assert check([*stale("large", 9), *stale("small", 1)], MODELS["register"]).key == "small"


def test_what_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidOperation, match="'swap', only read"):
        verdict(swap(1, None, 0, 1), model="register")


def hard(key: str, clients: int = 14) -> list[Operation]:
    """Everybody enqueues at once, and only at the end it turns out that one value is lost."""
    enqueued = [Operation(key, "enqueue", n, None, 0, 1, n) for n in range(clients)]
    return [*enqueued, *[Operation(key, "dequeue", None, n, 2 + n, 2.5 + n) for n in (*range(clients - 1), -1)]]


def test_a_budget_that_is_used_up_is_no_verdict() -> None:
    found = check(hard("k"), MODELS["queue"], budget=1_000)
    assert (found.outcome, found.key) == ("undecided", "k")
    assert "within 1,000 steps" in found.sentence
    assert found.steps <= 1_000


def test_the_same_history_takes_the_same_number_of_steps() -> None:
    operations = hard("k", clients=4)
    assert check(operations, MODELS["queue"]).steps == check(operations, MODELS["queue"]).steps > 10


def test_one_hard_object_does_not_keep_another_from_being_found_illegal() -> None:
    easy = [Operation("easy", "dequeue", None, 1, at, at + 0.5) for at in range(40)]
    assert check([*hard("k"), *easy], MODELS["queue"], budget=1_000).key == "easy"


@pytest.mark.parametrize("model", ["kv", "append"])
@pytest.mark.parametrize("value", [True, ("a",), 7])
def test_what_no_string_can_be_appended_to_is_a_state_like_any_other(model: str, value: object) -> None:
    append = Operation("k", "append", "a", None, 0, 9, 1)
    text = value if model == "append" or isinstance(value, bool | tuple) else str(value)
    lengthened = f"{text}a" if isinstance(text, str) else "a"
    assert check([append, write(value, 1, 2), read("b", 3, 4)], MODELS[model]).outcome == "illegal"
    expected = [append, write(value, 10, 11), read(text, 12, 13)]
    assert check([append, read("a", 9, 10), *expected[1:]], MODELS[model]).outcome == "linearizable"
    after = check([append, write(value, 1, 2), read(lengthened, 3, 4)], MODELS[model])
    assert after.outcome == ("linearizable" if isinstance(text, str) else "illegal")


def test_progress_is_told_after_each_object() -> None:
    told: list[tuple[int, int]] = []
    operations = [Operation(key, "write", 1, None, 0, 1) for key in "aab"]
    check(operations, MODELS["register"], progress=lambda judged, total: told.append((judged, total)))
    assert told == [(1, 3), (3, 3)]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_verdict_is_that_of_a_judge_that_tries_every_order(name: str, data: st.DataObject) -> None:
    model = MODELS[name]
    operations = data.draw(histories(model))
    found = check(operations, model)
    assert (found.outcome == "linearizable") is is_explained(operations, model)
    if found.outcome == "illegal":  # and what it says of the beginning is so
        assert found.culprit is not None
        order = [
            op if op.completed < found.culprit.completed else msgspec.structs.replace(op, completed=NEVER)
            for op in (placed.operation for placed in found.order)
        ]
        assert respects_time(order)
        assert replays([model.normal(op) for op in order], model)
        earlier = {id(op) for op in operations if op.completed < found.culprit.completed}
        assert earlier <= {id(placed.operation) for placed in found.order} | {
            id(op) for op in operations if model.functions[op.function].reads and not op.known
        }


@pytest.mark.parametrize("seed", range(4))
def test_histories_of_many_clients_at_a_few_hot_keys(seed: int) -> None:
    rng = random.Random(seed)
    operations = run_of_registers(rng, clients=20, keys=2, count=2_000)
    assert check(operations, MODELS["register"], budget=50_000).outcome == "linearizable"
    reads = [i for i, op in enumerate(operations) if op.function == "read" and op.known]
    at = rng.choice(reads[len(reads) // 2 :])
    spoilt = operations[at]
    old = [op.argument for op in operations if op.key == spoilt.key and op.known and op.completed < spoilt.invoked - 30]
    operations[at] = msgspec.structs.replace(spoilt, result=next(value for value in reversed(old) if value))
    found = check(operations, MODELS["register"], budget=100_000)
    assert found.outcome == "illegal"
    assert found.culprit == operations[at]


@pytest.mark.parametrize("seed", range(6))
def test_histories_in_which_few_values_are_written_over_and_over(seed: int) -> None:
    operations = run_of_registers(random.Random(seed), clients=6, keys=10, count=600, values=4)
    assert check(operations, MODELS["register"], budget=50_000).outcome == "linearizable"


def run_of_registers(
    rng: random.Random, clients: int, keys: int, count: int, values: int | None = None
) -> list[Operation]:
    """What clients of a single copy saw: each operation takes effect at a random moment within its time."""
    calls = []
    free = [rng.random() for _ in range(clients)]
    for number in range(count):
        client = min(range(clients), key=free.__getitem__)
        began, took = free[client], rng.expovariate(1.0) + 0.01
        free[client] = began + took + 0.01
        calls.append((began + took * rng.random(), began, began + took, client, rng.randrange(keys), number))
    state: dict[int, int] = {}
    operations = []
    for _, began, ended, client, key, number in sorted(calls):
        value = number % (values or count)
        completed = NEVER if rng.random() < 0.02 else ended
        if rng.random() < 0.5:
            operations.append(Operation(key, "read", None, state.get(key), began, completed, client))
        else:
            if completed != NEVER or rng.random() < 0.5:
                state[key] = value
            operations.append(Operation(key, "write", value, None, began, completed, client))
    return sorted(operations, key=lambda op: op.invoked)


@pytest.mark.skipif(not DIRECTORY, reason="set OARLOCK_HISTORIES to a directory of recorded histories")
def test_every_verdict_of_the_recorded_histories() -> None:
    judged = 0
    for history in recorded():
        model = MODELS[history.model]
        outcome = check(read_history(history.lines, model), model).outcome
        assert outcome == ("linearizable" if history.linearizable else "illegal"), history.name
        judged += 1
    assert judged > 50
