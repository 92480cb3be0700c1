"""Raft's promises over several replicas: each breach is found, when it is there to be seen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oarlock.core.log import Log
from oarlock.core.roles import Leader
from oarlock.errors import InvariantViolated
from oarlock.testing.simulation.safety import Safety
from oarlock.types import Entry, EntryKind, Index, Term

pytestmark = pytest.mark.interpreted


def entry(index: int, term: int, payload: bytes = b"") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.BATCH, 0, payload)


class Replica:
    """As much of a host and its core as is looked at."""

    def __init__(self, safety: Safety, id: int) -> None:
        self.safety = safety
        self.lives = 1
        self.raft = SimpleNamespace(id=id, term=0, log=Log(Index(0), Term(0)), commit_index=0, role=None)
        self.node = SimpleNamespace(_raft=self.raft)

    def holds(self, *terms: int, payload: bytes = b"") -> Replica:
        """Its log holds entries of these terms; what differs is replaced."""
        log = self.raft.log
        for index, term in enumerate(terms, start=1):
            if log.term_at(Index(index)) not in (None, term):
                log.truncate_from(Index(index))
            if index > log.last_index:
                log.append([entry(index, term, payload)])
        return self

    def at(self, term: int = 0, commit: int = 0, leads: bool = False) -> None:
        """It has moved, and somebody looks."""
        self.raft.term = max(self.raft.term, term)
        self.raft.commit_index = commit or self.raft.commit_index
        self.raft.role = Leader.__new__(Leader) if leads else None
        self.look()

    def look(self) -> None:
        self.safety.stepped(self)  # type: ignore[arg-type]


@pytest.fixture
def replicas() -> list[Replica]:
    safety = Safety()
    return [Replica(safety, id) for id in (1, 2, 3)]


def test_a_good_life_is_not_objected_to(replicas: list[Replica]) -> None:
    one, two, three = replicas
    one.holds(1, 1).at(term=1, leads=True)
    two.holds(1, 1).at(term=1)
    one.at(commit=2)
    two.at(commit=1)
    three.holds(1, 1, 1).at(term=1)  # of a leader that nobody has looked at since
    two.holds(1, 1, 2).at(term=2, leads=True)
    three.holds(1, 1, 2).at(term=2, commit=3)
    assert one.safety.leaderships == {1: (1, 1), 2: (2, 1)}
    assert one.safety.committed == [0, 1, 1, 2]


@pytest.mark.parametrize("who", [0, 1])
def test_a_term_has_one_leadership(replicas: list[Replica], who: int) -> None:
    """Of another replica, or of the same in another life."""
    replicas[0].at(term=3, leads=True)
    replicas[0].at(leads=True)
    again = replicas[who]
    again.lives += 1
    with pytest.raises(InvariantViolated, match="ONE_LEADERSHIP_PER_TERM"):
        again.at(term=3, leads=True)


def test_what_is_committed_is_committed_everywhere(replicas: list[Replica]) -> None:
    replicas[0].holds(1, 1).at(term=1, commit=2)
    with pytest.raises(InvariantViolated, match=r"STATE_MACHINE_SAFETY.*replica 2 committed index 2 of term 2"):
        replicas[1].holds(1, 2).at(term=2, commit=2)


def test_one_index_and_term_is_one_entry(replicas: list[Replica]) -> None:
    replicas[0].holds(1, payload=b"one").at(term=1)
    with pytest.raises(InvariantViolated, match=r"LOG_MATCHING.*replica 2 at index 1, term 1"):
        replicas[1].holds(1, payload=b"other").at(term=1)


def test_one_index_and_term_has_one_past(replicas: list[Replica]) -> None:
    replicas[0].holds(1, 3).at(term=3)
    with pytest.raises(InvariantViolated, match=r"LOG_MATCHING.*replica 2 at index 2, term 3"):
        replicas[1].holds(2, 3).at(term=3)


def test_entries_that_replaced_others_are_looked_at(replicas: list[Replica]) -> None:
    one, two, _ = replicas
    two.holds(1, 3, payload=b"two").at(term=3)
    one.holds(1, 2, payload=b"two").at(term=2)
    with pytest.raises(InvariantViolated, match="LOG_MATCHING"):
        one.holds(1, 3, payload=b"another").at(term=3)


def test_a_leader_holds_what_is_committed(replicas: list[Replica]) -> None:
    replicas[0].holds(1, 1).at(term=1, commit=2)
    with pytest.raises(InvariantViolated, match="LEADER_COMPLETENESS"):
        replicas[1].holds(1).at(term=2, leads=True)


def test_a_leader_need_not_hold_what_was_committed_in_terms_after_its_own(replicas: list[Replica]) -> None:
    replicas[0].holds(1, 3).at(term=3, commit=2)
    replicas[1].holds(1).at(term=2, leads=True)  # it does not know yet, and can do no harm


@pytest.mark.parametrize(("name", "promise"), [("term", "TERM_IS_MONOTONIC"), ("commit_index", "COMMIT_IS_MONOTONIC")])
def test_what_grows_does_not_go_back_within_a_life(replicas: list[Replica], name: str, promise: str) -> None:
    one = replicas[0]
    one.holds(1, 1).at(term=2, commit=2)
    setattr(one.raft, name, 1)
    with pytest.raises(InvariantViolated, match=promise):
        one.look()


def test_the_commit_index_starts_again_with_a_life(replicas: list[Replica]) -> None:
    one = replicas[0]
    one.holds(1, 1).at(term=2, commit=2)
    one.lives += 1
    one.raft.commit_index = 1
    one.look()
