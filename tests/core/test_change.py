"""What a change makes of a configuration: properties of any change, and the refusals that no script tells."""

import random

import msgspec
import pytest

from oarlock.core.change import Change, changed, final, joint, promoted
from oarlock.core.membership import Configurations, encode_configuration
from oarlock.errors import ChangeRefused, ReplicaFailed
from oarlock.types import Configuration, Entry, EntryKind, Index, Joining, Member, ReplicaId, Term


def member(number: int, incarnation: int = 0) -> Member:
    return Member(ReplicaId(number), f"host{number}:7000", incarnation or 100 + number)


def ids(*numbers: int) -> tuple[ReplicaId, ...]:
    return tuple(map(ReplicaId, numbers))


THREE = Configuration(tuple(map(member, (1, 2, 3))), ids(1, 2, 3))


def random_configuration(rng: random.Random) -> Configuration:
    present = sorted(rng.sample(range(1, 8), rng.randint(1, 6)))
    voters = sorted(rng.sample(present, rng.randint(1, len(present))))
    learners = [number for number in present if number not in voters]
    joining = [Joining(ReplicaId(n), rng.choice(ids(0, *voters))) for n in learners if rng.random() < 0.5]
    gone = [number for number in range(1, 8) if number not in present and rng.random() < 0.3]
    return Configuration(tuple(map(member, present)), ids(*voters), (), ids(*learners), tuple(joining), ids(*gone))


def random_change(rng: random.Random) -> Change:
    def some() -> list[int]:
        return rng.sample(range(1, 9), rng.choice((0, 0, 1, 2)))

    return Change(
        add=tuple(map(member, some())),
        replace=tuple((ReplicaId(rng.randint(1, 8)), member(n, rng.choice((0, 900 + n)))) for n in some()),
        remove=ids(*some()),
        move=tuple((ReplicaId(n), f"other{n}:7000") for n in some()),
        as_learners=rng.random() < 0.5,
    )


def is_sound(configuration: Configuration) -> bool:
    present = {each.id for each in configuration.members}
    voters, learners = set(configuration.voters), set(configuration.learners)
    return (
        bool(voters)
        and present == voters | learners | set(configuration.outgoing)
        and not voters & learners
        and {joining.id for joining in configuration.joining} <= learners
        and not present & set(configuration.removed)
        and len({each.address for each in configuration.members}) == len(configuration.members)
    )


@pytest.mark.parametrize("seed", range(1000))
def test_whatever_is_asked_for_the_outcome_is_sound(seed: int) -> None:
    rng = random.Random(seed)
    before = random_configuration(rng)
    assert is_sound(before)
    try:
        after = changed(before, random_change(rng))
        between = joint(before, after)
    except ChangeRefused:
        return
    assert is_sound(after)
    assert is_sound(between)
    assert final(between) == after
    assert set(between.outgoing) in (set(), set(before.voters))
    assert (between.outgoing == ()) == (before.voters == after.voters)
    assert set(before.removed) <= set(between.removed) <= set(after.removed)
    if after.joining:
        ready = [joining.id for joining in after.joining if rng.random() < 0.7]
        try:
            grown = promoted(after, ready)
        except ChangeRefused:
            raise AssertionError("a promotion adds voters") from None
        assert is_sound(grown)
        assert set(ready) <= set(grown.voters)
        assert not set(ready) & {joining.id for joining in grown.joining}


@pytest.mark.parametrize("seed", range(300))
def test_a_change_that_only_names_new_members_can_be_repeated(seed: int) -> None:
    rng = random.Random(seed)
    before = random_configuration(rng)
    change = Change(
        add=(member(8),), remove=ids(rng.randint(1, 7)), move=((before.members[0].id, "other:7000"),) * (seed % 2)
    )
    try:
        after = changed(before, change)
    except ChangeRefused:
        return
    if change.remove[0] not in [who for who, _ in change.move]:
        assert changed(after, change) == after


def test_a_learner_is_replaced_at_once_and_its_place_is_kept() -> None:
    before = changed(THREE, Change(replace=((ReplicaId(2), member(4)),)))
    after = changed(before, Change(replace=((ReplicaId(4), member(5)),)))
    assert after.learners == ids(5)
    assert after.joining == (Joining(ReplicaId(5), ReplicaId(2)),)
    assert after.removed == ids(4)
    assert joint(before, after) == after


def test_a_learner_that_lost_its_disk_stays_one() -> None:
    before = changed(THREE, Change(add=(member(4),), as_learners=True))
    after = changed(before, Change(replace=((ReplicaId(4), member(4, 999)),)))
    assert (after.voters, after.learners, after.joining) == (THREE.voters, ids(4), ())
    assert after.member(ReplicaId(4)) == msgspec.structs.replace(member(4, 999), generation=1)


def test_a_directory_that_was_made_before_another_rejoined_is_refused() -> None:
    def rejoining(incarnation: int, generation: int) -> Change:
        return Change(replace=((ReplicaId(2), msgspec.structs.replace(member(2, incarnation), generation=generation)),))

    once = changed(THREE, rejoining(991, 1))
    assert changed(once, rejoining(991, 1)) == once, "it is the same"
    with pytest.raises(ChangeRefused, match="has rejoined since"):
        changed(once, rejoining(992, 1))
    again = changed(once, rejoining(993, 2)).member(ReplicaId(2))
    assert again is not None and again.generation == 2


def test_what_was_to_be_replaced_may_leave_before() -> None:
    before = changed(THREE, Change(replace=((ReplicaId(2), member(4)),)))
    after = changed(before, Change(remove=ids(2)))
    assert after.joining == (Joining(ReplicaId(4)),)


def test_a_learner_is_made_a_voter_by_adding_it_again() -> None:
    before = changed(THREE, Change(add=(member(4),), as_learners=True))
    assert before.joining == ()
    assert changed(before, Change(add=(member(4),))).joining == (Joining(ReplicaId(4)),)


def test_who_votes_or_is_to_is_not_said_to_be_a_learner() -> None:
    with pytest.raises(ChangeRefused, match="replica 2 is a voter already"):
        changed(THREE, Change(add=(member(2),), as_learners=True))
    joining = changed(THREE, Change(add=(member(4),)))
    with pytest.raises(ChangeRefused, match="replica 4 is to become a voter already"):
        changed(joining, Change(add=(member(4),), as_learners=True))
    learner = changed(THREE, Change(add=(member(4),), as_learners=True))
    assert changed(learner, Change(add=(member(4),), as_learners=True)) == learner


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change(add=(Member(ReplicaId(0), "host:7000", 1),)), "needs an id, an address and an incarnation"),
        (Change(add=(Member(ReplicaId(4), "", 1),)), "needs an id, an address and an incarnation"),
        (Change(add=(Member(ReplicaId(4), "host:7000"),)), "needs an id, an address and an incarnation"),
        (Change(replace=((ReplicaId(2), Member(ReplicaId(2), "host2:7000")),)), "needs an id, an address"),
        (Change(add=(member(2, 999),)), "there is a replica 2 already, with another data directory"),
        (Change(replace=((ReplicaId(2), Member(ReplicaId(2), "other:7000", 102)),)), "move it"),
        (Change(remove=ids(2), move=((ReplicaId(2), "other:7000"),)), "there is no replica 2"),
    ],
)
def test_what_contradicts_itself_or_what_is_there_is_refused(change: Change, sentence: str) -> None:
    with pytest.raises(ChangeRefused, match=sentence):
        changed(THREE, change)


def entry(index: int, payload: bytes) -> Entry:
    return Entry(Index(index), Term(2), EntryKind.CONFIGURATION, 0, payload)


def test_a_configuration_that_cannot_be_read_names_its_entry() -> None:
    with pytest.raises(ReplicaFailed, match="entry 7 of term 2 is a configuration that this version cannot read"):
        Configurations(THREE, [entry(7, b"\xc1")], Index(0))


def test_the_committed_configuration_is_that_of_the_commit_index() -> None:
    two = changed(THREE, Change(remove=ids(3)))
    one = changed(two, Change(remove=ids(2)))
    configurations = Configurations(
        THREE, [entry(3, encode_configuration(two)), entry(5, encode_configuration(one))], Index(0)
    )
    assert [configurations.at(Index(index)) for index in range(2, 7)] == [THREE, two, two, one, one]
    assert (configurations.current, configurations.index) == (one, 5)
