"""A replica whose members can be changed: it does what it is told, or fails as it is told."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import msgspec

from oarlock.core.change import Change
from oarlock.types import Configuration, Index, Member, ReplicaId, SnapshotPoint, Term
from tests.server.fake_replica import FakeReplica

CONFIGURATION = Configuration(
    members=tuple(Member(ReplicaId(n), f"127.0.0.1:740{n}", 100 + n) for n in (1, 2, 3)),
    voters=(ReplicaId(1), ReplicaId(2), ReplicaId(3)),
)


class FakeOperations(FakeReplica):
    """``trouble`` is raised by whatever is asked next and from then on; ``asked`` says what was."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Exception | None = None
        self.asked: list[tuple[object, ...]] = []
        self.members = CONFIGURATION
        self.pieces: Iterable[bytes | Exception] = [b"first", b"second", b"end"]
        self.more = asyncio.Event()
        """Pieces after the first wait for it."""
        self.more.set()
        self.closed = asyncio.Event()
        """A backup has come to an end, in whatever way."""

    def configuration(self) -> Configuration:
        return self.members

    async def change(self, change: Change, *, force: bool = False, timeout_s: float = 5) -> Configuration:
        self._asks("change", change, force)
        added = (*change.add, *(new for _, new in change.replace))
        self.members = msgspec.structs.replace(
            self.members,
            members=(*(one for one in self.members.members if one.id not in change.remove), *added),
            voters=tuple(one for one in self.members.voters if one not in change.remove),
            learners=tuple(one.id for one in added),
        )
        return self.members

    async def transfer(self, target: ReplicaId | None, timeout_s: float = 5) -> ReplicaId:
        self._asks("transfer", target)
        return target or ReplicaId(2)

    async def take_snapshot(self) -> SnapshotPoint:
        self._asks("snapshot")
        return SnapshotPoint(Index(11), Term(7), 1000, self.members)

    async def backup(self) -> AsyncIterator[bytes]:
        self._asks("backup")
        try:
            for number, piece in enumerate(self.pieces):
                if number:
                    await self.more.wait()
                await asyncio.sleep(0)
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed.set()

    def _asks(self, *what: object) -> None:
        self.asked.append(what)
        if self.trouble is not None:
            raise self.trouble
