"""Giving snapshots to followers that ask for them: whose request comes next, and when.

All answers together are paced, so that followers that catch up take neither the network nor the disk from clients.
Requests wait here, in a bounded number, and not their answers: what is read is sent at once. A request that is dropped
is asked again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from oarlock.errors import StartupError
from oarlock.network.messages import PeerMessage, SnapshotChunk, SnapshotGone, SnapshotRequest
from oarlock.node.fetching import OPEN_PARTS, PART_BYTES
from oarlock.types import Index, ReplicaId, Term

log = logging.getLogger("oarlock")

BYTES_PER_S = 32 * 1024 * 1024
"""Of all answers together: a gibibyte in half a minute."""
BURST_S = 0.02
"""What was not sent in this time may be sent later: timers are late, too."""
BACKLOG_BYTES = OPEN_PARTS * PART_BYTES
"""A link in which more is waiting gets no part: it would only hold up the beats behind it."""
IDLE_S = 10.0
"""A file that nobody asks for is kept open for so long."""
NEVER = float("inf")


class RequestQueue:
    """The requests that wait: fair to all followers, and paced. Pure."""

    def __init__(self, bytes_per_s: float = BYTES_PER_S) -> None:
        self._bytes_per_s = bytes_per_s
        self._waiting: dict[ReplicaId, dict[SnapshotRequest, None]] = {}
        """By follower; whose turn it is stands first."""
        self._free_at = -NEVER
        """When the answers so far will have left, at that pace."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, peer: ReplicaId, request: SnapshotRequest) -> None:
        """A request. One that waits already keeps its place, and what is older than its window is dropped."""
        if request.offset < 0 or not 0 < request.size <= PART_BYTES:
            return
        requests = self._waiting.setdefault(peer, {})
        requests[request] = None
        if len(requests) > OPEN_PARTS:
            del requests[next(iter(requests))]

    def forget(self, peer: ReplicaId) -> None:
        """The peer is gone; it asks again when it is back. Harmless when repeated."""
        self._waiting.pop(peer, None)

    def deadline(self) -> float:
        """When the next request may be taken."""
        return self._free_at if self._waiting else NEVER

    def take(self, now: float) -> tuple[ReplicaId, SnapshotRequest] | None:
        """The next request to answer, if one may be answered now. Everybody's turn comes round."""
        if now < self.deadline():
            return None
        peer, requests = next(iter(self._waiting.items()))
        request = next(iter(requests))
        del requests[request], self._waiting[peer]
        if requests:
            self._waiting[peer] = requests  # behind all others
        self._free_at = max(self._free_at, now - BURST_S) + request.size / self._bytes_per_s
        return peer, request


class OpenSnapshot(Protocol):
    """A snapshot's file: see :class:`oarlock.storage.snapshot.SnapshotFile`."""

    @property
    def size_bytes(self) -> int: ...

    async def read_at(self, offset: int, size: int) -> bytes: ...

    async def close(self) -> None: ...


class SnapshotServer:
    """Answers requests from files that stay open, for all who ask, until nobody has asked for a while.

    ``open_snapshot`` opens the snapshot of that index and term, and keeps it from being removed until it is closed;
    None if there is none. ``backlog_bytes`` tells what waits in the link to a peer. ``failed`` is called with an error
    that this replica must not survive.
    """

    def __init__(
        self,
        open_snapshot: Callable[[Index, Term], Awaitable[OpenSnapshot | None]],
        send: Callable[[ReplicaId, PeerMessage], object],
        backlog_bytes: Callable[[ReplicaId], int],
        failed: Callable[[BaseException], None],
        bytes_per_s: float = BYTES_PER_S,
    ) -> None:
        self._open_snapshot = open_snapshot
        self._send = send
        self._backlog_bytes = backlog_bytes
        self._failed = failed
        self._queue = RequestQueue(bytes_per_s)
        self._files: dict[tuple[Index, Term], OpenSnapshot] = {}
        self._used_at: dict[tuple[Index, Term], float] = {}
        self._given: dict[ReplicaId, tuple[Index, Term]] = {}
        """Whose end a follower was sent last."""
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def received(self, peer: ReplicaId, request: SnapshotRequest) -> None:
        """A follower asks for a part."""
        self._queue.add(peer, request)
        self._news.set()
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(self._ended)

    def disconnected(self, peer: ReplicaId) -> None:
        """The link to the peer is gone, and with it what it asked for."""
        self._queue.forget(peer)

    async def close(self) -> None:
        """Answer nothing more, and close the files."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while await self._wait():
                if (taken := self._queue.take(self._loop.time())) is not None:
                    await self._answer(*taken)
        finally:
            for key in list(self._files):
                await self._close(key)

    async def _wait(self) -> bool:
        """Until a request may be taken; False if none has come for a while."""
        self._news.clear()
        if self._queue:
            await asyncio.sleep(self._queue.deadline() - self._loop.time())
            return True
        try:
            async with asyncio.timeout(IDLE_S):
                await self._news.wait()
        except TimeoutError:
            return bool(self._queue)
        return True

    async def _answer(self, peer: ReplicaId, request: SnapshotRequest) -> None:
        if self._backlog_bytes(peer) > BACKLOG_BYTES:
            return
        index, term, offset = request.index, request.term, request.offset
        if offset == 0 and self._given.get(peer) == (index, term):
            # It has had all of it, and begins again: let the file be looked through, as when it is opened.
            del self._given[peer]
            await self._close((index, term))
        try:
            file = await self._file(index, term)
            data = await file.read_at(offset, request.size) if file is not None and offset < file.size_bytes else b""
        except (OSError, StartupError) as error:
            log.warning("the snapshot at index %d cannot be read for replica %d: %s", index, peer, error)
            await self._close((index, term))
            file = None
        if file is None:
            self._send(peer, SnapshotGone(index, term))
        elif data:
            self._send(peer, SnapshotChunk(index, term, file.size_bytes, offset, data))
            if offset + len(data) == file.size_bytes:
                self._given[peer] = (index, term)

    async def _file(self, index: Index, term: Term) -> OpenSnapshot | None:
        """The file, open. Before it is opened, those that nobody has asked for in a while are closed."""
        key, now = (index, term), self._loop.time()
        if key not in self._files:
            for other in [other for other, used_at in self._used_at.items() if now - used_at > IDLE_S]:
                await self._close(other)
            file = await self._open_snapshot(index, term)
            if file is None:
                return None
            self._files[key] = file
        self._used_at[key] = now
        return self._files[key]

    async def _close(self, key: tuple[Index, Term]) -> None:
        if key in self._files:
            del self._used_at[key]
            await self._files.pop(key).close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
