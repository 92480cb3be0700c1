"""What a leader takes of its followers' streams."""

import pytest

from oarlock.network.messages import ForwardSlice, SliceExpected
from oarlock.node.batch import BATCH_BYTES
from oarlock.node.intake import Intake, command_bytes, is_command
from oarlock.types import MAX_COMMAND_BYTES, Boot, ReplicaId, Slice, Term

A, B = ReplicaId(2), ReplicaId(3)
TERM = Term(4)


class Leader:
    """The intake of a leadership of term 4."""

    def __init__(self) -> None:
        self.intake = Intake(TERM)

    def receive(
        self, first: int, *commands: str, origin: ReplicaId = A, boot: int = 1, term: int = TERM, sender: int = 0
    ) -> None:
        piece = Slice(origin, Boot(boot), first, tuple(command.encode() for command in commands))
        self.intake.received(ReplicaId(sender or origin), ForwardSlice(Term(term), piece))

    def take(self, room_bytes: int = BATCH_BYTES) -> list[str]:
        slices, self.answers = self.intake.take(room_bytes)
        return [str(command, "ascii") for piece in slices for command in piece.commands if isinstance(command, bytes)]


def test_53_a_slice_that_arrives_twice_is_taken_once() -> None:
    leader = Leader()
    leader.receive(1, "a", "b")
    leader.receive(1, "a", "b")
    leader.receive(3, "c")
    assert leader.take() == ["a", "b", "c"]
    leader.receive(1, "a", "b")
    leader.receive(3, "c")
    assert leader.take() == []
    assert leader.answers == []
    assert not leader.intake


def test_what_was_taken_is_a_prefix_and_whoever_skips_is_told_what_is_due() -> None:
    leader = Leader()
    leader.receive(1, "a")
    leader.receive(3, "c")
    leader.receive(4, "d")
    assert leader.take() == ["a"]
    assert leader.answers == [(A, SliceExpected(TERM, Boot(1), 2))]
    leader.receive(2, "b")
    leader.receive(3, "c")
    assert leader.take() == ["b", "c"]


def test_the_number_is_checked_when_it_is_appended_and_not_when_it_arrives() -> None:
    leader = Leader()
    leader.receive(1, "a")
    leader.receive(1, "a")  # both wait: neither has been appended
    leader.receive(2, "b")
    assert leader.take(room_bytes=1) == ["a"]
    assert leader.take() == ["b"]


def test_every_origin_has_numbers_of_its_own() -> None:
    leader = Leader()
    leader.receive(1, "a")
    leader.receive(1, "b", origin=B)
    leader.receive(2, "c")
    assert leader.take() == ["a", "b", "c"]


def test_a_new_boot_starts_at_1_and_the_old_one_is_over() -> None:
    leader = Leader()
    leader.receive(1, "a", boot=1)
    leader.receive(1, "b", boot=2)
    leader.receive(2, "old", boot=1)
    leader.receive(2, "c", boot=2)
    assert leader.take() == ["a", "b", "c"]
    assert leader.answers == []


def test_67_a_slice_cut_for_another_term_never_stands_in_this_one() -> None:
    leader = Leader()
    leader.receive(1, "old", term=3)
    leader.receive(1, "new", term=5)
    assert not leader.intake


def test_nobody_speaks_for_another_origin() -> None:
    leader = Leader()
    leader.receive(1, "a", origin=A, sender=B)
    assert not leader.intake


def test_60_an_entry_has_room_for_so_many_bytes_but_always_for_one_slice() -> None:
    leader = Leader()
    leader.receive(1, "a" * 100)
    leader.receive(2, "b" * 100)
    assert leader.take(room_bytes=0) == ["a" * 100]
    assert leader.take(room_bytes=0) == ["b" * 100]


def test_what_waits_of_an_origin_that_sends_everything_again_is_not_kept_twice() -> None:
    leader = Leader()
    leader.receive(1, "a")
    leader.receive(1, "x", origin=B)
    leader.intake.forget(A)
    leader.receive(1, "a")
    assert leader.take() == ["x", "a"]


def test_a_command_of_many_empty_parts_is_not_small() -> None:
    assert command_bytes((b"",) * MAX_COMMAND_BYTES) > MAX_COMMAND_BYTES
    assert 100 < command_bytes(b"x" * 100) < 120


@pytest.mark.parametrize("value", [b"", (b"a", b""), ()])
def test_bytes_and_tuples_of_bytes_are_commands(value: object) -> None:
    assert is_command(value)


@pytest.mark.parametrize("value", ["text", [b"a"], (b"a", "b"), bytearray(b"a"), None])
def test_nothing_else_is(value: object) -> None:
    assert not is_command(value)
