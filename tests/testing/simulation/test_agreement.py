"""Replicas that have applied as much agree on all that a snapshot tells beside the state, or it is said at once."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from oarlock.errors import InvariantViolated
from oarlock.node.snapshots import encode_node_state
from oarlock.testing.simulation.agreement import Agreement
from oarlock.types import Boot, Configuration, Index, ReplicaId, SnapshotPoint, Term

TOLD = Configuration((), ())
_ids = itertools.count(1)


def of(*voters: int) -> Configuration:
    return Configuration((), tuple(map(ReplicaId, voters)))


class Replica:
    """As much of a host as is looked at."""

    def __init__(self, *, restoring: bool = False, **point: Any) -> None:
        self.id = next(_ids)
        self.origins = {ReplicaId(1): (Boot(1), Term(2), 7)}
        known = {"index": Index(9), "term": Term(2), "time_ms": 50, "configuration": of(1, 2, 3), **point}
        self.point = SnapshotPoint(**known)
        self.raft = SimpleNamespace(restoring=restoring, point=lambda: self.point)
        self.snapshots = SimpleNamespace(newest=None)
        self.node = SimpleNamespace(
            _raft=self.raft,
            _snapshots=self.snapshots,
            _applier=SimpleNamespace(origins=self.origins),
            _identity=SimpleNamespace(configuration=TOLD),
        )

    def takes_a_snapshot(self) -> None:
        header = SimpleNamespace(point=self.point, node=encode_node_state(self.origins))
        self.snapshots.newest = SimpleNamespace(header=header)


def look(*replicas: Replica) -> None:
    judge = Agreement()
    for replica in replicas:
        judge.stepped(replica)  # type: ignore[arg-type]


def test_those_that_are_equal_or_at_different_places_agree() -> None:
    one, other, further = Replica(), Replica(), Replica(index=Index(10), configuration=of(1, 2))
    one.takes_a_snapshot()
    look(one, other, further)


@pytest.mark.parametrize("point", [{"term": 3}, {"time_ms": 51}, {"configuration": of(1, 2)}])
def test_they_agree_on_the_point(point: dict[str, Any]) -> None:
    with pytest.raises(InvariantViolated, match="SNAPSHOTS_AGREE"):
        look(Replica(), Replica(**point))


@pytest.mark.parametrize("last", [(Boot(2), Term(2), 7), (Boot(1), Term(1), 7), (Boot(1), Term(2), 8), None])
def test_they_agree_on_the_last_slice_of_each_origin(last: tuple[Boot, Term, int] | None) -> None:
    other = Replica()
    del other.origins[ReplicaId(1)]
    if last is not None:
        other.origins[ReplicaId(1)] = last
    with pytest.raises(InvariantViolated, match="SNAPSHOTS_AGREE"):
        look(Replica(), other)


def test_what_is_noted_does_not_change_with_who_told_it() -> None:
    judge, one = Agreement(), Replica()
    judge.stepped(one)  # type: ignore[arg-type]
    one.origins[ReplicaId(1)] = (Boot(1), Term(2), 8)
    with pytest.raises(InvariantViolated, match="SNAPSHOTS_AGREE"):
        judge.stepped(one)  # type: ignore[arg-type]


def test_a_snapshot_tells_what_its_replica_knew() -> None:
    one = Replica()
    one.takes_a_snapshot()
    one.snapshots.newest.header.point = Replica(time_ms=51).point
    with pytest.raises(InvariantViolated, match="SNAPSHOTS_AGREE"):
        look(one)


def test_each_snapshot_of_a_replica_is_looked_at() -> None:
    judge, one = Agreement(), Replica()
    one.takes_a_snapshot()
    judge.stepped(one)  # type: ignore[arg-type]
    one.takes_a_snapshot()
    one.snapshots.newest.header.point = Replica(time_ms=51).point
    with pytest.raises(InvariantViolated, match="SNAPSHOTS_AGREE"):
        judge.stepped(one)  # type: ignore[arg-type]


def test_who_is_being_restored_or_goes_by_what_it_was_told_is_not_looked_at() -> None:
    look(Replica(), Replica(restoring=True, time_ms=51), Replica(configuration=TOLD))
