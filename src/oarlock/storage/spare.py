"""The spare: the next segment's space, taken and zero-filled before it is needed.

It is prepared while the present segment fills, so that a full disk shows early: the replica then refuses new writes
while what is under way still has room, and reads go on.
"""

import asyncio

from oarlock.storage.disk import Disk, File, is_lack_of_space
from oarlock.storage.whole_file import TEMPORARY_SUFFIX, remove_if_there

RETRY_S = 1.0
"""How long after a failed attempt to get space the next one is made, if someone asks."""

_NAME = "spare"


async def remove_spare(disk: Disk, directory: str) -> None:
    """Remove what an earlier process prepared; it may have begun to use it."""
    await remove_if_there(disk, f"{directory}/{_NAME}")
    await remove_if_there(disk, f"{directory}/{_NAME}{TEMPORARY_SUFFIX}")


class Spare:
    """One file of zeros, kept in stock."""

    def __init__(self, disk: Disk, directory: str, size_bytes: int) -> None:
        self.path = f"{directory}/{_NAME}"
        self._disk = disk
        self._directory = directory
        self._size_bytes = size_bytes
        self._task: asyncio.Task[File | None] | None = None
        self._error: OSError | None = None
        """Why the last attempt failed; None before its end."""
        self._lacks_space = False
        self._retry_at_s = float("-inf")
        """On the loop's clock."""

    @property
    def has_space(self) -> bool:
        """False from a failure to get space until an attempt succeeds. Asking makes another attempt when it is time."""
        if self._lacks_space and self._error is not None and asyncio.get_running_loop().time() >= self._retry_at_s:
            self.prepare()
        return not self._lacks_space

    @property
    def failure(self) -> OSError | None:
        """Why preparing failed, if it was anything but a lack of space. Final."""
        return None if is_lack_of_space(self._error) else self._error

    def prepare(self) -> None:
        """Begin to prepare a spare, in the background."""
        self._error = None
        self._task = asyncio.get_running_loop().create_task(self._prepare())

    async def take(self, size_bytes: int) -> tuple[File, int]:
        """The spare, open, of at least ``size_bytes``, and its size. It stands at ``path``: rename it.

        :raises OSError: there is no space, or the disk failed
        """
        assert self._task is not None, "a spare is prepared before it is taken"
        file = await self._task
        if file is None and is_lack_of_space(self._error):
            self.prepare()  # there may be room by now, and without it this is the end
            file = await self._task
        if file is None:
            assert self._error is not None
            raise self._error
        self._task = None
        if size_bytes > self._size_bytes:
            await file.preallocate(size_bytes)
        return file, max(size_bytes, self._size_bytes)

    async def close(self) -> None:
        """Wait until nothing is being prepared. What is prepared stays on disk until the next start."""
        if self._task is None:
            return
        # Not cancelled: its rename, carried out late, might hit what the directory's next owner is preparing.
        await asyncio.wait([self._task])
        file = None if self._task.cancelled() else self._task.result()
        self._task = None
        if file is not None:
            await file.close()

    async def _prepare(self) -> File | None:
        try:
            file = await self._zero_filled()
        except OSError as error:
            self._error = error
            self._lacks_space = is_lack_of_space(error)
            self._retry_at_s = asyncio.get_running_loop().time() + RETRY_S
            return None
        self._lacks_space = False
        return file

    async def _zero_filled(self) -> File:
        temporary = self.path + TEMPORARY_SUFFIX
        await remove_if_there(self._disk, temporary)
        file = await self._disk.open(temporary, create=True)
        failure: OSError | None = None
        try:
            await file.preallocate(self._size_bytes)
        except OSError as error:
            failure = error
        if failure is not None:  # not in there: see "Compiled" in docs/architecture.md
            await file.close()
            if is_lack_of_space(failure):
                await self._disk.remove(temporary)  # leave the little room there is to others
            raise failure
        await self._disk.rename(temporary, self.path)
        await self._disk.sync_directory(self._directory)
        return file
