"""A life that begins without what the one before it had synced is found, and no other."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oarlock.errors import InvariantViolated
from oarlock.testing.simulation.recovered import Recovered


class Replica:
    """As much of a host and its log as is looked at."""

    def __init__(self) -> None:
        self.id, self.lives = 1, 1
        self.wal = SimpleNamespace(_term=3, _vote=2, _last_index=7, _last_term=3, _appending=False, _failure=None)
        self.log = SimpleNamespace(base_index=0)
        self.node = SimpleNamespace(_wal=self.wal, _raft=SimpleNamespace(log=self.log))
        self.recovered = Recovered()
        self.look()

    def look(self) -> None:
        self.recovered.stepped(self)  # type: ignore[arg-type]

    def starts_with(self, **found: int) -> None:
        self.lives += 1
        self.wal.__dict__.update({"_appending": False, "_failure": None, **found})
        self.look()


LOST = [{"_term": 2}, {"_vote": 0}, {"_vote": 1}, {"_last_index": 6}, {"_last_index": 8}, {"_last_term": 2}]


def test_what_was_synced_may_change_within_a_life_and_be_there_in_the_next() -> None:
    replica = Replica()
    replica.wal._last_index = 6
    replica.look()
    replica.starts_with()
    replica.starts_with()


def test_a_log_may_begin_after_a_snapshot_that_had_overtaken_it() -> None:
    replica = Replica()
    replica.log.base_index = 9
    replica.starts_with(_last_index=9)
    with pytest.raises(InvariantViolated, match="DURABLE_IS_RECOVERED"):
        replica.starts_with(_last_index=8)


@pytest.mark.parametrize("found", LOST, ids=str)
def test_what_was_synced_and_is_not_there_is_missed(found: dict[str, int]) -> None:
    with pytest.raises(InvariantViolated, match="DURABLE_IS_RECOVERED"):
        Replica().starts_with(**found)


@pytest.mark.parametrize("under_way", [{"_appending": True}, {"_failure": OSError()}], ids=str)
@pytest.mark.parametrize("found", [{"_term": 4, "_vote": 0}, {"_last_index": 6}, {"_last_index": 8}, {}], ids=str)
def test_a_write_under_way_may_be_there(found: dict[str, int], under_way: dict[str, object]) -> None:
    replica = Replica()
    replica.wal.__dict__.update(under_way)
    replica.look()
    replica.starts_with(**found)


@pytest.mark.parametrize("found", LOST[:3], ids=str)
def test_but_it_takes_back_neither_term_nor_vote(found: dict[str, int]) -> None:
    replica = Replica()
    replica.wal._appending = True
    replica.look()
    with pytest.raises(InvariantViolated, match="DURABLE_IS_RECOVERED"):
        replica.starts_with(**found)
