"""Majorities, against the definition: more than half of the voters, of both halves while joint."""

import itertools
import random

import pytest

from oarlock.core.quorum import VoteResult, count_votes, majority_size, reached, smallest
from oarlock.testing.script.checks import is_quorum
from oarlock.types import Configuration, ReplicaId


def configuration(voters: range | tuple[int, ...], outgoing: tuple[int, ...] = (), learners: tuple[int, ...] = ()):  # type: ignore[no-untyped-def]
    as_ids = [tuple(map(ReplicaId, ids)) for ids in (voters, outgoing, learners)]
    return Configuration((), *as_ids)


def naively_reached(configuration: Configuration, values: dict[ReplicaId, int]) -> int:
    """The highest of the values (or 0) such that a quorum has it or more."""
    return max(value for value in {0, *values.values()} if is_quorum(configuration, lambda r, v=value: values[r] >= v))


def naive_result(configuration: Configuration, votes: dict[ReplicaId, bool]) -> VoteResult:
    if is_quorum(configuration, lambda r: votes.get(r, False)):
        return VoteResult.WON
    still_possible = is_quorum(configuration, lambda r: votes.get(r, True))
    return VoteResult.PENDING if still_possible else VoteResult.LOST


@pytest.mark.parametrize(("voters", "size"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (9, 5)])
def test_majority_size(voters: int, size: int) -> None:
    assert majority_size(voters) == size


@pytest.mark.parametrize("voters", range(1, 6))
def test_reached_for_every_vector_of_up_to_five_voters(voters: int) -> None:
    members = configuration(range(1, voters + 1))
    for vector in itertools.product(range(4), repeat=voters):
        values = dict(zip(members.voters, vector, strict=True))
        assert reached(members, values.__getitem__) == naively_reached(members, values), vector


@pytest.mark.parametrize("voters", range(6, 10))
def test_reached_for_random_vectors_of_up_to_nine_voters(voters: int) -> None:
    rng = random.Random(voters)
    members = configuration(range(1, voters + 1))
    for _ in range(2000):
        values = {voter: rng.randrange(6) for voter in members.voters}
        assert reached(members, values.__getitem__) == naively_reached(members, values), values


@pytest.mark.parametrize("voters", range(1, 10))
def test_votes_for_every_ballot_of_up_to_nine_voters(voters: int) -> None:
    members = configuration(range(1, voters + 1))
    ballots = itertools.product((True, False, None), repeat=voters)
    for ballot in itertools.islice(ballots, 3**8):
        votes = {voter: vote for voter, vote in zip(members.voters, ballot, strict=True) if vote is not None}
        assert count_votes(members, votes) is naive_result(members, votes), votes


def test_joint_configurations_need_both_majorities() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        everyone = range(1, 10)
        new = tuple(rng.sample(everyone, rng.randint(1, 6)))
        old = tuple(rng.sample(everyone, rng.randint(1, 6)))
        joint = configuration(new, old)
        values = {ReplicaId(number): rng.randrange(5) for number in everyone}
        assert reached(joint, values.__getitem__) == naively_reached(joint, values), (joint, values)
        votes = {ReplicaId(number): rng.random() < 0.5 for number in everyone if rng.random() < 0.7}
        assert count_votes(joint, votes) is naive_result(joint, votes), (joint, votes)


def test_learners_and_strangers_are_not_even_asked() -> None:
    members = configuration((1, 2, 3), learners=(4, 5))
    asked = []

    def value_of(replica: ReplicaId) -> int:
        asked.append(replica)
        return 7 if replica > 3 else 0

    assert reached(members, value_of) == 0
    assert set(asked) == {1, 2, 3}
    stuffed = {ReplicaId(4): True, ReplicaId(5): True, ReplicaId(9): True, ReplicaId(1): True}
    assert count_votes(members, stuffed) is VoteResult.PENDING


def test_reached_takes_times_as_well() -> None:
    members = configuration((1, 2, 3))
    assert reached(members, {1: 0.5, 2: 1.5, 3: -1.0}.__getitem__) == 0.5


def test_a_configuration_without_voters_decides_nothing() -> None:
    with pytest.raises(AssertionError):
        reached(configuration(()), lambda replica: 1)


def test_smallest_is_the_shortest_prefix_that_makes_a_quorum() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        everyone = list(map(ReplicaId, range(1, 8)))
        joint = configuration(
            tuple(rng.sample(everyone, rng.randint(1, 7))), tuple(rng.sample(everyone, rng.choice([0, 0, 3])))
        )
        first, *preferred = rng.sample(everyone, 7)
        chosen = smallest(joint, first, preferred)
        assert chosen == preferred[: len(chosen)]
        assert is_quorum(joint, lambda r, c=chosen, f=first: r in c or r == f)
        if chosen:
            fewer = chosen[:-1]
            assert not is_quorum(joint, lambda r, c=fewer, f=first: r in c or r == f)


def test_smallest_takes_all_if_there_is_no_quorum() -> None:
    assert smallest(configuration((1, 2, 3, 4, 5)), ReplicaId(1), [ReplicaId(2)]) == [2]
