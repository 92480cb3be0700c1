"""The store as a subject: that the log and the lookups are what clients asked for is judged, too."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from oarlock.kv.packing import exec_command
from oarlock.server.redis.commands import COMMANDS
from oarlock.testing.simulation.clients import says
from oarlock.testing.simulation.run import Plan, run
from oarlock.types import Command

Words = tuple[bytes, ...]


def words(text: str) -> Words:
    return tuple(text.encode().split())


@pytest.mark.parametrize(
    ("request_", "logged", "same"),
    [
        ("SET k v", "SET k v", True),
        ("SET k v", "SET q v", False),
        ("SET k v", "SET k v PX 20 1700", False),
        ("SET k v PX 20", "SET k v PX 20 1700", True),
        ("SET k v PX 20", "SET k v PX 200 1700", False),
        ("SET k v PX 20", "SET q v PX 20 1700", False),
        ("SET k v PX 20", "SET k v", False),
        ("SET k v GET", "SET k v", False),
        ("MSET k v j w", "MSET k v", False),
    ],
)
def test_a_command_says_what_was_asked_for_word_by_word(request_: str, logged: str, same: bool) -> None:
    assert says(words(logged), words(request_)) is same


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (["SET x v", "GET y"], True),
        (["GET y", "SET x v"], False),
        (["SET x v"], False),
        (["SET x v", "GET y", "APPEND z w"], False),
    ],
)
def test_a_transaction_says_what_was_asked_for_command_by_command(body: Sequence[str], same: bool) -> None:
    logged: Command = exec_command([(b"x", 7)], [words(line) for line in body])
    assert says(logged, (b"MULTI", b"SET x v", b"GET y", b"EXEC")) is same


def test_nothing_says_nothing() -> None:
    assert not says(None, (b"SET", b"k", b"v"))


@pytest.mark.parametrize(
    ("name", "turned", "sentence"),
    [
        (b"MGET", lambda request, wall: (b"MGET", *reversed(request[1:])), "looked up"),
        (b"MSET", lambda request, wall: (b"MSET", *request[1:3]), "executed"),
    ],
)
def test_a_replica_that_makes_another_request_of_a_request_is_found(
    monkeypatch: pytest.MonkeyPatch, name: bytes, turned: object, sentence: str
) -> None:
    monkeypatch.setitem(COMMANDS, name, msgspec.structs.replace(COMMANDS[name], canonical=turned))
    (violation,) = run(Plan(1, "calm", seconds=4, clients=6)).violations
    assert violation.startswith(sentence)
