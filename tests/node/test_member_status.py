"""What a replica tells of the members: to everyone who they are, and how they do only on the leader."""

from oarlock.core.roles import Follower, Leader
from oarlock.node.member_status import member_statuses
from oarlock.types import NO_REPLICA, Beat, Configuration, Index, Joining, Member, ReplicaId

ONE, TWO, THREE, FOUR, FIVE = (ReplicaId(n) for n in range(1, 6))
CHANGING = Configuration(
    members=tuple(Member(n, f"m{n}:7401", 10 + n) for n in (FIVE, ONE, TWO, THREE, FOUR)),
    voters=(ONE, TWO),
    outgoing=(ONE, TWO, THREE),
    learners=(FOUR, FIVE),
    joining=(Joining(FOUR, replaces=THREE),),
)
SERVERS = {TWO: ("m2:6401", "m2:8401")}


def test_everyone_tells_who_the_members_are() -> None:
    statuses = member_statuses(CHANGING, Follower(ONE, 1.0), Index(0), SERVERS, 5.0)
    assert [(one.replica_id, one.role, one.replaces) for one in statuses] == [
        (1, "voter", NO_REPLICA),
        (2, "voter", NO_REPLICA),
        (3, "leaving", NO_REPLICA),
        (4, "joining", THREE),
        (5, "learner", NO_REPLICA),
    ]
    assert [one.address for one in statuses] == [f"m{n}:7401" for n in range(1, 6)]
    assert [(one.redis_address, one.http_address) for one in statuses[:2]] == [("", ""), ("m2:6401", "m2:8401")]
    assert all(one.match_index is one.last_contact_s is one.installing is None for one in statuses)


def test_only_the_leader_tells_how_they_do() -> None:
    leader = Leader([TWO, THREE, FOUR, FIVE], Index(9), now=4.0)
    leader.progress[TWO].match = Index(8)
    leader.progress[TWO].echoed_at = 4.5
    own, second, *_ = member_statuses(CHANGING, leader, Index(0), SERVERS, 5.0)
    assert (second.match_index, second.last_contact_s, second.installing) == (8, 0.5, False)
    assert (own.match_index, own.last_contact_s, own.installing) == (None, 0.0, None)


def test_who_lacks_what_the_log_has_forgotten_is_being_sent_a_snapshot() -> None:
    leader = Leader([TWO], Index(9), now=4.0)
    assert member_statuses(CHANGING, leader, Index(9), SERVERS, 5.0)[1].installing
    assert member_statuses(CHANGING, leader, Index(8), SERVERS, 5.0)[1].installing is False


def test_the_time_that_an_echo_takes_is_that_of_the_first_message_with_its_beat() -> None:
    leader = Leader([TWO], Index(9), now=4.0)
    progress = leader.progress[TWO]
    for beat, sent_at in ((1, 4.0), (1, 4.2), (2, 4.3)):
        progress.beat_sent(Beat(beat), sent_at)
    progress.echo(Beat(1), Beat(2), 4.5)
    assert member_statuses(CHANGING, leader, Index(0), SERVERS, 5.0)[1].beat_latency_s == 0.5
    progress.beat_sent(Beat(2), 5.0)
    progress.echo(Beat(1), Beat(2), 5.3)
    progress.echo(Beat(2), Beat(2), 6.5)
    assert abs((progress.beat_latency_s or 0) - (0.9 * 0.5 + 0.1 * 1.5)) < 1e-9
