"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import posixpath
from collections.abc import AsyncIterator

from oarlock.storage.disk import Disk, File, is_lack_of_space

TEMPORARY_SUFFIX = ".tmp"

SYNC_BYTES = 1024 * 1024
"""A large file is synced in steps, so that the log's own sync never waits behind a whole one."""


async def read_whole_file(disk: Disk, path: str) -> bytes:
    """The contents of the file."""
    file = await disk.open(path)
    try:
        return await file.read_at(0, await file.size())
    finally:
        await file.close()


async def write_whole_file(disk: Disk, directory: str, name: str, data: bytes) -> None:
    """Write the file under a temporary name, and give it its own once it is durable. Durable on return."""
    path = f"{directory}/{name}"
    await remove_if_there(disk, path + TEMPORARY_SUFFIX)
    file = await disk.open(path + TEMPORARY_SUFFIX, create=True)
    try:
        await file.write_at(0, data, sync=True)
    finally:
        await file.close()
    await disk.rename(path + TEMPORARY_SUFFIX, path)
    await disk.sync_directory(directory)


async def remove_if_there(disk: Disk, path: str) -> None:
    """Remove what an earlier attempt left, if it did."""
    if await disk.exists(path):
        await disk.remove(path)


class GrowingFile:
    """A large file that is written bit by bit under a temporary name. After any error, and cancelled, it is gone."""

    def __init__(self, disk: Disk, temporary: str, file: File) -> None:
        self.size_bytes = 0
        self._disk = disk
        self._temporary = temporary
        self._file = file
        self._unsynced_bytes = 0
        self._open = True

    @classmethod
    async def create(cls, disk: Disk, temporary: str) -> "GrowingFile":
        """An empty one, in place of what an earlier attempt left."""
        await remove_if_there(disk, temporary)
        return cls(disk, temporary, await disk.open(temporary, create=True))

    async def append(self, data: bytes) -> None:
        """Write more of it.

        :raises OSError: the disk failed, or has no room (``ENOSPC``, ``EDQUOT``)
        """
        async with self._or_nothing():
            await self._file.write_at(self.size_bytes, data)
            self.size_bytes += len(data)
            self._unsynced_bytes += len(data)
            if self._unsynced_bytes >= SYNC_BYTES:
                await self._file.sync()
                self._unsynced_bytes = 0

    async def give_name(self, path: str) -> None:
        """Make it durable, and let it have its name, also durably.

        :raises OSError: as of :meth:`append`
        """
        async with self._or_nothing():
            await self._file.sync()
            await self._file.close()
            await self._disk.rename(self._temporary, path)
            self._open = False
            await self._disk.sync_directory(posixpath.dirname(path))

    async def abort(self) -> None:
        """Remove it. Harmless when it has its name or is gone. What cannot be removed goes at the next start."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                await self._file.close()
                await self._disk.remove(self._temporary)

    @contextlib.asynccontextmanager
    async def _or_nothing(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            await self.abort()
            if isinstance(error, OSError) and is_lack_of_space(error):
                raise OSError(error.errno, "there is no room for all of the file", self._temporary) from error
            raise
