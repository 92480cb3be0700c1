"""Fetching a snapshot of the leader's: which parts of its file to ask for, and where they go.

The follower pulls. It keeps a few requests open, writes what arrives in order, and asks again for what was not
answered: so a lost, late or repeated answer needs no rule of its own, and a follower that is slow holds up nobody.
Parts of two files are never put together. Two replicas' snapshots of one index are two files: their states are equal,
but nothing says that they stand in the same order.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from oarlock.core.ready import Fetch
from oarlock.errors import OarlockError
from oarlock.network.messages import PeerMessage, SnapshotChunk, SnapshotGone, SnapshotRequest
from oarlock.storage.disk import is_lack_of_space
from oarlock.types import Index, ReplicaId, Term

log = logging.getLogger("oarlock")

PART_BYTES = 256 * 1024
"""Asked for, and answered, in one message."""
OPEN_PARTS = 4
"""Parts that are asked for, or have arrived and are not written yet."""
ANSWER_S = 1.0
"""What has not been answered after this is asked for again."""
UNNAMED_S = 30.0
"""A leader names the snapshot with every beat. What nobody has named for so long is needed no more."""
RETRY_S = 5.0
"""After trouble with a snapshot it is not begun again for so long."""
TOLD_SHARE = 10
"""The log is told of every part of this size (1/10) of the whole."""

Stored = TypeVar("Stored")
Stored_co = TypeVar("Stored_co", covariant=True)


class Download:
    """The parts of one file. Pure: it says what to ask for and what to write, and when to be asked next."""

    def __init__(self, source: Fetch, now: float) -> None:
        self.source = source
        self.total_bytes = 0
        """Size of the file; 0 before the first part has arrived."""
        self.written_bytes = 0
        self.void = False
        """The file is gone, or has become another."""
        self._named_at = now
        self._asked: dict[int, float] = {}
        """Offsets of the parts that were asked for and are not written, and when."""
        self._parts: dict[int, bytes] = {}
        """What has arrived and is not written."""

    @property
    def complete(self) -> bool:
        """Whether all of it is written."""
        return 0 < self.total_bytes == self.written_bytes

    def named(self, now: float) -> None:
        """The leader has named it again."""
        self._named_at = now

    def is_needed(self, now: float) -> bool:
        return not self.void and now < self._named_at + UNNAMED_S

    def reconnected(self) -> None:
        """What was asked for may never have arrived."""
        self._asked.clear()

    def requests(self, now: float) -> list[SnapshotRequest]:
        """What to ask the leader for now."""
        due = [offset for offset in self._missing() if now >= self._ask_at(offset, now)]
        self._asked.update((offset, now) for offset in due)
        return [SnapshotRequest(self.source.index, self.source.term, offset, PART_BYTES) for offset in due]

    def deadline(self, now: float) -> float:
        """When to ask for :meth:`requests` again, if nothing happens before."""
        return min((self._ask_at(offset, now) for offset in self._missing()), default=self._named_at + UNNAMED_S)

    def received(self, sender: ReplicaId, chunk: SnapshotChunk) -> None:
        """A part, if it is one of this file that is missing."""
        if Fetch(sender, chunk.index, chunk.term) != self.source:
            return
        if self.total_bytes not in (0, chunk.total_bytes):
            self.void = True
        elif chunk.offset in self._asked and len(chunk.data) == min(PART_BYTES, chunk.total_bytes - chunk.offset) > 0:
            self.total_bytes = chunk.total_bytes
            self._parts[chunk.offset] = chunk.data

    def gone(self, sender: ReplicaId, message: SnapshotGone) -> None:
        """The leader does not have it any more."""
        if Fetch(sender, message.index, message.term) == self.source:
            self.void = True

    @property
    def next_part(self) -> bytes | None:
        """What to write at ``written_bytes``, if it is there."""
        return self._parts.get(self.written_bytes)

    def written(self) -> None:
        """:attr:`next_part` is written."""
        self._asked.pop(self.written_bytes, None)
        self.written_bytes += len(self._parts.pop(self.written_bytes))

    def _missing(self) -> list[int]:
        """Offsets of the next parts that have not arrived. Before its size is known, the file is one part."""
        end = min(self.total_bytes or 1, self.written_bytes + OPEN_PARTS * PART_BYTES)
        return [offset for offset in range(self.written_bytes, end, PART_BYTES) if offset not in self._parts]

    def _ask_at(self, offset: int, now: float) -> float:
        return self._asked[offset] + ANSWER_S if offset in self._asked else now


class Receiving(Protocol[Stored_co]):
    """A file that is arriving: see :class:`oarlock.storage.snapshots.Receiving`."""

    async def write(self, offset: int, data: bytes) -> None: ...

    async def finish(self, index: Index, term: Term) -> Stored_co: ...

    async def abort(self) -> None: ...


class ReceivingStore(Protocol[Stored_co]):
    """Where it arrives: see :class:`oarlock.storage.snapshots.SnapshotStore`."""

    async def receive(self, size_bytes: int) -> Receiving[Stored_co]: ...


class SnapshotFetcher(Generic[Stored]):
    """Fetches the snapshot that the leader names into the store, one at a time.

    ``fetched`` is called with what the store keeps, checked and durable; ``failed`` with an error that this replica
    must not survive.
    """

    def __init__(
        self,
        replica: ReplicaId,
        store: ReceivingStore[Stored],
        send: Callable[[ReplicaId, PeerMessage], object],
        fetched: Callable[[Stored], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._replica = replica
        self._store = store
        self._send = send
        self._fetched = fetched
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._download: Download | None = None
        self._spoilt: tuple[Fetch, float] | None = None
        """A snapshot that there was trouble with, and when to try it again."""
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def want(self, source: Fetch) -> None:
        """The leader has named its newest snapshot. What is under way from it goes on, though it be an older one: a
        large one might never be there before the next. What is under way from another replica is dropped."""
        now = self._loop.time()
        if self._download is not None and self._download.source.leader == source.leader:
            self._download.named(now)
            return
        if self._spoilt is not None and source == self._spoilt[0] and now < self._spoilt[1]:
            return
        log.info(
            "replica %d fetches a snapshot at index %d from replica %d", self._replica, source.index, source.leader
        )
        self._download = Download(source, now)
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._ended)
        self._pump()

    def received(self, peer: ReplicaId, message: SnapshotChunk | SnapshotGone) -> None:
        """An answer, perhaps late, or to what was never asked."""
        if self._download is not None:
            if isinstance(message, SnapshotChunk):
                self._download.received(peer, message)
            else:
                self._download.gone(peer, message)
            self._pump()

    def connected(self, peer: ReplicaId) -> None:
        """A fresh link to the peer: what was asked of it may be lost."""
        if self._download is not None and self._download.source.leader == peer:
            self._download.reconnected()
            self._pump()

    async def close(self) -> None:
        """Leave off. What is there of a file is dropped."""
        self._drop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _pump(self) -> None:
        """Ask for what is due, and see to being called when more is."""
        self._news.set()
        self._stop_timer()
        download, now = self._download, self._loop.time()
        if download is None:
            return
        if not download.is_needed(now):
            self._drop()
            return
        for request in download.requests(now):
            self._send(download.source.leader, request)
        self._timer = self._loop.call_at(download.deadline(now), self._pump)

    def _drop(self) -> None:
        self._stop_timer()
        if self._download is not None and self._download.void:
            self._spoil(self._download)
        self._download = None
        self._news.set()

    def _spoil(self, download: Download) -> None:
        self._spoilt = download.source, self._loop.time() + RETRY_S

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self) -> None:
        while (download := self._download) is not None:
            try:
                stored = await self._fetch(download)
            except _Trouble as trouble:
                log.warning("replica %d cannot keep the snapshot that it fetches: %s", self._replica, trouble)
                self._spoil(download)
                stored = None
            if self._download is download:
                self._drop()
            if stored is not None:
                self._fetched(stored)

    async def _fetch(self, download: Download) -> Stored | None:
        """Write the parts as they come; None if it is not needed any more."""
        receiving: Receiving[Stored] | None = None
        try:
            while self._download is download:
                part = download.next_part
                if part is None:
                    self._news.clear()
                    await self._news.wait()
                    continue
                if receiving is None:
                    receiving = await self._store.receive(download.total_bytes)
                await receiving.write(download.written_bytes, part)
                self._written(download, len(part))
                if download.complete:
                    return await receiving.finish(download.source.index, download.source.term)
            return None
        except OSError as error:
            if not is_lack_of_space(error):
                raise
            raise _Trouble("there is no room on the disk") from error
        except OarlockError as error:
            raise _Trouble(str(error)) from error
        finally:
            if receiving is not None:
                await receiving.abort()

    def _written(self, download: Download, size_bytes: int) -> None:
        download.written()
        if self._download is download:
            self._pump()
        written, total = download.written_bytes, download.total_bytes
        if written * TOLD_SHARE // total > (written - size_bytes) * TOLD_SHARE // total:
            log.info("replica %d has %d of the %d bytes of a snapshot", self._replica, written, total)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


class _Trouble(Exception):
    """This snapshot cannot be had now; nothing is wrong with this replica."""
