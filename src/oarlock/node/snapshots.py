"""This replica's snapshots: when one is taken, how it is written without a pause, and what may go then.

The image is of one moment of the state machine; its pieces are made one at a time between turns and written off the
event loop. Once the file is durable, the log may forget what it covers: in memory all but a tail, for followers that
are slightly behind; on disk all but what the snapshot *before* it needs, in case the newest turns out to be damaged.

A replica that is far behind fetches the leader's newest (``fetching.py``, ``serving.py``) and begins anew with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

import msgspec

from oarlock.core.raft import Raft
from oarlock.core.snapshot import needed_after
from oarlock.errors import NotExecuted, Overloaded, ReplicaFailed
from oarlock.node.applier import Applier, Origins
from oarlock.node.fetching import PART_BYTES
from oarlock.storage.disk import Disk, is_lack_of_space
from oarlock.storage.identity import Identity
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader, SnapshotWriter
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.storage.wal import Wal
from oarlock.types import Entry, Index, SnapshotPoint, Term

log = logging.getLogger("oarlock")

DEFAULT_SNAPSHOT_AFTER_BYTES = 64 * 1024 * 1024
"""A snapshot is taken when so much has been applied since the last one."""
TAIL_SHARE = 4
"""Of what a snapshot covers the log keeps in memory a tail of this part of ``after_bytes``."""
MOST_KEPT = 4
"""A follower that is being sent a snapshot will need what follows it; it is kept up to so often ``after_bytes``."""
MARKS = 64
"""So often while ``after_bytes`` are applied it is noted where the log is."""
ENTRY_BYTES = 128
"""About what an entry takes besides its payload. An empty one does, too."""
STEP_ENTRIES = 8192
"""The log in memory forgets so many at once: some 5 ms."""
FIRST_SHARE = (0.5, 1.0)
"""The first snapshot of a life comes after a part of ``after_bytes`` between these two."""
PAUSE_S = 0.004
"""Between two pieces of a snapshot, so that clients find the loop and the disk free most of the time."""
RETRY_SHARE = 8
"""A snapshot for which there was no room is tried again when this part of ``after_bytes`` more has been applied."""


class NodeState(msgspec.Struct, frozen=True):
    """What the node keeps in a snapshot besides the state of the machine; equal on every replica."""

    origins: Origins


def encode_node_state(origins: Origins) -> bytes:
    """For the header of a snapshot."""
    return msgspec.msgpack.encode(NodeState(origins))


def decode_node_state(header: SnapshotHeader) -> NodeState:
    """What :func:`encode_node_state` made.

    :raises ReplicaFailed: this version does not understand it
    """
    try:
        return msgspec.msgpack.decode(header.node, type=NodeState)
    except (ValueError, RecursionError) as error:
        raise ReplicaFailed(f"a snapshot cannot be understood by this version: {error}") from error


async def restore(disk: Disk, path: str, applier: Applier) -> None:
    """Make the snapshot at ``path`` the state of the machine.

    :raises CorruptSnapshot: it is damaged
    :raises ReplicaFailed: the machine cannot take it
    """
    file = await SnapshotFile.open(disk, path)
    try:
        await applier.restore(file.pieces(), decode_node_state(file.header).origins, file.header.point)
    finally:
        await file.close()


class AppliedBytes:
    """How much had been applied at which index: now and then a mark, since the entries are too many to be counted when
    it matters."""

    def __init__(self, index: Index, step_bytes: int) -> None:
        self._step_bytes = step_bytes
        self._total = 0
        self._marks = [(index, 0)]

    def applied(self, index: Index, size_bytes: int) -> None:
        """So much more, up to ``index``."""
        self._total += size_bytes
        if self._total >= self._marks[-1][1] + self._step_bytes:
            self._marks.append((index, self._total))

    def tail_start(self, index: Index, max_bytes: int) -> Index:
        """About where the last ``max_bytes`` up to ``index`` begin, as far as is known."""
        marks = [mark for mark in self._marks if mark[0] <= index] or self._marks[:1]
        return next(at for at, total in marks if total >= marks[-1][1] - max_bytes)

    def forget(self, through: Index) -> None:
        """Nobody asks for a tail that begins before ``through`` any more."""
        self._marks = [mark for mark in self._marks if mark[0] >= through] or self._marks[-1:]


class Snapshots:
    """Takes snapshots, one at a time, and lets the log forget what they cover."""

    def __init__(
        self,
        disk: Disk,
        store: SnapshotStore,
        identity: Identity,
        raft: Raft,
        applier: Applier,
        wal: Wal,
        after_bytes: int,
        rng: random.Random,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._disk = disk
        self._store = store
        self._identity = identity
        self._raft = raft
        self._applier = applier
        self._wal = wal
        self._after_bytes = after_bytes
        # All replicas apply the same, and must not all write their snapshots at the same moment.
        self._due_bytes = round(after_bytes * rng.uniform(*FIRST_SHARE))
        self._on_failure = on_failure
        self.log_bytes = 0
        """Applied since the last snapshot."""
        self._applied_bytes = AppliedBytes(raft.applied_index, max(1, after_bytes // MARKS))
        self._taking: asyncio.Task[SnapshotPoint] | None = None

    @property
    def newest(self) -> StoredSnapshot | None:
        return self._store.newest

    def applied(self, entries: Sequence[Entry]) -> None:
        """These have been applied, too. Begins a snapshot if that makes one due."""
        size_bytes = ENTRY_BYTES * len(entries) + sum(len(entry.payload) for entry in entries)
        self._applied_bytes.applied(entries[-1].index, size_bytes)
        self.log_bytes += size_bytes
        if self.log_bytes >= self._due_bytes and self._taking is None and self._applier.can_snapshot:
            with contextlib.suppress(NotExecuted):  # what is applied next tries again
                self.take()

    def take(self) -> asyncio.Task[SnapshotPoint]:
        """Begin a snapshot of this moment, or join the one that is under way; where it stands.

        The task raises :class:`Overloaded` if there is no room for it. Nothing has changed then.

        :raises NotExecuted: the state machine gives no snapshots, or is being replaced by one
        """
        if self._taking is None:
            self._taking = asyncio.get_running_loop().create_task(self._take(*self.image()))
            self._taking.add_done_callback(self._taken)
        return self._taking

    def image(self) -> tuple[SnapshotHeader, Iterable[bytes]]:
        """The header and the pieces of a snapshot of this moment.

        :raises NotExecuted: the state machine gives none, or is being replaced
        """
        if self._raft.restoring:
            raise NotExecuted("this replica is being brought up to date by a snapshot: try again when it is")
        if self._raft.persisted_term < self._raft.term:
            # A crash could leave it in place of a log that reaches further, in the term in which that was acknowledged.
            raise NotExecuted("this replica has yet to write down the term that has begun: try again in a moment")
        header = SnapshotHeader(
            cluster_id=self._identity.cluster_id,
            cluster_name=self._identity.cluster_name,
            point=self._raft.point(),
            node=encode_node_state(self._applier.origins),
        )
        return header, self._applier.image()

    async def restore(self, point: SnapshotPoint) -> None:
        """Make the snapshot of this point, which is in the store, the state of the machine. Raises as :func:`restore`
        does."""
        await restore(self._disk, self._store.path_for(point), self._applier)

    def installed(self) -> None:
        """A snapshot of another replica's is durable here, and in force."""
        self.log_bytes, self._due_bytes = 0, self._after_bytes
        self._wal.release(self._store.log_needed_after)

    async def open(self, index: Index, term: Term) -> PinnedSnapshot | None:
        """A snapshot, which stays while it is open; None if it is not there. All of it is read before: if it has been
        damaged since it was written it does not count any more, and another is taken in its place."""
        for stored in self._store.all:
            if (stored.header.point.index, stored.header.point.term) == (index, term):
                self._store.pin(index)
                try:
                    if await self._is_whole(stored):
                        return PinnedSnapshot(self._store, index, await SnapshotFile.open(self._disk, stored.path))
                except BaseException:
                    self._store.unpin(index)
                    raise
                self._store.unpin(index)
                with contextlib.suppress(NotExecuted):
                    self.take()
        return None

    async def _is_whole(self, stored: StoredSnapshot) -> bool:
        """Whether it still is."""
        try:
            whole = await self._store.is_whole(stored)
        except OSError as error:
            log.warning("replica %d: %s cannot be read: %s", self._raft.id, stored.path, error)
            return False
        if not whole:
            log.warning("replica %d: a snapshot does not count any more: %s", self._raft.id, stored.path)
        return whole

    async def close(self) -> None:
        """Leave off."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)

    async def _take(self, header: SnapshotHeader, pieces: Iterable[bytes]) -> SnapshotPoint:
        point = header.point
        newest = self.newest
        if newest is not None and newest.header.point.index >= point.index and await self._is_whole(newest):
            return newest.header.point  # nothing has been applied since
        self.log_bytes, self._due_bytes = 0, self._after_bytes
        try:
            stored = await self._write(header, pieces)
        except OSError as error:
            if not is_lack_of_space(error):
                raise
            self._due_bytes = max(1, self._after_bytes // RETRY_SHARE)
            log.warning("replica %d: there is no room for a snapshot; the log keeps growing", self._raft.id)
            raise Overloaded("there is no room on the disk for a snapshot") from error
        log.info(
            "replica %d has a snapshot at index %d of term %d (%d bytes)",
            self._raft.id, point.index, point.term, stored.size_bytes,
        )  # fmt: skip
        await self._compact(point)
        self._wal.release(self._store.log_needed_after)
        return point

    async def _write(self, header: SnapshotHeader, pieces: Iterable[bytes]) -> StoredSnapshot:
        writer = await SnapshotWriter.create(self._disk, self._store.path_for(header.point), header)
        try:
            for piece in pieces:
                await writer.add(piece)
                await asyncio.sleep(PAUSE_S)
            size_bytes = await writer.finish()
        finally:
            await writer.abort()
        return await self._store.added(header, size_bytes)

    async def _compact(self, point: SnapshotPoint) -> None:
        """Let the log in memory forget what it may, now that there is a snapshot at ``point``: a bit a turn."""
        through, base = self._forgettable(point.index), self._raft.log.base_index
        for step in (*range(base + STEP_ENTRIES, through, STEP_ENTRIES), through):
            self._raft.compact(point, Index(step))
            await asyncio.sleep(0)
        self._applied_bytes.forget(through)

    def _forgettable(self, index: Index) -> Index:
        """Up to where."""
        raft = self._raft
        through = self._applied_bytes.tail_start(index, self._after_bytes // TAIL_SHARE)
        longest = self._applied_bytes.tail_start(index, self._after_bytes * MOST_KEPT)
        return max(needed_after(raft, through), longest)

    def _taken(self, task: asyncio.Task[SnapshotPoint]) -> None:
        self._taking = None
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, NotExecuted):
            self._on_failure(error)


class PinnedSnapshot:
    """A snapshot's file that stays until it is closed."""

    def __init__(self, store: SnapshotStore, index: Index, file: SnapshotFile) -> None:
        self._store = store
        self._index = index
        self._file = file
        self.size_bytes = file.size_bytes
        self.read_at = file.read_at

    async def close(self) -> None:
        await self._file.close()
        self._store.unpin(self._index)
        await self._store.forget_old()


async def in_parts(opened: Callable[[], Awaitable[PinnedSnapshot]]) -> AsyncIterator[bytes]:
    """The bytes of a snapshot's file, which is opened when the first are wanted."""
    file = await opened()
    try:
        for offset in range(0, file.size_bytes, PART_BYTES):
            yield await file.read_at(offset, PART_BYTES)
    finally:
        await file.close()
