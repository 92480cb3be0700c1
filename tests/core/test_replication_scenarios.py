"""Commit and replication, by the numbers of the catalogue of what a Raft must survive."""

import pytest

from oarlock.core import Config
from oarlock.core.invariants import COMMITTED_IS_KEPT
from oarlock.core.log import Log, Mark
from oarlock.core.membership import encode_configuration
from oarlock.core.messages import AppendAck, AppendEntries, AppendReject
from oarlock.core.roles import Leader
from oarlock.errors import InvariantViolated
from oarlock.types import Beat, Configuration, Entry, EntryKind, Index, Member, ReplicaId, Term
from tests.core.cluster import Cluster, past_entry
from tests.core.durable import DurableState

ONE_ENTRY_EACH = Config(max_append_bytes=1)


def progress(c: Cluster, leader: int, follower: int):  # type: ignore[no-untyped-def]
    role = c[leader].raft.role
    assert isinstance(role, Leader)
    return role.progress[ReplicaId(follower)]


def heartbeat(c: Cluster, leader: int) -> None:
    c.wait(c.config.heartbeat_s)
    c.timeout(leader)


# ── commit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_scenario_01_figure_8_an_old_terms_entry_on_a_majority_is_not_committed() -> None:
    c = Cluster(
        5,
        logs={1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]},
        terms=dict.fromkeys(range(1, 6), 3),
        config=ONE_ENTRY_EACH,
    )
    c.partition({1, 2, 3, 4}, {5})
    c.elect_without_delivering_appends(1)
    c.stall_disk(2)  # it will hold the entry of term 2 durably, and the sentinel not
    c.deliver(1, 2, AppendEntries)
    c.deliver(2, 1, AppendAck)
    c.deliver(1, 3, AppendEntries)
    c.deliver(3, 1, AppendReject)
    c.deliver(1, 3, AppendEntries)  # figure 8 (c): 3 gets the entry of term 2 ...
    c.settle_only(AppendAck)
    held = [progress(c, 1, peer).match for peer in (2, 3)]
    assert min(held) >= 2, "the entry of term 2 is on a majority"
    assert c[1].raft.commit_index == 0, "... and yet is not committed"

    c.drop()
    for number in (1, 2):
        c.crash(number)
    c.recover_disk(2)
    c.restart(2)
    c.heal()
    c.elect(5)  # figure 8 (d): the entry is overwritten everywhere
    c.advance(1)
    assert [c[number].terms[1] for number in (2, 3, 4, 5)] == [3, 3, 3, 3]


def test_scenario_01_figure_8_an_entry_of_its_own_term_commits_the_older_ones() -> None:
    c = Cluster(5, logs={1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]}, terms=dict.fromkeys(range(1, 6), 3))
    c.partition({1, 2, 3}, {4, 5})
    c.elect(1)
    assert c[1].raft.commit_index == 3
    c.crash(1)
    c.heal()
    c.advance(10)  # figure 8 (e): 5 cannot win any more
    assert c.leader in (2, 3)


def test_scenario_05_the_commit_index_of_an_unsorted_match_vector() -> None:
    c = Cluster(5, config=ONE_ENTRY_EACH)
    c.elect(1)
    c.settle()
    for number in range(5):
        c.propose(1, b"%d" % number)
    for follower, count in ((3, 5), (2, 1), (5, 3), (4, 0)):
        for _ in range(count):
            c.deliver(1, follower, AppendEntries)
            c.deliver(follower, 1, AppendAck)
    assert [progress(c, 1, peer).match for peer in (2, 3, 4, 5)] == [2, 6, 1, 4]
    assert c[1].raft.commit_index == 4


def test_scenario_05_a_stale_match_vector_changes_nothing() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.deliver(1, 2, AppendEntries)
    old = c.duplicate(2, 1, AppendAck)
    c.settle()
    c.propose(1, b"y")
    c.settle()
    c.release(old)
    c.settle()
    assert c[1].raft.commit_index == 3


def test_scenario_06_a_followers_commit_index_does_not_follow_an_older_message_back() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    old = c.duplicate(1, 2, AppendEntries)
    c.settle()
    assert c[2].raft.commit_index == 2
    c.release(old)
    c.settle()
    assert c[2].raft.commit_index == 2


def test_scenario_06_a_leaders_commit_index_survives_a_follower_that_starts_over() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.partition({1, 2}, {3})
    c.propose(1, b"x")
    c.settle()
    c.crash(2)
    c.restart(2)
    assert progress(c, 1, 2).match == 0
    c.propose(1, b"y")
    assert c[1].raft.commit_index == 2
    c.advance(0.2)
    assert c[1].raft.commit_index == 3


def test_scenario_07_match_and_next_do_not_follow_delayed_or_repeated_replies_back() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.deliver(1, 2, AppendEntries)
    old = c.duplicate(2, 1, AppendAck)
    c.settle()
    c.propose(1, b"y")
    c.settle()
    before = (progress(c, 1, 2).match, progress(c, 1, 2).next)
    c.release(old)
    c.deliver(2, 1, AppendAck)
    assert not c.in_flight(1, 2), "nothing is sent a second time"
    assert (progress(c, 1, 2).match, progress(c, 1, 2).next) == before == (3, 4)


def test_scenario_07_an_acknowledgement_while_probing_raises_next_above_match() -> None:
    c = Cluster(3, logs={1: [1, 1], 2: [1, 1], 3: []})
    c.elect(1)
    c.propose(1, b"x")
    c.deliver(1, 2, AppendEntries)
    acks = c.hold(2, 1, AppendAck)
    c.reconnect(1, 2)
    c.drop(1, 2)
    c.release(acks[-1:])
    c.deliver(2, 1, AppendAck)
    sent = [entry for message in c.in_flight(1, 2, AppendEntries) for entry in message.entries]  # type: ignore[union-attr]
    assert not sent, "nothing is sent a second time"
    assert progress(c, 1, 2).next == progress(c, 1, 2).match + 1 == 5
    assert not progress(c, 1, 2).probing


def test_scenario_08_a_rejection_moves_no_commit() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.drop()
    c.inject(2, 1, AppendReject(Term(1), Beat(0), Index(1), Index(2), Term(1)))
    c.inject(3, 1, AppendReject(Term(1), Beat(0), Index(2), Index(2), Term(1)))
    assert c[1].raft.commit_index == 1


def test_scenario_08_an_acknowledgement_of_more_than_was_sent_proves_nothing() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.drop()
    c.inject(2, 1, AppendAck(Term(1), Beat(0), Index(9)))
    assert c[1].raft.commit_index == 1
    assert progress(c, 1, 2).match == 1


def test_scenario_08_a_follower_acknowledges_and_commits_no_more_than_was_proved() -> None:
    c = Cluster(3, logs={1: [1, 2, 2], 2: [1, 1, 1], 3: [1, 2, 2]})
    c.partition({1, 3}, {2})
    c.elect(1)
    assert c[1].raft.commit_index == 4
    c.heal()
    heartbeat(c, 1)
    c.deliver(1, 2, AppendEntries)
    c.deliver(2, 1, AppendReject)
    c.drop(1, 2)  # the entries after the point of agreement are lost; a bare heartbeat follows
    heartbeat(c, 1)
    c.drop(1, 3)
    sent = c.deliver(1, 2, AppendEntries)
    assert isinstance(sent, AppendEntries) and (sent.prev_index, sent.commit, sent.entries) == (1, 4, ())
    assert [ack.match for ack in c.in_flight(2, 1, AppendAck)] == [1]
    assert c[2].raft.commit_index == 1, "2 has three entries, but only the first is proved to be this leader's"


def test_scenario_09_a_single_voter_commits_nothing_before_its_fsync() -> None:
    c = Cluster(1)
    c.elect(1)
    c.stall_disk(1)
    c.propose(1, b"x")
    assert c[1].payloads == []
    c.persist(1)
    assert c[1].payloads == [b"x"]


def test_scenario_09_a_leader_does_not_count_itself_before_its_fsync() -> None:
    c = Cluster(2)
    c.elect(1)
    c.stall_disk(1)
    c.propose(1, b"x")
    c.settle()
    assert progress(c, 1, 2).match == 2
    assert c[1].payloads == []
    c.persist(1)
    assert c[1].payloads == [b"x"]


def test_a_majority_of_followers_commits_without_the_leaders_own_disk() -> None:
    c = Cluster(3)
    c.elect(1)
    c.stall_disk(1)
    c.propose(1, b"x")
    c.settle()
    assert c[1].payloads == [b"x"]


# ── what a follower does with entries ────────────────────────────────────────────────────────────────────────────


def test_scenario_10_a_repeated_append_cuts_nothing_after_its_range() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    old = c.duplicate(1, 2, AppendEntries)
    c.propose(1, b"y")
    c.deliver(1, 2, AppendEntries)
    c.deliver(1, 2, AppendEntries)
    assert c[2].raft.log.last_index == 3
    c.release(old)
    c.settle()
    assert c[2].terms == [1, 1, 1]
    assert c[2].payloads == [b"x", b"y"]


def test_scenario_10_only_what_conflicts_is_cut() -> None:
    c = Cluster(3, logs={1: [1, 2, 2], 2: [1, 1, 1], 3: []})
    c.elect(1)
    c.advance(0.2)
    assert c[2].terms == c[1].terms == [1, 2, 2, 3]


def test_scenario_10_nothing_committed_is_ever_cut() -> None:
    c = Cluster(3)
    c.elect(1)
    c.propose(1, b"x")
    c.advance(0.2)
    conflicting = Entry(Index(2), Term(2), EntryKind.BATCH, 0, b"z")
    with pytest.raises(InvariantViolated, match=COMMITTED_IS_KEPT.name):
        c[2].raft.receive(
            ReplicaId(3),
            AppendEntries(Term(2), Beat(1), Index(1), Term(1), Index(1), False, 0, (conflicting,)),
            c.now,
        )


def test_scenario_11_a_stale_rejection_does_not_take_next_below_match() -> None:
    c = Cluster(3, logs={1: [1, 1, 1], 2: [], 3: [1, 1, 1]})
    c.elect_without_delivering_appends(1)
    c.deliver(1, 2, AppendEntries)
    stale = c.duplicate(2, 1, AppendReject)
    c.settle()
    assert (progress(c, 1, 2).match, progress(c, 1, 2).probing) == (4, False)
    c.release(stale)
    c.settle_nothing_from(1)
    assert (progress(c, 1, 2).next, progress(c, 1, 2).probing) == (5, False)
    assert not c.in_flight(1, 2), "nothing is sent again for a rejection that no longer matters"


def rewritten_log(c: Cluster) -> None:
    """2, whose disk hangs, takes "a" and "b" from 1 in term 1, and has them replaced by 3's sentinel in term 2."""
    c.elect(1)
    c.settle()
    c.stall_disk(2)
    c.propose(1, b"a")
    c.propose(1, b"b")
    for _ in range(2):
        c.deliver(1, 2, AppendEntries)
    c.crash(1)
    c.drop()
    c.elect_without_delivering_appends(3)
    c.deliver(3, 2, AppendEntries)
    assert c[2].terms == [1, 2]
    assert [len(persist.entries) for persist, _ in c[2].unsynced] == [1, 1, 0, 1]


def test_scenario_12_an_old_fsyncs_completion_says_nothing_of_what_was_written_since() -> None:
    c = Cluster(5)
    rewritten_log(c)
    c.persist(2, 3)  # the fsyncs of what 1 sent end, and that of the new term
    c.advance(0.2)
    assert progress(c, 3, 2).match == 1
    c.persist(2)
    c.advance(0.2)
    assert progress(c, 3, 2).match == 2


def test_scenario_12_not_even_when_the_same_entry_has_come_back_to_the_same_place() -> None:
    c = Cluster(5)
    rewritten_log(c)
    c.crash(3)
    c.drop()
    c.restart(1)
    c.elect(1)
    c.advance(0.2)
    assert c[2].terms == [1, 1, 1, 3], "what 1 sent in term 1 is back where it was"
    persists = [persist for persist, _ in c[2].unsynced]
    c.persist(2, next(n for n, persist in enumerate(persists, 1) if persist.term == 3) - 1)
    c.persist(2, 1)  # the term is durable, and the disk holds 3's entry, not 1's
    c.advance(0.2)
    assert progress(c, 1, 2).match <= 1
    c.persist(2)
    c.advance(0.2)
    assert progress(c, 1, 2).match == 4


def test_scenario_12_a_mark_from_before_a_truncation_counts_for_nothing() -> None:
    entry = past_entry(1, 1)
    log = Log(Index(0), Term(0), [])
    log.append([entry])
    log.take_unpersisted()
    old = Mark(log.epoch, Index(1), Term(1), 0)
    log.truncate_from(Index(1))
    log.append([past_entry(1, 2)])
    log.take_unpersisted()
    log.truncate_from(Index(1))
    log.append([entry])
    log.take_unpersisted()
    log.made_durable(old)
    assert log.durable_index == 0, "a write that replaces it is still on its way to the disk"


@pytest.mark.parametrize(
    ("leader", "follower"),
    [
        ([1] + [3] * 50, [1] + [2] * 50),
        ([1] + [2] * 50, [1]),
        ([1, 3], [1] + [2] * 50),
        ([1] * 10 + [4] * 10 + [6] * 40, [1] * 10 + [2] * 10 + [3] * 10 + [5] * 30),
    ],
)
def test_scenario_13_fifty_conflicting_entries_take_a_few_round_trips(leader: list[int], follower: list[int]) -> None:
    c = Cluster(3, logs={1: leader, 2: follower, 3: []}, terms=dict.fromkeys((1, 2, 3), 6))
    c.elect_without_delivering_appends(1)
    round_trips = 0
    while c[2].terms != c[1].terms:
        c.deliver(1, 2, AppendEntries)
        c.settle_nothing_from(1)
        round_trips += 1
    assert round_trips <= 5


# ── lost messages, stalled disks ─────────────────────────────────────────────────────────────────────────────────


def test_scenario_14_a_follower_that_lost_its_messages_is_probed_until_it_recovers() -> None:
    c = Cluster(3)
    c.elect(1)
    for number in range(5):
        c.propose(1, b"%d" % number)
    c.drop(1, 2)
    c.settle_nothing_from(1)
    heartbeat(c, 1)
    c.deliver(1, 2, AppendEntries)
    c.deliver(2, 1, AppendReject)
    c.drop(1, 2)  # the probe is lost too
    c.advance(0.3)
    assert c[2].payloads == c[1].payloads == [b"0", b"1", b"2", b"3", b"4"]


def test_scenario_14_a_lost_acknowledgement_is_asked_for_again() -> None:
    c = Cluster(2)
    c.elect(1)
    c.propose(1, b"x")
    c.deliver(1, 2, AppendEntries)
    c.drop(2, 1)
    assert c[1].payloads == []
    c.advance(0.2)
    assert c[1].payloads == [b"x"]


def test_scenario_14_a_new_link_is_not_waited_for() -> None:
    c = Cluster(2)
    c.elect(1)
    c.propose(1, b"x")
    c.reconnect(1, 2)  # the entry was lost
    c.settle()  # at once, without a heartbeat
    assert c[1].payloads == [b"x"]


def test_a_new_link_does_not_send_the_whole_log_again() -> None:
    c = Cluster(3, logs={number: [1] * 500 for number in (1, 2, 3)})
    c.elect_without_delivering_appends(1)
    c.reconnect(1, 2)  # before anything is known of 2
    assert [len(message.entries) for message in c.in_flight(1, 2, AppendEntries)] == [1]


def test_scenario_15_a_pipelined_follower_whose_disk_stalled_catches_up() -> None:
    c = Cluster(3, config=Config(max_inflight_messages=4))
    c.elect(1)
    c.settle()
    c.stall_disk(2)
    sent = 0
    for number in range(50):
        c.propose(1, b"%d" % number)
        sent += len(c.in_flight(1, 2, AppendEntries)) - len(
            [message for message in c.in_flight(1, 2, AppendEntries) if not message.entries]  # type: ignore[union-attr]
        )
        c.settle()
    assert sent == 4, "the window bounds what is on its way to a follower that acknowledges nothing"
    assert len(c[1].payloads) == 50
    c.advance(5)
    assert c.leader == 1
    c.recover_disk(2)
    c.advance(1)
    assert c[2].payloads == c[1].payloads
    assert progress(c, 1, 2).match == c[1].raft.log.last_index


def test_scenario_50_what_was_written_but_not_synced_was_not_acknowledged_before_the_crash() -> None:
    c = Cluster(3)
    c.elect(1)
    c.settle()
    c.stall_disk(2)
    c.propose(1, b"x")
    c.settle()
    assert progress(c, 1, 2).match == 1
    c.crash(2, written=1)  # it reached the disk after all; storage makes sure of it before the core sees it again
    c.restart(2)
    assert c[2].raft.log.durable_index == 2
    c.advance(0.2)
    assert progress(c, 1, 2).match == 2


def test_scenario_72_a_replica_whose_acknowledged_suffix_was_replaced_is_welcome_after_a_restart() -> None:
    c = Cluster(5)
    c.elect(1)
    c.settle()
    c.partition({1, 2}, {3, 4, 5})
    c.propose(1, b"a")
    c.propose(1, b"b")
    c.settle()
    assert progress(c, 1, 2).match == 3, "acknowledged, on a minority"
    c.crash(1)
    c.elect(3)
    c.heal()
    c.advance(0.2)
    assert c[2].terms == [1, 2]
    c.crash(2)
    c.restart(2)
    c.propose(3, b"c")
    c.advance(0.2)
    assert c[2].payloads == [b"c"]
    assert progress(c, 3, 2).match == 3


# ── configurations ───────────────────────────────────────────────────────────────────────────────────────────────


def configuration(*voters: int) -> Configuration:
    members = tuple(Member(ReplicaId(number), f"host{number}:7000", 100 + number) for number in voters)
    return Configuration(members, tuple(map(ReplicaId, voters)))


def test_scenario_28_an_uncommitted_configuration_is_in_force_after_a_restart_and_rolls_back() -> None:
    c = Cluster(3, logs={1: [1], 2: [1], 3: [1]})
    appended = Entry(Index(2), Term(1), EntryKind.CONFIGURATION, 0, encode_configuration(configuration(2)))
    c[2].disk = DurableState(c[2].disk.configuration, 1, 0, [past_entry(1, 1), appended])
    c.crash(2)
    c.restart(2)
    assert c[2].raft.configuration.voters == (2,)
    assert c[2].raft.commit_index == 0

    c.partition({1, 3}, {2})
    c.elect(1)
    c.heal()
    c.advance(0.2)
    assert c[2].terms == [1, 2]
    assert c[2].raft.configuration.voters == (1, 2, 3), "it rolled back with its entry"


def test_scenario_29_learners_block_neither_commit_nor_election() -> None:
    c = Cluster(3, learners=2)
    for learner in (4, 5):
        c.crash(learner)
    c.elect(1)
    c.propose(1, b"x")
    c.settle()
    assert c[1].payloads == [b"x"]
    c.crash(1)
    c.advance(5)
    assert c.leader in (2, 3)


def test_scenario_29_learners_count_for_no_commit() -> None:
    c = Cluster(3, learners=2)
    c.elect(1)
    c.settle()
    for voter in (2, 3):
        c.crash(voter)
    c.propose(1, b"x")
    c.settle()
    assert c[4].terms == [1, 1], "learners hold it ..."
    assert c[1].payloads == [], "... and yet it is not committed"


def test_scenario_29_learners_count_for_no_election_and_never_stand() -> None:
    c = Cluster(3, learners=2)
    for voter in (2, 3):
        c.crash(voter)
    c.advance(30)
    assert not c.leader
    assert c[1].raft.term == 0
    c.crash(1)
    c.advance(30)
    assert all(c[learner].raft.deadline() == float("inf") for learner in (4, 5))


def test_scenario_29_learners_keep_no_leader_in_office() -> None:
    c = Cluster(3, learners=2)
    c.elect(1)
    for voter in (2, 3):
        c.crash(voter)
    c.advance(2)
    assert not c[1].leads


def test_a_turn_sends_a_bounded_number_of_bytes_and_says_that_there_is_more() -> None:
    c = Cluster(3)
    c.elect(1)
    c.partition({1, 2}, {3})
    piece = bytes(c[1].raft.config.max_append_bytes)
    for _ in range(8):
        c.propose(1, piece)
        c.settle()
    raft = c[1].raft
    assert isinstance(raft.role, Leader)
    raft.role.progress[ReplicaId(3)].probe_from(Index(2))
    raft.role.progress[ReplicaId(3)].probing = False
    taken = [sum(isinstance(m, AppendEntries) and bool(m.entries) for _, m in raft.ready().messages) for _ in range(3)]
    assert taken == [4, 4, 0]
    assert not raft.has_more_to_send
