"""The snapshots of a data directory: the newest two, so that a damaged one has another behind it.

A snapshot that this replica takes and one that it receives get their names in the same way: when all of it is durable,
and never over what it replaces, which goes afterwards.
"""

import logging
import re
from collections.abc import Iterable

import msgspec

from oarlock.errors import CorruptSnapshot
from oarlock.storage.disk import Disk
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader, corrupt_snapshot
from oarlock.storage.whole_file import TEMPORARY_SUFFIX, GrowingFile
from oarlock.types import Index, SnapshotPoint, Term

SNAPSHOTS_NAME = "snapshots"

KEPT = 2

_NAME = re.compile(r"([0-9]{16})\.snapshot")

log = logging.getLogger("oarlock")


def snapshot_name(index: Index) -> str:
    """File name of the snapshot of this index."""
    return f"{index:016d}.snapshot"


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that is durable under its name."""

    path: str
    header: SnapshotHeader
    size_bytes: int


class SnapshotStore:
    """All snapshots of one data directory. Open it with :meth:`open`."""

    def __init__(self, disk: Disk, directory: str, cluster_id: str) -> None:
        self.damage: dict[str, CorruptSnapshot] = {}
        """By path, what is wrong with those that do not count. Their files stay, for whoever wants to look, until the
        next snapshot is there."""
        self._disk = disk
        self._directory = directory
        self._cluster_id = cluster_id
        self._all: list[StoredSnapshot] = []
        """Newest first."""
        self._pins: list[Index] = []
        self._received = 0

    @classmethod
    async def open(cls, disk: Disk, directory: str, cluster_id: str) -> "SnapshotStore":
        """Those in the data directory ``directory``, by their headers. Removes what was never finished.

        The caller holds the directory's lock.

        :raises StartupError: a snapshot is another cluster's, or was written by a newer program
        :raises OSError: the disk failed
        """
        store = cls(disk, f"{directory}/{SNAPSHOTS_NAME}", cluster_id)
        await disk.make_directory(store._directory)
        for name in await disk.list(store._directory):
            if name.endswith(TEMPORARY_SUFFIX):
                await disk.remove(f"{store._directory}/{name}")
        await store._find_all()
        if store._all:
            # A name may be that of a process that was killed before it was durable. From here on it counts.
            await disk.sync_directory(store._directory)
        return store

    @classmethod
    async def look(cls, disk: Disk, directory: str, cluster_id: str) -> "SnapshotStore":
        """The same to be looked at: nothing is changed, and nothing is to be added.

        :raises StartupError: as of :meth:`open`
        :raises OSError: the disk failed
        """
        store = cls(disk, f"{directory}/{SNAPSHOTS_NAME}", cluster_id)
        if await disk.exists(store._directory):
            await store._find_all()
        return store

    @property
    def all(self) -> tuple[StoredSnapshot, ...]:
        """Newest first."""
        return tuple(self._all)

    @property
    def newest(self) -> StoredSnapshot | None:
        return self._all[0] if self._all else None

    @property
    def log_needed_after(self) -> Index:
        """What the log must reach back to, so that the newest snapshot may turn out to be damaged."""
        return self._all[KEPT - 1].header.point.index if len(self._all) >= KEPT else Index(0)

    def path_for(self, point: SnapshotPoint) -> str:
        """Where the snapshot of this point stands."""
        return f"{self._directory}/{snapshot_name(point.index)}"

    async def find_whole(self) -> StoredSnapshot | None:
        """The newest that is whole, all of it read; those in front of it are damaged and do not count any more.

        :raises OSError: the disk failed
        """
        while (newest := self.newest) is not None and not await self.is_whole(newest):
            pass
        return newest

    async def is_whole(self, stored: StoredSnapshot) -> bool:
        """Read all of it. If it is damaged it does not count any more.

        :raises OSError: the disk failed
        """
        try:
            await self._verify(stored.path)
        except CorruptSnapshot as damage:
            if stored in self._all:
                self._all.remove(stored)
                self.damage[stored.path] = damage
            return False
        return True

    async def added(self, header: SnapshotHeader, size_bytes: int) -> StoredSnapshot:
        """Take note of a snapshot that has been finished, durably, at :meth:`path_for` its point; older ones go."""
        stored = StoredSnapshot(self.path_for(header.point), header, size_bytes)
        others = [other for other in self._all if other.path != stored.path]
        self._all = sorted([stored, *others], key=lambda one: one.header.point.index, reverse=True)
        self.damage.pop(stored.path, None)
        damaged, self.damage = list(self.damage), {}
        await self._remove(damaged)
        await self.forget_old()
        return stored

    def pin(self, index: Index) -> None:
        """Keep the snapshot of this index as long as somebody needs it."""
        self._pins.append(index)

    def unpin(self, index: Index) -> None:
        """One less needs it. If it is old it goes with the next :meth:`forget_old`."""
        self._pins.remove(index)

    async def forget_old(self) -> None:
        """Remove all but the newest two and those that are pinned."""
        kept = [one for place, one in enumerate(self._all) if place < KEPT or one.header.point.index in self._pins]
        old = [one.path for one in self._all if one not in kept]
        self._all = kept
        await self._remove(old)

    async def _remove(self, paths: Iterable[str]) -> None:
        """What cannot be removed is in nobody's way."""
        for path in paths:
            try:
                await self._disk.remove(path)
            except OSError as error:
                log.warning(f"an old snapshot cannot be removed: {error}")

    async def receive(self, size_bytes: int) -> "Receiving":
        """Begin to receive a snapshot of this size.

        :raises OSError: the disk failed, or has no room
        """
        self._received += 1
        temporary = f"{self._directory}/received-{self._received}{TEMPORARY_SUFFIX}"
        return Receiving(self, temporary, await GrowingFile.create(self._disk, temporary), size_bytes)

    async def _find_all(self) -> None:
        for name in await self._disk.list(self._directory):
            path = f"{self._directory}/{name}"
            if match := _NAME.fullmatch(name):
                try:
                    self._all.insert(0, await self._look_at(path, Index(int(match[1]))))
                except CorruptSnapshot as damage:
                    self.damage[path] = damage

    async def _look_at(self, path: str, index: Index) -> StoredSnapshot:
        file = await SnapshotFile.open(self._disk, path, self._cluster_id)
        await file.close()
        if file.header.point.index != index:
            raise corrupt_snapshot(path, 0, f"it is of index {file.header.point.index}, and its name says {index}")
        return StoredSnapshot(path, file.header, file.size_bytes)

    async def _verify(self, path: str) -> SnapshotHeader:
        file = await SnapshotFile.open(self._disk, path, self._cluster_id)
        try:
            await file.verify()
        finally:
            await file.close()
        return file.header


class Receiving:
    """A snapshot that is arriving, from its beginning on. One call at a time. After any error nothing is left of it."""

    def __init__(self, store: SnapshotStore, temporary: str, file: GrowingFile, size_bytes: int) -> None:
        self._store = store
        self._temporary = temporary
        self._file = file
        self._size_bytes = size_bytes

    @property
    def received_bytes(self) -> int:
        """How much is there; what is to come next."""
        return self._file.size_bytes

    @property
    def complete(self) -> bool:
        return self.received_bytes == self._size_bytes

    async def write(self, offset: int, data: bytes) -> None:
        """Take what stands at ``offset``. Only what continues what is there counts: it may come twice, or too early.

        :raises OSError: the disk failed, or has no room
        """
        known = self.received_bytes - offset
        if 0 <= known < len(data):
            await self._file.append(data[known : known + self._size_bytes - self.received_bytes])

    async def finish(self, index: Index, term: Term) -> StoredSnapshot:
        """Check all of it, and keep it: durable under its name on return, and known to the store.

        :raises CorruptSnapshot: it is damaged, or not complete, or not the snapshot of this index and term
        :raises StartupError: it is another cluster's, or was written by a newer program
        :raises OSError: the disk failed, or has no room
        """
        try:
            header = await self._store._verify(self._temporary)
            if (header.point.index, header.point.term) != (index, term):
                raise corrupt_snapshot(
                    self._temporary, 0, f"it is of index {header.point.index} of term {header.point.term}, and not of "
                    f"index {index} of term {term}"
                )  # fmt: skip
        except BaseException:
            await self.abort()
            raise
        await self._file.give_name(self._store.path_for(header.point))
        return await self._store.added(header, self.received_bytes)

    async def abort(self) -> None:
        """Leave nothing of it. Harmless when it is finished or gone."""
        await self._file.abort()
