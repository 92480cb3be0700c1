"""The Disk seam: all that storage may ask of a disk, and what each call promises.

Contract. What ``write_at`` wrote may be lost, torn at sector borders, or half there after a power failure, in any
order, until a ``sync`` of that file that began after it has returned, or it has itself, if it was asked to sync. A
name (create, rename, remove) is durable once ``sync_directory`` of its directory has returned. An error from
``write_at`` or ``sync`` says nothing about what reached the disk: the caller must stop using the file (see
docs/architecture.md, durability). Neither does cancelling a call: what was asked may still happen.
"""

import errno
from typing import Protocol

SECTOR_BYTES = 4096
"""Unit that a disk writes whole or not at all; frames start at multiples of it."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_lack_of_space(error: BaseException | None) -> bool:
    """Whether the error goes away when there is room again."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


class File(Protocol):
    """An open file. Offsets and sizes are bytes."""

    async def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of the file."""
        ...

    async def write_at(self, offset: int, data: bytes, *, sync: bool = False) -> None:
        """Write all of ``data``; with ``sync``, it is durable on return, and nothing is said of what was written before
        without."""
        ...

    async def sync(self) -> None:
        """Make all data written before the call durable (fdatasync)."""
        ...

    async def preallocate(self, size: int) -> None:
        """Lengthen the file to ``size`` bytes with durable zeros, so that later writes change no metadata.

        Never shortens. ``ENOSPC`` leaves the file somewhere between its old size and the new one.
        """
        ...

    async def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    async def size(self) -> int:
        """The file's present size."""
        ...

    async def close(self) -> None:
        """Release the file, once what was asked of it is done; does not wait for that. Does not sync."""
        ...


class Lock(Protocol):
    """Held until released or until the process ends."""

    def release(self) -> None:
        """Let another process have it. Harmless when repeated."""
        ...


class Disk(Protocol):
    """A file system, as far as storage needs one. Paths are strings; errors are ``OSError``."""

    async def open(self, path: str, *, create: bool = False) -> File:
        """Open an existing file, or with ``create`` make a new one (an error if it exists)."""
        ...

    async def rename(self, source: str, target: str) -> None:
        """Give the file another name in the same directory, replacing what had it; or the directory, if nothing has
        the name. Atomic."""
        ...

    async def remove(self, path: str) -> None: ...

    async def list(self, directory: str) -> list[str]:
        """Names in the directory, sorted."""
        ...

    async def exists(self, path: str) -> bool: ...

    async def make_directory(self, path: str) -> None:
        """Make the directory and missing parents, durably; no error if it exists."""
        ...

    async def sync_directory(self, directory: str) -> None:
        """Make all names given or taken in the directory before the call durable."""
        ...

    def lock(self, path: str) -> Lock | None:
        """Take an exclusive lock on the file at ``path`` (made if missing), or None if another holds it."""
        ...

    def is_locked(self, path: str) -> bool:
        """Whether somebody holds that lock. Makes nothing, and keeps nobody from taking it."""
        ...
