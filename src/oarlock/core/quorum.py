"""The one place that counts majorities: of votes, of match indexes, of echoed beats, of times.

All four are the same question: what is the highest value that a majority has reached? It is right for any number
of voters, odd or even, and in a joint configuration asks both majorities (thesis, section 4.3).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from oarlock.types import Configuration, ReplicaId

Value = TypeVar("Value", int, float)


class VoteResult(Enum):
    """What the votes so far amount to."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority_size(voters: int) -> int:
    """How many of so many voters make a majority: 1 of 1, 2 of 2, 2 of 3, 3 of 4, 3 of 5."""
    return voters // 2 + 1


def reached(configuration: Configuration, value_of: Callable[[ReplicaId], Value]) -> Value:
    """The highest value that a majority has reached; in a joint configuration, majorities of both halves.

    ``value_of`` is asked for voters only, so learners never count, nor does a leader that is not a voter. Of the
    outgoing half those do not count that are learners by now: they have lost their disks, and what their former
    incarnations promised is forgotten (``change.py``, rejoin). Without them there is a majority, or no such change.
    """
    value = _reached_by(configuration.voters, len(configuration.voters), value_of)
    if configuration.outgoing:
        remembering = [voter for voter in configuration.outgoing if voter not in configuration.learners]
        value = min(value, _reached_by(remembering, len(configuration.outgoing), value_of))
    return value


def count_votes(configuration: Configuration, votes: Mapping[ReplicaId, bool]) -> VoteResult:
    """Whether the votes cast so far win, can no longer win, or leave it open."""
    if reached(configuration, lambda voter: int(votes.get(voter, False))):
        return VoteResult.WON
    if not reached(configuration, lambda voter: int(votes.get(voter, True))):
        return VoteResult.LOST
    return VoteResult.PENDING


def smallest(configuration: Configuration, first: ReplicaId, preferred: Iterable[ReplicaId]) -> list[ReplicaId]:
    """A prefix of ``preferred`` that, together with ``first``, is a quorum; all of it if none is."""
    chosen = [first]
    for replica in preferred:
        if reached(configuration, lambda voter: int(voter in chosen)):
            break
        chosen.append(replica)
    return chosen[1:]


def _reached_by(voters: Sequence[ReplicaId], of: int, value_of: Callable[[ReplicaId], Value]) -> Value:
    assert len(voters) >= majority_size(of), "a configuration without a majority decides nothing"
    return sorted(map(value_of, voters))[-majority_size(of)]
