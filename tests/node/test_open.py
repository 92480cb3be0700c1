"""Opening nodes: what users give, and what goes wrong, on a real disk."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import oarlock
from oarlock.core.change import changed
from oarlock.types import Configuration, Member, ReplicaId

NOT_HERE = "203.0.113.{}:1"
"""Addresses of no machine (RFC 5737)."""


class Nothing:
    def apply(self, commands: Sequence[oarlock.Command], at: oarlock.Position) -> Sequence[Any]:
        return [None] * len(commands)

    def query(self, queries: Sequence[Any], at: oarlock.Position) -> Sequence[Any]:
        return [None] * len(queries)


class Awaiting(Nothing):
    next_due_ms = 5e9


def test_nodes_that_cannot_start_each_learn_why(tmp_path: Path) -> None:
    """Compiled, one's error was told to the other, which then never came back."""

    async def main() -> None:
        members = {1: "127.0.0.1:1", 2: "127.0.0.1:2"}
        for replica in members:
            await oarlock.initialise(tmp_path / str(replica), replica, members)
        opening = [
            oarlock.Node.open(tmp_path / str(replica), Nothing(), listen=NOT_HERE.format(replica), segment_bytes=65536)
            for replica in members
        ]
        async with asyncio.timeout(20):
            errors = await asyncio.gather(*opening, return_exceptions=True)
        for replica, error in zip(members, errors, strict=True):
            assert isinstance(error, oarlock.StartupError)
            assert NOT_HERE.format(replica) in str(error)

    asyncio.run(main())


def test_a_time_that_is_due_may_be_a_float(tmp_path: Path) -> None:
    async def main() -> None:
        await oarlock.initialise(tmp_path / "1", 1, {1: "127.0.0.1:0"})
        node = await oarlock.Node.open(tmp_path / "1", Awaiting(), listen="127.0.0.1:0", segment_bytes=65536)
        assert await node.propose(b"x") is None
        assert not node.failed.done()
        await node.close()

    asyncio.run(main())


def test_a_limit_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(TypeError, match="max_apply_bytes is a whole number"):
        oarlock.Config(max_apply_bytes=256e3)  # type: ignore[arg-type]


def test_what_is_to_change_may_be_lists() -> None:
    member = Member(ReplicaId(4), "127.0.0.1:4", 7)
    given = oarlock.Change(add=[member], remove=[])  # type: ignore[arg-type]
    assert given == oarlock.Change(add=(member,))
    one = Member(ReplicaId(1), "127.0.0.1:1", 7)
    assert member in changed(Configuration(members=(one,), voters=(one.id,)), given).members
