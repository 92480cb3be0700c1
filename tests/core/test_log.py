"""The log in memory: matching, truncating, hints, durability, its base."""

import random

import pytest

from oarlock.core.invariants import LOG_IS_CONTIGUOUS
from oarlock.core.log import Log
from oarlock.core.ready import Mark
from oarlock.errors import InvariantViolated
from oarlock.testing.script.replica import past_entry
from oarlock.types import Configuration, Entry, EntryKind, Index, SnapshotPoint, Term


def log(*terms: int, base: tuple[int, int] = (0, 0)) -> Log:
    entries = [past_entry(base[0] + position, term) for position, term in enumerate(terms, 1)]
    return Log(Index(base[0]), Term(base[1]), entries)


def mark(log: Log) -> Mark:
    return Mark(log.epoch, log.last_index, Term(9), 0)


def test_an_empty_log_ends_at_its_base() -> None:
    empty = log(base=(5, 2))
    assert (empty.last_index, empty.last_term, empty.durable_index) == (5, 2, 5)
    assert empty.term_at(Index(5)) == 2
    assert empty.term_at(Index(4)) is None and empty.term_at(Index(6)) is None


@pytest.mark.parametrize("base", [(0, 0), (10, 1)])
def test_terms_by_index(base: tuple[int, int]) -> None:
    some = log(1, 1, 3, base=base)
    assert [some.term_at(Index(base[0] + n)) for n in range(5)] == [base[1], 1, 1, 3, None]


def test_gaps_and_falling_terms_are_refused() -> None:
    with pytest.raises(InvariantViolated, match=LOG_IS_CONTIGUOUS.name):
        log(1, 2).append([past_entry(4, 2)])
    with pytest.raises(InvariantViolated, match=LOG_IS_CONTIGUOUS.name):
        log(1, 2).append([past_entry(3, 1)])
    with pytest.raises(InvariantViolated, match=LOG_IS_CONTIGUOUS.name):
        Log(Index(0), Term(0), [past_entry(2, 1)])


def test_between_includes_both_ends() -> None:
    some = log(1, 1, 2, 2, base=(10, 1))
    assert [entry.index for entry in some.between(12, 13)] == [12, 13]
    assert some.between(13, 12) == []


def test_a_batch_is_bounded_in_bytes_but_holds_at_least_one_entry() -> None:
    some = Log(Index(0), Term(0), [Entry(Index(n), Term(1), EntryKind.BATCH, 0, b"x" * 10) for n in range(1, 6)])
    for max_bytes, count in ((1, 1), (10, 1), (19, 1), (20, 2), (1000, 5)):
        entries, size_bytes = some.batch_from(Index(1), max_bytes)
        assert (len(entries), size_bytes) == (count, count * 10)
    assert [entry.index for entry in some.batch_from(Index(4), 1000)[0]] == [4, 5]


@pytest.mark.parametrize(
    ("other", "up_to_date"),
    [((3, 2), True), ((4, 2), True), ((2, 2), False), ((1, 3), True), ((9, 1), False)],
)
def test_up_to_date_is_by_term_then_index(other: tuple[int, int], up_to_date: bool) -> None:
    assert log(1, 2, 2).is_up_to_date(Index(other[0]), Term(other[1])) is up_to_date


def test_truncation_takes_durability_back_with_it() -> None:
    some = log(1, 1, 2)
    some.truncate_from(Index(2))
    assert (some.last_index, some.last_term, some.durable_index, some.handed_index) == (1, 1, 1, 1)
    some.append([past_entry(2, 3)])
    assert some.durable_index == 1
    assert [entry.term for entry in some.take_unpersisted()] == [3]
    assert some.take_unpersisted() == ()


def test_truncation_down_to_the_base() -> None:
    some = log(2, 2, base=(7, 1))
    some.truncate_from(Index(8))
    assert (some.last_index, some.last_term) == (7, 1)


def test_durability_follows_marks_and_never_goes_back() -> None:
    some = log()
    some.append([past_entry(1, 1)])
    first = mark(some)
    some.append([past_entry(2, 1)])
    second = mark(some)
    some.made_durable(second)
    assert some.durable_index == 2
    some.made_durable(first)
    assert some.durable_index == 2


def test_a_mark_from_before_a_truncation_is_of_no_use_even_for_what_was_kept() -> None:
    some = log()
    some.append([past_entry(1, 1), past_entry(2, 1)])
    old = mark(some)
    some.truncate_from(Index(2))
    some.append([past_entry(2, 2)])
    some.made_durable(old)
    assert some.durable_index == 0
    some.made_durable(mark(some))
    assert some.durable_index == 2


def test_hints_never_skip_the_point_of_agreement_and_always_make_progress() -> None:
    """Played as leader and follower do, on random logs that share a prefix and, as Raft has it, no term after it."""
    for seed in range(500):
        rng = random.Random(seed)
        shared = sorted(rng.choices(range(1, 4), k=rng.randint(0, 5)))
        tails = [sorted(rng.choices(terms, k=rng.randint(0, 8))) for terms in (range(4, 12, 2), range(5, 13, 2))]
        leader, follower = log(*shared, *tails[0]), log(*shared, *tails[1])
        prev = leader.last_index
        for _ in range(40):
            term = leader.term_at(prev)
            assert term is not None
            if follower.term_at(prev) == term:
                break
            hint = follower.agreement_hint(prev, term)
            hint_term = follower.term_at(hint)
            assert hint_term is not None
            agreed = leader.agreement_hint(min(hint, prev), hint_term)
            assert agreed < prev, "each round trip gets on"
            prev = agreed
        assert prev == len(shared) or follower.term_at(prev) == leader.term_at(prev)
        assert prev >= len(shared), "nothing that agrees is sent again"


def timed(*times_ms: int) -> Log:
    entries = [Entry(Index(n), Term(n), EntryKind.BATCH, time_ms, b"") for n, time_ms in enumerate(times_ms, 1)]
    return Log(Index(0), Term(0), entries)


def test_compaction_moves_the_base_and_changes_nothing_else() -> None:
    some = timed(10, 20, 30, 40)
    some.compact(Index(2))
    assert (some.base_index, some.base_term, some.base_time_ms) == (2, 2, 20)
    assert (some.last_index, some.last_term, some.last_time_ms, some.durable_index, some.epoch) == (4, 4, 40, 4, 0)
    assert [some.term_at(Index(n)) for n in range(1, 6)] == [None, 2, 3, 4, None]
    assert [some.time_at(Index(n)) for n in range(2, 5)] == [20, 30, 40]
    assert [entry.index for entry in some.between(1, 9)] == [3, 4]
    assert some.between(1, 2) == []
    some.compact(Index(1))
    assert some.base_index == 2, "what is gone is gone"


def test_log_time_of_a_log_that_is_all_base() -> None:
    some = timed(10, 20)
    some.compact(Index(2))
    assert (some.last_time_ms, some.time_at(Index(2))) == (20, 20)
    some.append([Entry(Index(3), Term(3), EntryKind.BATCH, 30, b"")])
    some.truncate_from(Index(3))
    assert some.last_time_ms == 20
    assert Log(Index(2), Term(2), (), 20).last_time_ms == 20


def test_a_reset_begins_after_the_point_and_is_handed_out_once() -> None:
    some = log(1, 1, 1)
    old = mark(some)
    some.reset(SnapshotPoint(Index(7), Term(3), 70, Configuration((), ())))
    assert (some.base_index, some.base_term, some.last_index, some.last_term, some.last_time_ms) == (7, 3, 7, 3, 70)
    assert some.durable_index == 0
    some.append([past_entry(8, 3)])
    assert some.take_unpersisted_reset() == (7, 3)
    assert [entry.index for entry in some.take_unpersisted()] == [8]
    assert some.take_unpersisted_reset() is None
    some.made_durable(old)
    assert some.durable_index == 0
    some.made_durable(mark(some))
    assert some.durable_index == 8


def test_a_hint_below_the_base_says_only_that_it_is_not_here() -> None:
    some = log(3, 3, base=(5, 2))
    assert some.agreement_hint(Index(7), Term(2)) == 5
    assert some.agreement_hint(Index(6), Term(1)) == 4, "the base's own term is too great"
    assert some.agreement_hint(Index(3), Term(1)) == 3
