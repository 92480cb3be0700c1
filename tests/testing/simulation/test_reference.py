"""The reference store does what the product's machine does, and says so where the product does not."""

from random import Random
from typing import Any

import pytest

from oarlock.kv import OK, KeyValue
from oarlock.kv.packing import exec_command
from oarlock.state_machine import Position
from oarlock.testing.simulation.applied import Divergence
from oarlock.testing.simulation.reference import Reference
from oarlock.types import Index

KEYS = (b"a", b"b", b"n")


def told(result: Any) -> Any:
    """As clients see it."""
    if isinstance(result, list):
        return [told(item) for item in result]
    return b"OK" if result is OK else result


def command(random: Random) -> tuple[bytes, ...]:
    key, other = random.choice(KEYS[:2]), random.choice(KEYS[:2])
    return random.choice(
        (
            (b"SET", key, b"1"), (b"SET", key, b"2", b"PX", b"%d" % random.choice((5, 50)), b"0"),
            (b"SET", key, b"3", b"GET"),
            (b"GETSET", key, b"4"), (b"CAS", key, b"1", b"5"), (b"APPEND", key, b"6"), (b"INCRBY", b"n", b"2"),
            (b"MSET", key, b"7", other, b"8"), (b"DEL", key, other), (b"EXPIRE", key, b"20", b"0"), (b"PERSIST", key),
            (b"FLUSHALL",), exec_command([], [(b"SET", key, b"9"), (b"GET", other), (b"PTTL", key)]),
        )
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(50))
def test_it_answers_as_the_machine_does(seed: int) -> None:
    random, machine, reference = Random(seed), KeyValue(), Reference({})
    time_ms = 0
    for index in range(1, 200):
        time_ms += random.choice((0, 1, 10))
        at = Position(Index(index), time_ms)
        commands = [command(random) for _ in range(random.randrange(4))]
        assert told(list(machine.apply(commands, at))) == told(list(reference.apply(commands, at))), commands
        queries = [(verb, key) for verb in (b"GET", b"PTTL") for key in KEYS]
        assert list(machine.query(queries, at)) == list(reference.query(queries, at))


def test_a_transaction_may_only_fail_to_be_executed_if_what_it_watched_has_changed() -> None:
    body = exec_command([(b"a", 0)], [(b"SET", b"b", b"1")])
    for touched, watched in ((2, 2), (2, 1)):  # changed where it was watched, or after
        reference = Reference({body[2]: Index(watched)})
        reference.apply([(b"SET", b"a", b"x")], Position(Index(touched), 0))
        assert reference.apply([body], Position(Index(5), 0)) == [None]
    reference = Reference({body[2]: Index(3)})
    reference.apply([(b"SET", b"a", b"x")], Position(Index(2), 0))
    with pytest.raises(Divergence, match="nothing has changed a since index 3"):
        reference.apply([body], Position(Index(5), 0))


def test_a_transaction_whose_watch_failed_is_not_executed() -> None:
    body = exec_command([(b"a", -1)], [(b"SET", b"b", b"1")])
    assert Reference({body[2]: None}).apply([body], Position(Index(5), 0)) == [None]
