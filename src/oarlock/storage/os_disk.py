"""The real disk: :class:`~oarlock.storage.disk.Disk` over ``os`` calls, the only place in storage with threads.

Each file that is written to has a thread of its own, and all housekeeping (names, zero-filling, removal) shares
another, so that an append to the log never waits for a segment that is being prepared. The threads are plain
daemons and not a ``ThreadPoolExecutor``, which the interpreter joins on its way out: a thread stuck in fsync must
never keep the process from exiting.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from oarlock.storage.disk import File

T = TypeVar("T")

ZERO_FILL_BYTES = 1024 * 1024
"""Zeros are written and synced in pieces, so that a log append's own sync never waits behind a whole segment."""


class _Job(NamedTuple):
    call: Callable[[], Any]
    answer: Callable[[Any, Exception | None], None]
    """Called in the thread with the result and the error."""


class _Worker:
    """A daemon thread that carries out calls in the order given. It starts with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._started = False
        self._stopped = False

    async def run(self, call: Callable[[], T]) -> T:
        """Carry out ``call`` in the thread. Cancelling stops the waiting, not the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def answer(result: T, error: Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is waiting any more
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._put(_Job(call, answer))
        return await future

    def post(self, call: Callable[[], None]) -> None:
        """Carry out ``call`` in the thread, and tell nobody how it went."""
        self._put(_Job(call, lambda _result, _error: None))

    def stop(self) -> None:
        """Let the thread end once it has done what was asked before."""
        self._stopped = True
        self._jobs.put(None)

    def _put(self, job: _Job) -> None:
        if self._stopped:
            raise OSError(errno.EBADF, "the file or disk is closed")
        self._jobs.put(job)
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                result = job.call()
            except Exception as raised:
                error = raised
            job.answer(result, error)
            del job, result, error  # an idle thread must not keep a frame's bytes alive


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return  # cancelled meanwhile
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class OsDisk:
    """The file system of the machine. Usable from one event loop at a time."""

    def __init__(self, *, read_only: bool = False) -> None:
        """``read_only``: files can be opened that may not be written, and none of them is."""
        self._access = os.O_RDONLY if read_only else os.O_RDWR
        self._housekeeping = _Worker("oarlock-housekeeping")

    def close(self) -> None:
        """Let the housekeeping thread end. Optional: an idle daemon thread holds up nothing."""
        self._housekeeping.stop()

    async def open(self, path: str, *, create: bool = False) -> File:
        flags = self._access | os.O_CLOEXEC

        def open_twice() -> tuple[int, int]:
            descriptor = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o644)
            try:
                return descriptor, os.open(path, flags | os.O_DSYNC)
            except OSError:
                os.close(descriptor)
                if create:
                    os.remove(path)
                raise

        return _OsFile(path, *await self._housekeeping.run(open_twice), self._housekeeping)

    async def rename(self, source: str, target: str) -> None:
        await self._housekeeping.run(lambda: os.replace(source, target))

    async def remove(self, path: str) -> None:
        await self._housekeeping.run(lambda: os.remove(path))

    async def list(self, directory: str) -> list[str]:
        return await self._housekeeping.run(lambda: sorted(os.listdir(directory)))

    async def exists(self, path: str) -> bool:
        return await self._housekeeping.run(lambda: os.path.lexists(path))

    async def make_directory(self, path: str) -> None:
        await self._housekeeping.run(lambda: _make_directory(path))

    async def sync_directory(self, directory: str) -> None:
        await self._housekeeping.run(lambda: _sync_directory(directory))

    def lock(self, path: str) -> "_OsLock | None":
        # Close-on-exec: a program started by this process must not inherit the lock and outlive us with it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return _OsLock(descriptor)

    def is_locked(self, path: str) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # and let go of it at once
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


class _OsLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            # Closing alone would leave it held by a child that was forked and has not yet run its program.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


class _OsFile:
    def __init__(self, path: str, descriptor: int, synced: int, housekeeping: _Worker) -> None:
        self._descriptor = descriptor
        self._synced = synced
        """The same file. What is written through this one is durable when the call returns: one call, and not two
        between which the thread may wait for the interpreter's lock until the event loop has done what it is at."""
        self._housekeeping = housekeeping
        self._writer = _Worker(f"oarlock-write-{os.path.basename(path)}")
        self._closing = False

    async def read_at(self, offset: int, size: int) -> bytes:
        return await self._use(self._housekeeping).run(lambda: _read(self._descriptor, offset, size))

    async def write_at(self, offset: int, data: bytes, *, sync: bool = False) -> None:
        descriptor = self._synced if sync else self._descriptor
        await self._use(self._writer).run(lambda: _write(descriptor, offset, data))

    async def sync(self) -> None:
        await self._use(self._writer).run(lambda: os.fdatasync(self._descriptor))

    async def preallocate(self, size: int) -> None:
        await self._use(self._housekeeping).run(lambda: _zero_fill(self._descriptor, size))

    async def truncate(self, size: int) -> None:
        await self._use(self._housekeeping).run(lambda: os.ftruncate(self._descriptor, size))

    async def size(self) -> int:
        return await self._use(self._housekeeping).run(lambda: os.fstat(self._descriptor).st_size)

    def _use(self, worker: _Worker) -> _Worker:
        if self._closing:
            raise OSError(errno.EBADF, "the file is closed")
        return worker

    async def close(self) -> None:
        # Behind all that either thread still has to do here, or a descriptor's number might be another file's by
        # then. Nobody waits for that: what is stuck in the disk must not be able to hold up a shutdown.
        if not self._closing:
            self._closing = True
            self._housekeeping.post(self._close_in_writer)

    def _close_in_writer(self) -> None:
        self._writer.post(lambda: os.close(self._descriptor))
        self._writer.post(lambda: os.close(self._synced))
        self._writer.stop()


def _read(descriptor: int, offset: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0 and (piece := os.pread(descriptor, size, offset)):
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, offset: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        if written == 0:
            raise OSError(errno.EIO, "the disk took none of the data")
        rest = rest[written:]
        offset += written


def _zero_fill(descriptor: int, size: int) -> None:
    """Really write the zeros: extents that are only reserved cost a metadata update at the first write to each."""
    offset = os.fstat(descriptor).st_size
    if size > offset:
        os.posix_fallocate(descriptor, offset, size - offset)  # finds a full disk out before writing anything
    while offset < size:
        piece = bytes(min(ZERO_FILL_BYTES, size - offset))
        _write(descriptor, offset, piece)
        os.fdatasync(descriptor)
        offset += len(piece)
    os.fsync(descriptor)


def _make_directory(path: str) -> None:
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        _make_directory(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    _sync_directory(parent)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
