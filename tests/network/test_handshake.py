"""Who passes the handshake, and whose process is taken for dead. Both pure."""

import logging

import msgspec
import pytest

from oarlock.network.complaints import BURST, WINDOW_S, Complaints
from oarlock.network.handshake import negotiate, review
from oarlock.network.limits import Limits
from oarlock.network.presence import Presence

from .world import A, B, C, hello_of


def changed(hello, **fields):
    return msgspec.structs.replace(hello, **fields)


@pytest.mark.parametrize(
    ("own", "theirs", "version"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((1, 5), (2, 3), 3), ((1, 1), (2, 3), None), ((4, 5), (1, 3), None)],
)
def test_the_newest_version_that_both_speak_is_negotiated(own, theirs, version):
    one = changed(hello_of(A), oldest_version=own[0], newest_version=own[1])
    other = changed(hello_of(B), oldest_version=theirs[0], newest_version=theirs[1])
    assert negotiate(one, other) == negotiate(other, one) == version


@pytest.mark.parametrize(
    ("theirs", "expected", "code"),
    [
        (hello_of(B), None, None),
        (hello_of(B), B, None),
        (hello_of(C), B, "replica"),
        (hello_of(A), None, "replica"),
        (changed(hello_of(A), nonce=5), None, "replica"),
        (changed(hello_of(B), replica=4), None, None),
        (changed(hello_of(B), cluster_id="x"), B, "cluster"),
        (changed(hello_of(B), oldest_version=3, newest_version=3, cluster_id="x"), B, "version"),
    ],
)
def test_only_the_expected_replica_of_this_cluster_passes(theirs, expected, code):
    refusal = review(hello_of(A), theirs, expected)
    assert (refusal and refusal.code) == code


def test_a_replica_that_reaches_itself_is_told_from_two_of_the_same_id():
    reached_itself = review(hello_of(A), hello_of(A), B)
    same_id = review(hello_of(A), changed(hello_of(A), nonce=5), B)
    assert reached_itself is not None and "dialled itself" in reached_itself.text
    assert same_id is not None and "two processes have the same id" in same_id.text


def test_an_earlier_boot_is_refused_once_a_later_one_was_met():
    presence = Presence()
    assert presence.examine(hello_of(B, 1)) is None
    presence.meet(hello_of(B, 2))
    refusal = presence.examine(hello_of(B, 1))
    assert refusal is not None
    assert refusal.code == "past"
    assert presence.examine(hello_of(B, 2)) is None
    assert presence.examine(hello_of(B, 3)) is None


def test_boots_of_another_incarnation_do_not_compare():
    presence = Presence()
    presence.meet(hello_of(B, 5))
    assert presence.examine(changed(hello_of(B, 1), incarnation=99)) is None
    assert presence.meet(changed(hello_of(B, 1), incarnation=99)), "its predecessor has died all the same"


def test_a_death_is_concluded_once_for_each_life():
    presence = Presence()
    assert not presence.nobody_listens(connected=False), "never met"
    assert not presence.meet(hello_of(B, 1))
    assert not presence.meet(hello_of(B, 1)), "the same process again"
    assert not presence.nobody_listens(connected=True)
    assert presence.nobody_listens(connected=False)
    assert not presence.nobody_listens(connected=False)
    assert not presence.meet(hello_of(B, 2)), "its predecessor was known to be dead"
    assert presence.meet(hello_of(B, 3))


def test_complaints_beyond_the_bound_are_counted_and_told_later(play, caplog, monkeypatch):
    async def scenario():
        complaints = Complaints()
        for _ in range(BURST + 5):
            complaints.say("someone", "nonsense")
        complaints.say("another", "nonsense")
        assert len(caplog.messages) == BURST + 1
        complaints._windows["someone"].began -= WINDOW_S
        complaints.say("someone", "nonsense")
        assert caplog.messages[-1] == "someone: nonsense (5 more like it were not logged)"
        assert caplog.records[-1].levelno == logging.WARNING

    play(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_backoff_s": 2.0},
        {"first_backoff_s": 0},
        {"handshake_frame_bytes": 1 << 30},
        {"strangers": 0},
        {"guests": 0},
        {"guest_look_s": 0},
        {"buffered_bytes": 0},
    ],
)
def test_limits_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError):
        Limits(**wrong)
