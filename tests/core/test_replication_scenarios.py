"""Replication: what looks below the messages, and so is no script. The others are in tests/scenarios."""

import pytest

from oarlock.core.log import Log
from oarlock.core.messages import AppendEntries
from oarlock.core.ready import Mark
from oarlock.core.roles import Leader
from oarlock.errors import Overloaded
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.replica import past_entry
from oarlock.types import MAX_ENTRY_BYTES, Index, ReplicaId, Term


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


def test_a_turn_sends_a_bounded_number_of_bytes_and_says_that_there_is_more() -> None:
    c = Cluster(3)
    c.elect(1)
    c.network.partition({1, 2}, {3})
    piece = bytes(c.config.max_append_bytes)
    for _ in range(8):
        c.propose(1, piece)
        c.deliver_all()
    raft = c[1].raft
    assert isinstance(raft.role, Leader)
    raft.role.progress[ReplicaId(3)].probe_from(Index(2))
    raft.role.progress[ReplicaId(3)].probing = False
    taken = [sum(isinstance(m, AppendEntries) and bool(m.entries) for _, m in raft.ready().messages) for _ in range(3)]
    assert taken == [4, 4, 0]
    assert not raft.has_more_to_send


def test_a_leader_refuses_what_would_pile_up_uncommitted_until_a_commit_makes_room() -> None:
    c = Cluster(3)
    c.elect(1)
    c.network.partition({1}, {2, 3})
    largest = bytes(MAX_ENTRY_BYTES)
    for _ in range(c.config.max_uncommitted_bytes // MAX_ENTRY_BYTES):
        c.propose(1, largest)
    last_index = c[1].raft.log.last_index
    with pytest.raises(Overloaded):
        c.propose(1, b"one more")
    assert c[1].raft.log.last_index == last_index, "what is refused is not appended"
    c.network.heal()
    c.run(1.0)
    assert c[1].raft.commit_index == last_index
    assert isinstance(leader := c[1].raft.role, Leader)
    assert leader.uncommitted_bytes == 0
    c.propose(1, b"one more")
