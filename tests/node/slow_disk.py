"""A disk whose syncs can be counted, held and failed, over any other."""

import asyncio
import errno
import os

from oarlock.storage.disk import Disk, File, Lock

ALLOCATE_BYTES = 256 * 1024
"""Segments are made no longer than this ahead of use: tests open many nodes, and write little."""


class SlowDisk:
    """Passes everything on, but for what a test asked for."""

    def __init__(self, inner: Disk) -> None:
        self.inner = inner
        self.log_writes = 0
        """Writes to the log so far, not counting the preparation of segments."""
        self.waiting = 0
        """Syncs that are held now."""
        self._go = asyncio.Event()
        self._go.set()
        self._code = 0

    def hold_syncs(self) -> None:
        """From now on no sync returns ..."""
        self._go.clear()

    def release(self) -> None:
        """... until now."""
        self._go.set()

    def fail_syncs(self, code: int = errno.EIO) -> None:
        """From now on every sync of the log fails."""
        self._code = code

    async def syncing(self) -> None:
        self.waiting += 1
        try:
            await self._go.wait()
        finally:
            self.waiting -= 1
        if self._code:
            raise OSError(self._code, os.strerror(self._code))

    async def open(self, path: str, *, create: bool = False) -> File:
        return SlowFile(self, await self.inner.open(path, create=create))

    async def rename(self, source: str, target: str) -> None:
        await self.inner.rename(source, target)

    async def remove(self, path: str) -> None:
        await self.inner.remove(path)

    async def list(self, directory: str) -> list[str]:
        return await self.inner.list(directory)

    async def exists(self, path: str) -> bool:
        return await self.inner.exists(path)

    async def make_directory(self, path: str) -> None:
        await self.inner.make_directory(path)

    async def sync_directory(self, directory: str) -> None:
        await self.inner.sync_directory(directory)

    def lock(self, path: str) -> Lock | None:
        return self.inner.lock(path)

    def is_locked(self, path: str) -> bool:
        return self.inner.is_locked(path)


class SlowFile:
    """A file of a :class:`SlowDisk`."""

    def __init__(self, disk: SlowDisk, inner: File) -> None:
        self._disk = disk
        self._inner = inner

    async def read_at(self, offset: int, size: int) -> bytes:
        return await self._inner.read_at(offset, size)

    async def write_at(self, offset: int, data: bytes, *, sync: bool = False) -> None:
        self._disk.log_writes += 1
        await self._inner.write_at(offset, data)
        if sync:
            await self.sync()

    async def sync(self) -> None:
        await self._disk.syncing()
        await self._inner.sync()

    async def preallocate(self, size: int) -> None:
        await self._inner.preallocate(min(size, ALLOCATE_BYTES))

    async def truncate(self, size: int) -> None:
        await self._inner.truncate(size)

    async def size(self) -> int:
        return await self._inner.size()

    async def close(self) -> None:
        await self._inner.close()
