"""What must always hold, each named once, as a predicate. Comments elsewhere cite the names.

``require`` is for the cheap ones, which production checks as it goes; those over several logs or replicas are for
simulation and tests. A violated invariant is a bug of this program, never bad input: the replica stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oarlock.errors import InvariantViolated

if TYPE_CHECKING:
    from oarlock.core.log import Log
    from oarlock.types import Entry


class Invariant:
    """A named promise: a sentence, and the predicate that decides it."""

    def __init__(self, name: str, statement: str, holds: Callable[..., bool]) -> None:
        self.name: Final = name
        self.statement: Final = statement
        self.holds: Final = holds

    def require(self, *facts: Any) -> None:
        """Check it.

        :raises InvariantViolated: if it does not hold of these facts.
        """
        if not self.holds(*facts):
            raise InvariantViolated(f"{self.name}: {self.statement} (facts: {facts!r:.500})")


def _contiguous(last_index: int, last_term: int, entries: Sequence[Entry]) -> bool:
    for entry in entries:
        if entry.index != last_index + 1 or entry.term < last_term:
            return False
        last_index, last_term = entry.index, entry.term
    return True


def _logs_match(one: Log, other: Log) -> bool:
    index = min(one.last_index, other.last_index)
    floor = max(one.base_index, other.base_index)
    while index > floor and one.term_at(index) != other.term_at(index):
        index -= 1  # type: ignore[assignment]
    return one.between(floor + 1, index) == other.between(floor + 1, index)


def _committed_agree(one: Log, one_commit: int, other: Log, other_commit: int) -> bool:
    first, last = max(one.base_index, other.base_index) + 1, min(one_commit, other_commit)
    return one.between(first, last) == other.between(first, last)


LOG_IS_CONTIGUOUS = Invariant(
    "LOG_IS_CONTIGUOUS", "indexes in a log have no gaps, and terms never decrease along it", _contiguous
)
TERM_IS_MONOTONIC = Invariant(
    "TERM_IS_MONOTONIC", "a replica's current term never decreases", lambda before, after: after >= before
)
COMMIT_IS_MONOTONIC = Invariant(
    "COMMIT_IS_MONOTONIC", "a commit index never decreases", lambda before, after: after >= before
)
COMMIT_WITHIN_LOG = Invariant(
    "COMMIT_WITHIN_LOG", "what is committed is in the log", lambda commit, last_index: commit <= last_index
)
APPLIED_WITHIN_COMMIT = Invariant(
    "APPLIED_WITHIN_COMMIT",
    "applied never decreases and never passes the commit index",
    lambda before, after, commit: before <= after <= commit,
)
SNAPSHOT_OF_APPLIED = Invariant(
    "SNAPSHOT_OF_APPLIED",
    "a replica's own snapshot holds only what it has applied, and only what a snapshot holds is dropped from the log",
    lambda through, index, applied: through <= index <= applied,
)
SNAPSHOT_STANDS_IN_LOG = Invariant(
    "SNAPSHOT_STANDS_IN_LOG",
    "a replica's newest snapshot stands in its log or at its base: no gap between them, no other entry in its place",
    lambda term_in_log, term: term_in_log == term,
)
RESTORED_AS_A_WHOLE = Invariant(
    "RESTORED_AS_A_WHOLE",
    "a replica whose log begins after what it has applied applies nothing until it has restored the snapshot there",
    lambda before, after, base_index: before >= base_index or after in (before, base_index),
)
COMMITTED_IS_KEPT = Invariant(
    "COMMITTED_IS_KEPT",
    "nothing at or below the commit index is ever truncated",
    lambda truncated_index, commit: truncated_index > commit,
)
COMMIT_OWN_TERM = Invariant(
    "COMMIT_OWN_TERM",
    "a leader commits by counting only entries of its own term (paper, 5.4.2)",
    lambda entry_term, leader_term: entry_term == leader_term,
)
MATCH_IS_MONOTONIC = Invariant(
    "MATCH_IS_MONOTONIC",
    "a follower's match index never decreases while it keeps running, and next stays above match",
    lambda before, after, next_index: before <= after < next_index,
)
ONE_VOTE_PER_TERM = Invariant(
    "ONE_VOTE_PER_TERM",
    "a replica votes for at most one candidate in a term",
    lambda vote, candidate: vote in (0, candidate),
)
ONE_LEADERSHIP_PER_TERM = Invariant(
    "ONE_LEADERSHIP_PER_TERM",
    "a term has at most one leader, and it leads once",
    lambda leader, sender: leader in (0, sender),
)
LEADER_APPEND_ONLY = Invariant(
    "LEADER_APPEND_ONLY",
    "a leader never truncates its log, so followers never hear of one leader's entry twice with different terms",
    lambda is_leader: not is_leader,
)
ACK_IS_DURABLE = Invariant(
    "ACK_IS_DURABLE",
    "an acknowledgement covers only what is durable, and only what its leader's messages proved to match",
    lambda match, durable_index, matched: match <= durable_index and match <= matched,
)
BEATS_GROW = Invariant(
    "BEATS_GROW", "nobody echoes a beat that its leader has not sent", lambda echoed, beat: echoed <= beat
)
READ_NOT_BEFORE_SENTINEL = Invariant(
    "READ_NOT_BEFORE_SENTINEL",
    "no read is verified before the first entry of its leader's term is committed, nor below that entry",
    lambda index, sentinel, commit: sentinel <= commit and sentinel <= index <= commit,
)

LOG_MATCHING = Invariant(
    "LOG_MATCHING", "two logs with an equal (index, term) are equal up to there (paper, 5.3)", _logs_match
)
STATE_MACHINE_SAFETY = Invariant(
    "STATE_MACHINE_SAFETY", "no two replicas commit different entries at one index (paper, 5.4.3)", _committed_agree
)


def one_leader_per_term(leaders: Iterable[tuple[int, int]]) -> bool:
    """Of (term, replica) pairs seen leading, no term has two replicas. ONE_LEADERSHIP_PER_TERM over a cluster."""
    seen: dict[int, int] = {}
    return all(seen.setdefault(term, replica) == replica for term, replica in leaders)


ALL: Mapping[str, Invariant] = {
    value.name: value for value in tuple(globals().values()) if isinstance(value, Invariant)
}
