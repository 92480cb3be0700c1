"""The fate of writes, rule by rule, at their origin."""

import pytest

from oarlock.errors import NotExecuted, OutcomeUnknown, ReplicaFailed, ShuttingDown, Unavailable
from oarlock.node.batch import BATCH_BYTES
from oarlock.node.writes import WINDOW_BYTES, Group, Writes
from oarlock.types import Boot, ReplicaId, Slice, Term
from tests.node.cluster import Recorder

ORIGIN, BOOT = ReplicaId(2), Boot(7)
NEVER = float("inf")


class Origin:
    """The writes of one replica, and what its clients heard."""

    def __init__(self) -> None:
        self.writes = Writes(ORIGIN, BOOT)
        self.sinks: dict[str, Recorder] = {}

    def add(self, *names: str, size_bytes: int = 1, deadline: float = NEVER) -> None:
        """A group of one command for each name."""
        for name in names:
            self.sinks[name] = Recorder()
            self.writes.add(Group((name.encode(),), size_bytes, self.sinks[name], deadline))

    def cut(self, term: int) -> tuple[int, list[str]] | None:
        """The number of the next slice's first command, and its commands."""
        piece = self.writes.cut(Term(term))
        return None if piece is None else shown(piece)

    def apply(self, term: int, first: int, *names: str, origin: int = ORIGIN, boot: int = BOOT) -> None:
        """An entry of the term with this slice is applied; the results are the names in capitals."""
        self.writes.term_applied(Term(term))
        piece = Slice(ReplicaId(origin), Boot(boot), first, tuple(name.encode() for name in names))
        self.writes.applied(piece, Term(term), [name.upper() for name in names])

    def told(self, name: str) -> object:
        """What the command's client heard: its result, its error's class, or None."""
        sink = self.sinks[name]
        return sink.results[0] if sink.results else type(sink.error) if sink.error else None


def shown(piece: Slice) -> tuple[int, list[str]]:
    assert (piece.origin, piece.boot) == (ORIGIN, BOOT)
    return piece.first, [command.decode() for command in piece.commands if isinstance(command, bytes)]


def test_numbers_go_on_within_a_term_and_restart_at_1_in_the_next() -> None:
    origin = Origin()
    origin.add("a", "b")
    assert origin.cut(3) == (1, ["a", "b"])
    origin.add("c")
    assert origin.cut(3) == (3, ["c"])
    origin.apply(3, 1, "a", "b")
    origin.apply(3, 3, "c")
    origin.add("d")
    assert origin.cut(4) == (1, ["d"])


def test_every_client_is_answered_from_its_own_place() -> None:
    origin = Origin()
    origin.add("a", "b", "c")
    origin.cut(1)
    origin.apply(1, 1, "a", "b", "c")
    assert [origin.told(name) for name in "abc"] == ["A", "B", "C"]


def test_66_nothing_is_cut_for_a_new_term_while_an_earlier_slice_is_undecided() -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(1)
    origin.add("b")
    assert not origin.writes.can_cut(Term(2))
    assert origin.cut(2) is None
    origin.apply(1, 1, "a")  # it survived in the new leader's log
    assert origin.cut(2) == (1, ["b"])


def test_61_62_what_a_later_term_left_out_goes_to_the_next_leader_in_order_and_first() -> None:
    origin = Origin()
    for names in ("a", "bc", "de"):
        origin.add(*names)
        origin.cut(1)
    origin.add("f")
    origin.apply(1, 1, "a")
    origin.writes.term_applied(Term(2))
    assert origin.cut(2) == (1, ["b", "c", "d", "e", "f"])
    assert [origin.told(name) for name in "abcdef"] == ["A", None, None, None, None, None]
    origin.apply(2, 1, "b", "c", "d", "e", "f")
    assert [origin.told(name) for name in "bcdef"] == ["B", "C", "D", "E", "F"]


def test_an_entry_of_the_same_or_an_earlier_term_decides_nothing() -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(2)
    origin.writes.term_applied(Term(1))
    origin.writes.term_applied(Term(2))
    assert origin.cut(3) is None


def test_68_a_resend_repeats_the_identical_slices_expired_commands_and_all() -> None:
    origin = Origin()
    origin.add("a", deadline=1.0)
    origin.add("b", deadline=1.0)
    origin.cut(5)
    origin.add("c")
    origin.cut(5)
    origin.writes.expire(2.0, "")
    assert [shown(piece) for piece in origin.writes.undecided_slices(Term(5))] == [(1, ["a", "b"]), (3, ["c"])]
    assert [shown(piece) for piece in origin.writes.undecided_slices(Term(5), 3)] == [(3, ["c"])]


def test_nothing_is_sent_again_to_the_leader_of_another_term() -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(5)
    assert list(origin.writes.undecided_slices(Term(6))) == []


def test_past_its_deadline_what_waits_was_not_executed_and_what_was_cut_is_unknown() -> None:
    origin = Origin()
    origin.add("cut", deadline=1.0)
    origin.cut(1)
    origin.add("waits", deadline=1.0)
    origin.add("patient", deadline=3.0)
    origin.writes.expire(0.9, "")
    assert (origin.told("cut"), origin.told("waits")) == (None, None)
    origin.writes.expire(1.0, "why")
    assert (origin.told("cut"), origin.told("waits"), origin.told("patient")) == (OutcomeUnknown, Unavailable, None)
    assert str(origin.sinks["waits"].error) == "why"


def test_48_an_unknown_outcome_may_still_happen_and_is_told_once() -> None:
    origin = Origin()
    origin.add("a", deadline=1.0)
    origin.cut(1)
    origin.writes.expire(1.0, "")
    origin.writes.expire(2.0, "")
    origin.apply(1, 1, "a")
    assert origin.told("a") is OutcomeUnknown
    assert origin.sinks["a"].times_told == 1


def test_expired_commands_are_not_handed_over() -> None:
    origin = Origin()
    origin.add("late", deadline=1.0)
    origin.add("live")
    origin.cut(1)
    origin.writes.expire(1.0, "")
    origin.writes.term_applied(Term(2))
    assert origin.cut(2) == (1, ["live"])


def test_slices_of_others_and_of_a_former_life_are_not_ours() -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(1)
    origin.apply(1, 1, "a", origin=3)
    origin.apply(1, 1, "a", boot=BOOT - 1)
    assert origin.told("a") is None
    origin.apply(1, 1, "a")
    assert origin.told("a") == "A"


@pytest.mark.parametrize(("term", "first"), [(1, 2), (2, 1)])
def test_a_slice_that_was_not_due_stops_the_replica(term: int, first: int) -> None:
    origin = Origin()
    origin.add("a", "b")
    origin.cut(1)
    with pytest.raises(ReplicaFailed):
        origin.apply(term, first, "a")


def test_a_slice_is_cut_at_its_size_and_a_larger_command_goes_alone() -> None:
    origin = Origin()
    origin.add("a", size_bytes=BATCH_BYTES - 1)
    origin.add("b", "c", size_bytes=1)
    origin.add("large", size_bytes=3 * BATCH_BYTES)
    assert [origin.cut(1), origin.cut(1), origin.cut(1)] == [(1, ["a", "b"]), (3, ["c"]), (4, ["large"])]


def test_more_than_a_window_waits_uncut_until_some_of_it_is_decided() -> None:
    origin = Origin()
    origin.add("a", "b", size_bytes=WINDOW_BYTES)
    origin.cut(1)
    assert origin.cut(1) is None
    origin.apply(1, 1, "a")
    assert origin.cut(1) == (2, ["b"])


def test_what_nobody_waits_for_is_not_held_against_the_next_client() -> None:
    origin = Origin()
    origin.add("a", "b", size_bytes=10, deadline=1.0)
    origin.cut(1)
    origin.add("c", "d", size_bytes=100, deadline=1.0)
    origin.add("e", size_bytes=1000)
    assert origin.writes.held_bytes == 1220
    origin.writes.expire(1.0, "")
    assert origin.writes.held_bytes == 1000
    origin.writes.term_applied(Term(2))
    assert origin.cut(2) == (1, ["e"])
    origin.apply(2, 1, "e")
    assert (origin.writes.held_bytes, bool(origin.writes)) == (0, False)


def test_a_client_that_hears_of_its_failure_may_come_again_at_once() -> None:
    """A server sends the next command of a connection as soon as the last is answered."""
    origin = Origin()
    again: list[str] = []

    def come_again() -> None:
        again.append(name := f"again{len(again)}")
        origin.add(name)

    for _ in range(3):
        origin.writes.add(Group((b"x",), 1, Recorder(come_again), 1.0))
    origin.cut(1)
    for _ in range(3):
        origin.writes.add(Group((b"y",), 1, Recorder(come_again), 1.0))
    origin.writes.expire(1.0, "")
    assert len(again) == 6
    origin.writes.term_applied(Term(2))
    assert origin.cut(2) == (1, again[0:6])


def test_what_nobody_waits_for_any_more_is_not_handed_over() -> None:
    """Its client is gone and may ask again elsewhere; what it sent is executed now or never."""
    origin = Origin()
    origin.add("a", "gone", "b", size_bytes=5)
    origin.cut(1)
    origin.sinks["gone"].abandoned = True
    origin.writes.term_applied(Term(2))
    assert origin.told("gone") is Unavailable
    assert origin.writes.held_bytes == 10
    assert origin.cut(2) == (1, ["a", "b"])


def test_one_client_whose_sink_fails_costs_no_other_its_answer() -> None:
    class Broken:
        abandoned = False

        def resolved(self, results: object) -> None:
            raise ValueError("a bug in a server")

        failed = resolved

    origin = Origin()
    origin.writes.add(Group((b"x",), 1, Broken(), NEVER))
    origin.add("a")
    origin.cut(1)
    origin.apply(1, 1, "x", "a")
    assert origin.told("a") == "A"


def test_a_replica_that_stops_tells_everyone_what_is_true() -> None:
    origin = Origin()
    origin.add("cut")
    origin.cut(1)
    origin.add("waits")
    origin.writes.fail_all(ShuttingDown(), OutcomeUnknown())
    assert (origin.told("cut"), origin.told("waits")) == (OutcomeUnknown, ShuttingDown)
    assert issubclass(ShuttingDown, NotExecuted)
    assert (origin.writes.held_bytes, bool(origin.writes)) == (0, False)


def snapshot(origin: Origin, term: int, last: tuple[int, int, int] | None) -> None:
    """The state is replaced by one whose last entry has the term, and whose last slice of ours was of this boot and
    term, with this number following it."""
    origins = {ReplicaId(9): (Boot(1), Term(1), 99)}
    if last is not None:
        origins[ORIGIN] = (Boot(last[0]), Term(last[1]), last[2])
    origin.writes.restored(origins, Term(term))


def test_what_a_snapshot_holds_was_executed_and_its_results_are_unknown() -> None:
    origin = Origin()
    for names in ("ab", "c"):
        origin.add(*names)
        origin.cut(3)
    snapshot(origin, 3, (BOOT, 3, 3))
    assert [origin.told(name) for name in "abc"] == [OutcomeUnknown, OutcomeUnknown, None]
    origin.apply(3, 3, "c")  # a later entry of the same term has it
    assert origin.told("c") == "C"
    assert (origin.writes.held_bytes, bool(origin.writes)) == (0, False)


@pytest.mark.parametrize("last", [None, (BOOT - 1, 3, 9), (BOOT, 2, 9), (BOOT, 3, 1)])
def test_what_a_snapshot_of_a_later_term_left_out_goes_to_the_next_leader(last: tuple[int, int, int] | None) -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(3)
    snapshot(origin, 4, last)
    assert origin.told("a") is None
    assert origin.cut(4) == (1, ["a"])


def test_what_a_snapshot_of_the_same_term_left_out_is_still_undecided() -> None:
    origin = Origin()
    origin.add("a")
    origin.cut(3)
    snapshot(origin, 3, None)
    assert origin.told("a") is None
    assert origin.cut(4) is None
    origin.apply(3, 1, "a")
    assert origin.told("a") == "A"


def test_a_snapshot_that_holds_one_slice_and_is_of_a_later_term_decides_both() -> None:
    origin = Origin()
    for name in "ab":
        origin.add(name)
        origin.cut(3)
    snapshot(origin, 5, (BOOT, 3, 2))
    assert (origin.told("a"), origin.told("b")) == (OutcomeUnknown, None)
    assert origin.cut(5) == (1, ["b"])
