"""What is committed is on the disks of a majority, or it is said at once."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from oarlock.core.log import Log
from oarlock.errors import InvariantViolated
from oarlock.testing.simulation.committed import Committed
from oarlock.types import Configuration, Entry, EntryKind, Index, ReplicaId, Term


def of(*voters: int, outgoing: Sequence[int] = ()) -> Configuration:
    return Configuration((), tuple(map(ReplicaId, voters)), tuple(map(ReplicaId, outgoing)))


class Replica:
    """As much of a host, its core and its disk as is looked at."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.lives = 1
        self.damaged = self.wiped = False
        self.log = Log(Index(0), Term(0))
        self.wal = SimpleNamespace(_last_index=0)
        self.raft = SimpleNamespace(log=self.log, commit_index=0, configuration=of(1, 2, 3, 4))
        self.node = SimpleNamespace(_raft=self.raft, _wal=self.wal)

    def holds(self, *terms: int, durable: int = 0) -> None:
        """Its log has entries of these terms, and so many of them are on disk."""
        log = self.log
        for index, term in enumerate(terms, start=1):
            if log.term_at(Index(index)) not in (None, term):
                log.truncate_from(Index(index))
            if index > log.last_index:
                log.append([Entry(Index(index), Term(term), EntryKind.BATCH, 0, b"")])
        log.durable_index = Index(durable)
        self.wal._last_index = durable

    def restarts(self, *terms: int) -> None:
        self.lives += 1
        self.log = self.raft.log = Log(Index(0), Term(0))
        self.raft.commit_index = 0
        self.holds(*terms, durable=len(terms))


@pytest.fixture
def replicas() -> list[Replica]:
    return [Replica(id) for id in (1, 2, 3, 4)]


def look(replicas: Sequence[Replica], judge: Committed | None = None) -> Committed:
    judge = judge or Committed([Term(0), Term(1), Term(1)])
    for replica in replicas:
        judge.stepped(replica)  # type: ignore[arg-type]
    return judge


def commits(judge: Committed, replica: Replica, index: int) -> None:
    replica.raft.commit_index = index
    judge.stepped(replica)  # type: ignore[arg-type]


def test_what_more_than_half_have_on_disk_may_be_committed(replicas: list[Replica]) -> None:
    for replica in replicas[:3]:
        replica.holds(1, 1, durable=2)
    judge = look(replicas)
    commits(judge, replicas[0], 2)
    commits(judge, replicas[3], 0)


def test_half_is_not_enough(replicas: list[Replica]) -> None:
    for replica in replicas[:2]:
        replica.holds(1, 1, durable=2)
    replicas[2].holds(1, 1, durable=1)
    judge = look(replicas)
    commits(judge, replicas[0], 1)
    with pytest.raises(InvariantViolated, match=r"COMMITTED_IS_DURABLE.*\(2, 1, \[1, 2\]"):
        commits(judge, replicas[0], 2)


def test_what_the_core_believes_to_be_synced_does_not_count(replicas: list[Replica]) -> None:
    for replica in replicas:
        replica.holds(1, durable=1)
        replica.wal._last_index = 0
    with pytest.raises(InvariantViolated, match="COMMITTED_IS_DURABLE"):
        commits(look(replicas), replicas[0], 1)


def test_another_entry_at_the_index_does_not_count_nor_one_that_was_replaced(replicas: list[Replica]) -> None:
    one, two, three, four = replicas
    for replica in (one, two, three):
        replica.holds(1, 2, durable=2)
    four.holds(1, 3, durable=2)
    judge = look(replicas)
    three.holds(1, 3, durable=1)
    judge.stepped(three)  # type: ignore[arg-type]
    with pytest.raises(InvariantViolated, match="COMMITTED_IS_DURABLE"):
        commits(judge, one, 2)


def test_who_is_dead_still_holds_what_it_had_synced(replicas: list[Replica]) -> None:
    for replica in replicas[:3]:
        replica.holds(1, durable=1)
    judge = look(replicas)
    replicas[2].node = None  # type: ignore[assignment]
    commits(judge, replicas[0], 1)


@pytest.mark.parametrize("damaged", [True, False])
def test_who_starts_without_what_it_had_no_longer_holds_it_unless_its_disk_was_damaged(
    replicas: list[Replica], damaged: bool
) -> None:
    for replica in replicas[:3]:
        replica.holds(1, 1, durable=2)
    judge = look(replicas)
    replicas[2].restarts(1)
    replicas[2].damaged = damaged
    judge.stepped(replicas[2])  # type: ignore[arg-type]
    if damaged:
        commits(judge, replicas[0], 2)
    else:
        with pytest.raises(InvariantViolated, match="COMMITTED_IS_DURABLE"):
            commits(judge, replicas[0], 2)


def test_a_joint_configuration_needs_a_majority_of_either_half(replicas: list[Replica]) -> None:
    for replica in replicas:
        replica.raft.configuration = of(1, 2, 3, outgoing=(1, 4))
        replica.holds(1, durable=int(replica.id != 4))
    with pytest.raises(InvariantViolated, match="COMMITTED_IS_DURABLE"):
        commits(look(replicas), replicas[0], 1)
    replicas[3].holds(1, durable=1)
    replicas[0].raft.commit_index = 0
    commits(look(replicas), replicas[0], 1)


def test_what_was_committed_in_the_step_that_changed_the_configuration_was_counted_by_the_one_before(
    replicas: list[Replica],
) -> None:
    for replica in replicas[:3]:
        replica.holds(1, durable=1)
    judge = look(replicas)
    replicas[0].raft.configuration = of(3, 4, outgoing=(1, 2, 3, 4))
    commits(judge, replicas[0], 1)


def test_a_snapshot_of_what_is_committed_counts_as_having_it(replicas: list[Replica]) -> None:
    one, two, three, _ = replicas
    for replica in (one, two):
        replica.holds(1, 1, 1, durable=3)
    three.log = three.raft.log = Log(Index(2), Term(1))
    three.log.append([Entry(Index(3), Term(1), EntryKind.BATCH, 0, b"")])
    three.log.durable_index = three.wal._last_index = Index(3)
    commits(look(replicas), one, 3)
