"""Every named invariant can be violated, holds where it should, and is named after what it says."""

import pytest

from oarlock.core import invariants
from oarlock.core.log import Log
from oarlock.errors import InvariantViolated
from oarlock.testing.script.replica import past_entry
from oarlock.types import Entry, EntryKind, Index, Term


def log(*terms: int) -> Log:
    return Log(Index(0), Term(0), [past_entry(index, term) for index, term in enumerate(terms, 1)])


def other_payload(*terms: int) -> Log:
    """Like ``log``, but its first entry says something else."""
    first = Entry(Index(1), Term(terms[0]), EntryKind.BATCH, 0, b"something else")
    return Log(Index(0), Term(0), [first, *(past_entry(index, term) for index, term in enumerate(terms[1:], 2))])


EXAMPLES: dict[str, tuple[list[tuple[object, ...]], list[tuple[object, ...]]]] = {
    # name: (facts for which it holds, facts that violate it)
    "LOG_IS_CONTIGUOUS": (
        [(1, 1, [past_entry(2, 1), past_entry(3, 2)]), (1, 1, [])],
        [(1, 1, [past_entry(3, 1)]), (1, 2, [past_entry(2, 1)]), (1, 1, [past_entry(2, 1), past_entry(2, 1)])],
    ),
    "TERM_IS_MONOTONIC": ([(1, 1), (1, 2)], [(2, 1)]),
    "COMMIT_IS_MONOTONIC": ([(1, 1), (1, 2)], [(2, 1)]),
    "COMMIT_WITHIN_LOG": ([(3, 3)], [(4, 3)]),
    "APPLIED_WITHIN_COMMIT": ([(1, 2, 2), (1, 1, 2)], [(2, 1, 2), (1, 3, 2)]),
    "SNAPSHOT_OF_APPLIED": ([(2, 2, 3), (1, 2, 2)], [(3, 2, 3), (3, 3, 2)]),
    "SNAPSHOT_STANDS_IN_LOG": ([(2, 2)], [(None, 2), (1, 2)]),
    "RESTORED_AS_A_WHOLE": ([(5, 6, 5), (3, 3, 5), (3, 5, 5)], [(3, 4, 5), (3, 6, 5)]),
    "COMMITTED_IS_KEPT": ([(4, 3)], [(3, 3)]),
    "COMMIT_OWN_TERM": ([(2, 2)], [(1, 2)]),
    "MATCH_IS_MONOTONIC": ([(1, 1, 2), (1, 2, 3)], [(2, 1, 3), (1, 2, 2)]),
    "ONE_VOTE_PER_TERM": ([(0, 1), (1, 1)], [(2, 1)]),
    "ONE_LEADERSHIP_PER_TERM": ([(0, 1), (1, 1)], [(2, 1)]),
    "LEADER_APPEND_ONLY": ([(False,)], [(True,)]),
    "ACK_IS_DURABLE": ([(2, 2, 3), (2, 3, 2)], [(3, 2, 3), (3, 3, 2)]),
    "BEATS_GROW": ([(1, 1)], [(2, 1)]),
    "READ_NOT_BEFORE_SENTINEL": ([(3, 2, 3), (2, 2, 3)], [(1, 2, 3), (2, 2, 1), (4, 2, 3)]),
    "LOG_MATCHING": (
        [(log(1, 1, 2), log(1, 1, 3)), (log(1, 1), log(1, 1, 1)), (log(), log(1)), (log(1), log(2))],
        [(log(1, 1, 2), other_payload(1, 1, 2)), (log(1, 2, 3), log(2, 2, 3))],
    ),
    "STATE_MACHINE_SAFETY": (
        [(log(1, 1), 1, log(1, 2), 2), (log(1), 0, log(2), 1)],
        [(log(1, 1), 2, log(1, 2), 2), (log(1), 1, other_payload(1), 1)],
    ),
}


def test_every_invariant_has_examples() -> None:
    assert set(EXAMPLES) == set(invariants.ALL)


@pytest.mark.parametrize("name", invariants.ALL)
def test_it_holds_and_can_be_violated(name: str) -> None:
    invariant = invariants.ALL[name]
    holds, violations = EXAMPLES[name]
    assert holds and violations
    for facts in holds:
        invariant.require(*facts)
    for facts in violations:
        with pytest.raises(InvariantViolated, match=f"^{name}: "):
            invariant.require(*facts)


def test_one_leader_per_term() -> None:
    assert invariants.one_leader_per_term([(1, 1), (2, 1), (1, 1), (3, 2)])
    assert not invariants.one_leader_per_term([(1, 1), (2, 1), (1, 2)])


def test_a_violation_stops_a_replica_and_is_no_ordinary_error() -> None:
    assert issubclass(InvariantViolated, AssertionError)
    with pytest.raises(InvariantViolated, match=r"never decreases \(facts: \(2, 1\)\)"):
        invariants.COMMIT_IS_MONOTONIC.require(2, 1)
