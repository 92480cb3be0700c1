"""Reads without commits: the numbered scenarios, and the shortcuts that are wrong (docs/architecture.md, reads).

Left out, because they are not here: leases, which do not exist; and what a node does with a confirmed index (waiting
until it has applied it, and telling a late answer to its former life from one to itself), which its own tests cover.
"""

import pytest

from oarlock.core import Config
from oarlock.core.membership import encode_configuration
from oarlock.core.messages import AppendAck, AppendEntries, RequestVote, RequestVoteReply, TimeoutNow
from oarlock.errors import AuthorityTimedOut, NotLeader, Overloaded, TermElapsed
from oarlock.types import Configuration, EntryKind, ReplicaId
from tests.core.cluster import Cluster


def depose(c: Cluster, old: int, new: int) -> None:
    """``old`` is cut off and does not know that ``new`` leads; nothing reaches it but what was already on its way."""
    others = [number for number in c.replicas if number != old]
    c.partition({old}, others)
    c.elect(new)
    assert c[old].leads and c[new].leads


# ── the numbered scenarios ───────────────────────────────────────────────────────────────────────────────────────


def test_scenario_34_a_paused_leader_wakes_up_with_reads_in_its_sockets() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.pause(1)
    c.advance(5)
    assert c.leader in (2, 3)
    c.propose(c.leader, b"new")
    c.advance(0.1)
    early = c.read(1)  # it handles the clients' reads first ...
    assert early.pending
    c.wake(1)
    c.settle()  # ... then what its peers sent meanwhile
    assert isinstance(early.error, TermElapsed)
    assert not c[1].leads
    assert c[1].payloads == [b"new"]


def test_scenario_34_a_paused_leader_that_hears_nothing_steps_down_before_it_serves() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.partition({1}, {2, 3})
    c.wait(5)
    c.timeout(1)
    assert isinstance(c.read(1).error, NotLeader)


def test_scenario_41_no_read_before_the_sentinel_is_committed() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.settle()
    c.crash(1)
    c.stall_disk(2, 3)
    c.stand(2)
    c.settle()
    for number in (2, 3):
        c.persist(number)  # the vote
        c.settle()
    assert c[2].leads
    c.drop(3, 2)
    read = c.read(2)
    c.advance(0.02)
    leader = c[2].raft.role
    assert leader.confirmed == leader.beat > 0, "its beat is back"  # type: ignore[union-attr]
    assert read.pending
    c.recover_disk(2, 3)
    c.advance(0.2)
    assert read.index == c[2].raft.log.last_index


def test_scenario_42_a_deposed_leader_in_a_minority_confirms_nothing() -> None:
    c = Cluster(5)
    c.elect(1)
    c.settle()
    c.partition({1, 2}, {3, 4, 5})
    c.elect(3)
    c.propose(3, b"new")
    c.settle()
    read = c.read(1)
    c.settle()
    assert read.pending
    c.advance(2)
    assert isinstance(read.error, TermElapsed)


def test_scenario_43_an_old_echo_confirms_nothing_in_a_later_term() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    for _ in range(5):
        c.read(1)
        c.settle()
    c.read(1)
    c.deliver(1, 2, AppendEntries)
    old = c.hold(2, 1, AppendAck)
    c.partition({1}, {2, 3})
    c.elect(3)
    c.propose(3, b"new")
    c.heal()
    c.advance(0.2)
    c.crash(3)
    c.drop()
    c.elect(1)
    c.crash(2)
    assert c[1].raft.role.beat < 5  # type: ignore[union-attr]
    second = c.read(1)
    c.release(old)
    c.settle()
    assert second.pending, "that echo was of another leadership"


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 7])
def test_scenario_44_the_quorum_of_a_read_is_exactly_a_majority(voters: int) -> None:
    c = Cluster(voters)
    c.elect(1)
    c.settle()
    read = c.read(1)
    needed = {1: 0, 2: 1, 3: 1, 4: 2, 5: 2, 7: 3}[voters]
    for echoes, follower in enumerate(range(2, needed + 2)):
        assert read.pending, f"confirmed by {echoes} of {needed} echoes"
        c.deliver(1, follower, AppendEntries)
        c.deliver(follower, 1, AppendAck)
    assert not read.pending, "a majority is enough"


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 7])
def test_scenario_44_so_is_the_quorum_of_a_commit_and_of_an_election(voters: int) -> None:
    majority = {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 7: 4}[voters]
    for alive in range(1, voters + 1):
        c = Cluster(voters)
        c.partition(set(range(1, alive + 1)), set(range(alive + 1, voters + 1)))
        for number in range(alive + 1, voters + 1):
            c.crash(number)
        c.advance(10)
        assert bool(c.leader) is (alive >= majority), f"{alive} of {voters} elect"
        c = Cluster(voters)
        c.elect(1)
        c.settle()
        for number in range(alive + 1, voters + 1):
            c.crash(number)
        c.propose(1, b"x")
        c.settle()
        assert bool(c[1].payloads) is (alive >= majority), f"{alive} of {voters} commit"


def test_scenario_59_echoes_come_at_once_while_a_followers_disk_stalls() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.crash(3)
    c.stall_disk(2)
    c.propose(1, b"x")
    c.settle()
    read = c.read(1)
    c.settle()
    assert read.index == 1, "a read needs the echo, not the disk"
    c.advance(10)
    assert c.leader == 1 and c[1].raft.term == 1, "the echoes keep the leader in office"
    assert c[1].payloads == [], "but nothing is committed that is not durable"
    c.recover_disk(2)
    c.settle()
    assert c[1].payloads == [b"x"]


# ── shortcuts that are wrong ─────────────────────────────────────────────────────────────────────────────────────


def test_shortcut_a_later_commit_as_proof() -> None:
    c = Cluster(3)
    c.elect(1)
    c.advance(0.1)
    c.propose(1, b"x")
    c.deliver(1, 2, AppendEntries)
    before_the_read = c.hold(2, 1, AppendAck)
    depose(c, 1, 2)
    c.propose(2, b"y")
    c.settle()
    read = c.read(1)
    c.release(before_the_read)
    c.settle()
    assert c[1].payloads == [b"x"], "the commit index has passed the read's ..."
    assert read.pending, "... which proves nothing: y was committed before the read began"


def test_shortcut_acks_received_after_the_call_for_messages_from_before() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.wait(0.1)
    c.timeout(1)
    c.deliver(1, 2, AppendEntries)
    c.deliver(1, 3, AppendEntries)
    before_the_read = c.hold(kind=AppendAck)
    assert len(before_the_read) == 2
    depose(c, 1, 3)
    c.propose(3, b"new")
    c.settle()
    read = c.read(1)
    c.release(before_the_read)
    c.settle()
    assert read.pending


def test_shortcut_acks_of_the_round_in_flight_when_the_call_came() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    first = c.read(1)
    c.deliver(1, 2, AppendEntries)
    in_flight = c.hold(2, 1, AppendAck)
    depose(c, 1, 3)
    c.propose(3, b"new")
    c.settle()
    second = c.read(1)
    c.release(in_flight)
    c.settle()
    assert first.index == 1, "it began before the new leader's write"
    assert second.pending


def test_shortcut_counting_learners() -> None:
    c = Cluster(3, learners=2)
    c.elect(1)
    c.settle()
    for voter in (2, 3):
        c.crash(voter)
    read = c.read(1)
    c.wait(0.1)
    c.timeout(1)
    c.settle()
    assert c[1].raft.role.progress[4].echoed >= 1  # type: ignore[union-attr]
    assert read.pending


def test_one_voter_confirms_itself_whatever_its_learners_do() -> None:
    c = Cluster(1, learners=2)
    c.elect(1)
    for learner in (2, 3):
        c.crash(learner)
    assert c.read(1).index == 1


def test_shortcut_counting_oneself_after_leaving_the_configuration() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    current = c[1].raft.configuration
    left = Configuration(current.members, (ReplicaId(2), ReplicaId(3)))
    c[1].raft.propose(encode_configuration(left), c.now, kind=EntryKind.CONFIGURATION)
    c.read(1)  # carries the entry out
    c.advance(0.1)
    c.drop()
    assert c[1].leads
    read = c.read(1)
    c.wait(0.1)
    c.timeout(1)
    c.deliver(1, 2, AppendEntries)
    c.deliver(1, 2, AppendEntries)
    c.settle_only(AppendAck)
    assert read.pending, "2 alone is no majority of 2 and 3"
    c.propose(1, b"x")
    c.drop(1, 3)
    c.settle()
    assert b"x" not in c[1].payloads, "nor is it for a commit"


@pytest.mark.parametrize("answering", [(2, 3), (4, 5)])
def test_shortcut_counting_only_one_half_of_a_joint_configuration(answering: tuple[int, ...]) -> None:
    c = Cluster(3, outgoing=(1, 4, 5))
    c.elect(1)
    c.settle()
    c.partition({1, *answering}, {2, 3, 4, 5} - set(answering))
    read = c.read(1)
    c.wait(0.1)
    c.timeout(1)
    c.settle()
    c.propose(1, b"x")
    c.settle()
    assert read.pending
    assert c[1].payloads == []
    c.heal()
    c.wait(0.1)
    c.timeout(1)
    c.settle()
    assert read.index == 1


@pytest.mark.parametrize("answering", [(2, 3), (4, 5)])
def test_a_joint_configuration_elects_by_both_halves(answering: tuple[int, ...]) -> None:
    c = Cluster(3, outgoing=(1, 4, 5))
    c.partition({1, *answering}, {2, 3, 4, 5} - set(answering))
    c.advance(10)
    assert not c.leader
    c.heal()
    c.advance(10)
    assert c.leader


def test_shortcut_serving_before_the_sentinel_after_a_restart() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.advance(0.2)
    for number in (1, 2, 3):
        c.crash(number)
        c.drop()
    for number in (1, 2, 3):
        c.restart(number)
    c.elect_without_delivering_appends(2)
    assert c[2].raft.commit_index == 0, "it does not know yet how much is committed"
    c.stall_disk(1, 3)
    read = c.read(2)
    c.settle()
    assert c[2].raft.role.confirmed > 0  # type: ignore[union-attr]
    assert read.pending, "its beat is back, but the sentinel is not durable at a majority"
    c.recover_disk(1, 3)
    c.settle()
    assert read.index == 3


def test_shortcut_a_sentinel_flag_that_survives_into_the_next_term() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.advance(0.2)
    c.hand_over(1, 2)
    c.settle()
    c.propose(2, b"y")
    c.advance(0.2)
    c.hand_over(2, 1)
    for kind in (TimeoutNow, RequestVote, RequestVoteReply):
        c.settle_only(kind)
    assert c[1].leads
    c.stall_disk(2, 3)
    assert c[1].raft.role.sentinel > c[1].raft.commit_index  # type: ignore[union-attr]
    read = c.read(1)
    c.settle()
    assert c[1].raft.role.confirmed > 0  # type: ignore[union-attr]
    assert read.pending
    c.recover_disk(2, 3)
    c.settle()
    assert read.index == c[1].raft.log.last_index


def test_shortcut_a_request_id_that_its_caller_uses_again() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    raft = c[1].raft
    raft.verify_authority("same", c.now, c.now + 9)
    messages = raft.ready().messages
    c[2].raft.receive(ReplicaId(1), messages[0][1], c.now)
    (_, echo), *_ = c[2].raft.ready().messages
    raft.receive(ReplicaId(2), echo, c.now)
    assert len(raft.ready().reads) == 1
    raft.verify_authority("same", c.now, c.now + 9)
    assert raft.ready().reads == []
    raft.receive(ReplicaId(2), echo, c.now)
    assert raft.ready().reads == [], "the first request's echo confirms the second"


def test_shortcut_a_lost_round_hangs_its_reads() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    read = c.read(1)
    assert c.drop() == 1, "a round goes to just enough voters for a majority"
    c.advance(0.02)
    assert read.index == 1, "it was widened to the others"
    read = c.read(1)
    c.drop()
    c.wait(c.config.round_widen_s)
    c.timeout(1)
    c.drop()
    assert read.pending
    c.advance(0.2)
    assert read.index == 1, "a heartbeat repeated the beat"


def test_shortcut_a_read_that_nobody_answers_hangs() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.partition({1}, {2, 3})
    read = c.read(1, timeout_s=0.5)
    patient = c.read(1)
    c.advance(0.51)
    assert isinstance(read.error, AuthorityTimedOut)
    c.advance(1)
    assert isinstance(patient.error, TermElapsed)


def test_shortcut_each_read_has_its_own_deadline() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.partition({1}, {2, 3})
    reads = [c.read(1, timeout_s=timeout_s) for timeout_s in (0.3, 0.1, 0.2)]
    ended = []
    for _ in range(3):
        c.advance(0.1001)
        ended.append([not read.pending for read in reads])
    assert ended == [[False, True, False], [False, True, True], [True, True, True]]


def test_shortcut_tokens_without_bound_while_a_peer_is_dead() -> None:
    c = Cluster(3, config=Config(max_reads=3))
    c.elect(1)
    c.settle()
    c.partition({1}, {2, 3})
    reads = [c.read(1) for _ in range(4)]
    assert [read.pending for read in reads] == [True, True, True, False]
    assert isinstance(reads[3].error, Overloaded)


def test_shortcut_the_same_term_led_twice_by_a_candidate_that_lost_its_vote() -> None:
    """Old echoes would match new beats. ``checks.py`` fails if one term is led a second time."""
    c = Cluster(3)
    c.stall_disk(1)
    c.stand(1)
    c.settle()
    read = c.read(1)
    c.settle()
    c.crash(1)
    c.recover_disk(1)
    c.restart(1)
    c.elect(1)
    assert read.outcome is None or isinstance(read.error, NotLeader)


def test_shortcut_a_paused_process_with_old_echoes_in_its_sockets() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.wait(0.1)
    c.timeout(1)
    c.deliver(1, 2, AppendEntries)
    c.deliver(1, 3, AppendEntries)
    c.pause(1)  # the echoes of that heartbeat wait in its sockets
    c.advance(5)
    c.propose(c.leader, b"new")
    c.advance(0.2)
    read = c.read(1)  # waited in a client's socket
    c.wake(1)
    c.deliver(2, 1, AppendAck)
    c.deliver(3, 1, AppendAck)
    assert c[1].leads, "it has not heard yet that it is deposed"
    assert read.pending
    c.settle()
    assert isinstance(read.error, TermElapsed)


@pytest.mark.parametrize("writes", [False, True])
def test_shortcut_reads_that_keep_a_deaf_leader_in_office(writes: bool) -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    for follower in (2, 3):
        c.silence(follower, 1)  # followers hear the leader; it does not hear them
    for _ in range(130):
        if writes:
            c.try_to_propose(1, b"x")  # the round rides on the entry
        c.read(1)
        c.advance(0.01)
    assert not c[1].leads, "reads do not count as having heard a majority"


def test_shortcut_reads_that_reset_election_timers_more_than_beats_do() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    for follower in (2, 3):
        c.silence(follower, 1)
    sent = 0
    for _ in range(90):
        c.read(1)
        sent += len(c.in_flight(1, 2, AppendEntries))
        c.advance(0.01)
    assert sent <= 2, "while a round is not back, reads send nothing of their own"
    deadline = c[2].raft.role.election_deadline  # type: ignore[union-attr]
    c.partition({1}, {2, 3})
    c.read(1)
    c.settle()
    assert c[2].raft.role.election_deadline == deadline  # type: ignore[union-attr]
    c.advance(3)
    assert c.leader in (2, 3)


def test_shortcut_reads_that_put_off_heartbeats() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.wait(c.config.heartbeat_s)
    c.timeout(1)
    c.settle()  # from here on every round is confirmed by 2 alone
    for _ in range(300):
        c.read(1)
        c.advance(0.01)
        heard_at = c[3].raft.role.heard_at  # type: ignore[union-attr]
        assert c.now - heard_at <= 1.5 * c.config.heartbeat_s, "3 hears of its leader, although no round needs it"


def test_reads_that_arrive_while_a_round_is_in_flight_share_the_next() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    first = c.read(1)
    sent = len(c.in_flight(1))
    others = [c.read(1) for _ in range(50)]
    assert len(c.in_flight(1)) == sent == 1
    c.deliver(1, 2, AppendEntries)
    c.deliver(2, 1, AppendAck)
    assert first.index == 1 and all(read.pending for read in others)
    assert len(c.in_flight(1)) == 1
    c.settle()
    assert [read.index for read in others] == [1] * 50


def test_a_follower_refuses_at_once_and_names_the_leader() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    error = c.read(2).error
    assert isinstance(error, NotLeader) and error.leader == 1
