"""A disk in memory whose power can fail: :class:`~oarlock.storage.disk.Disk` for tests and simulation.

It keeps apart what a program sees (the page cache) and what would survive (the platters), and promises no more than
the contract of the Disk seam does. When the power fails, each sector written since the last sync survives or not,
on its own; so does each name given or taken since its directory was synced. A sync that failed makes nothing
durable, and neither does the next one: the kernel has marked those pages clean.
"""

import asyncio
import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import NamedTuple, Self

from oarlock.storage.disk import SECTOR_BYTES, File, Lock


class PowerFailure(BaseException):
    """The power is off. Not an ``Exception``: no program gets to handle it."""


class Operation(NamedTuple):
    """An operation that has completed."""

    name: str
    """``write``, ``sync``, ``preallocate``, ``truncate``, ``open``, ``create``, ``rename``, ``remove``, …"""
    path: str
    """The file's name at the time; of a rename, the new one."""


class _Fault(NamedTuple):
    operation: str
    path: str
    effect: "OSError | PowerFailure | asyncio.Event"
    """Raised, or waited for."""


class _Contents:
    """The contents of one file, as seen and as far as they are durable."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen = bytearray()
        self.durable = bytearray()
        self.unsynced: dict[int, list[bytes]] = {}
        """What each sector held in turn since it was last synced; each of these may be what survives."""
        self.unsynced_sizes: list[int] = []
        self.stranded: dict[int, list[bytes]] = {}
        """The same for sectors whose sync failed: later syncs pass them by until they are written again."""

    def write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        end = offset + len(data)
        if end > len(self.seen):
            self.resize(end)
        self.seen[offset:end] = data
        for sector in range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            self.unsynced.setdefault(sector, []).append(self._sector(self.seen, sector))

    def resize(self, size: int) -> None:
        _resize(self.seen, size)
        self.unsynced_sizes.append(size)

    def begin_sync(self) -> "_Sync":
        """Of all that was written, and of the size."""
        written = {sector: len(held) for sector, held in self.unsynced.items()}
        sizes = self.unsynced_sizes
        return _Sync(self, written, sizes[-1] if sizes else None, len(sizes), [])

    def begin_sync_of(self, offset: int, end: int) -> "_Sync":
        """Of what was written from ``offset`` to ``end``, and of as much of the size as that needs."""
        sectors = range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES))
        written = {sector: len(held) for sector, held in self.unsynced.items() if sector in sectors}
        sizes = self.unsynced_sizes
        return _Sync(self, written, max(len(self.durable), end), len(sizes), [size for size in sizes if size > end])

    def after_power_failure(self, survives: Callable[[], bool], random: Random) -> "_Contents":
        """What is there when the power is back."""
        sectors = {sector: self._sector(self.durable, sector) for sector in {**self.stranded, **self.unsynced}}
        for sector in sectors:
            held = self.stranded.get(sector, []) + self.unsynced.get(sector, [])
            if survives():
                sectors[sector] = held[-1] if random.random() < 0.75 else random.choice(held)
        size = random.choice(self.unsynced_sizes) if self.unsynced_sizes and survives() else len(self.durable)
        left = _Contents(self.path)
        left.durable = bytearray(self.durable)
        for sector, content in sectors.items():
            _put(left.durable, sector * SECTOR_BYTES, content)
        _resize(left.durable, size)
        left.seen = bytearray(left.durable)
        return left

    @staticmethod
    def _sector(data: bytearray, sector: int) -> bytes:
        return bytes(data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])


class _Sync(NamedTuple):
    """What had been written when a sync began."""

    contents: _Contents
    sectors: dict[int, int]
    """For each sector, how many of its unsynced states."""
    size: int | None
    """What becomes durable of the size; None for no change."""
    sizes: int
    """How many of its unsynced sizes that decides about, but for"""
    sizes_left: list[int]
    """those which it may have or not have all the same."""

    def succeed(self) -> None:
        contents = self.contents
        if self.size is not None:
            _resize(contents.durable, self.size)
        for sector, held in self._take():
            contents.stranded.pop(sector, None)
            start = sector * SECTOR_BYTES
            # In its last sector a file may already hold more than the size that becomes durable.
            _put(contents.durable, start, held[-1] if self.size is None else held[-1][: self.size - start])

    def fail(self) -> None:
        for sector, held in self._take():
            self.contents.stranded.setdefault(sector, []).extend(held)

    def _take(self) -> Iterator[tuple[int, list[bytes]]]:
        unsynced = self.contents.unsynced
        self.contents.unsynced_sizes[: self.sizes] = self.sizes_left
        for sector, count in self.sectors.items():
            held, later = unsynced[sector][:count], unsynced[sector][count:]
            if later:
                unsynced[sector] = later
            else:
                del unsynced[sector]
            yield sector, held


def _resize(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def _put(data: bytearray, offset: int, content: bytes) -> None:
    """Write, lengthening the data with zeros if need be."""
    if len(data) < offset + len(content):
        _resize(data, offset + len(content))
    data[offset : offset + len(content)] = content


class _Names(dict[str, _Contents]):
    """The files by their names, and the directories."""

    def __init__(self, files: "Mapping[str, _Contents]", directories: Iterable[str]) -> None:
        super().__init__(files)
        self.directories = dict.fromkeys(directories)

    def move(self, source: str, target: str) -> None:
        """Give a directory another name."""

        def moved(path: str) -> str:
            return target + path[len(source) :] if path == source or path.startswith(source + "/") else path

        files = {moved(path): contents for path, contents in self.items()}
        self.clear()
        self.update(files)
        self.directories = {moved(path): None for path in self.directories}


_NameChange = Callable[[_Names], None]


class MemoryDisk:
    """An empty disk. ``random`` decides what survives a power failure."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._names = _Names({}, ())
        self._durable_names = _Names({}, ())
        self._unsynced_names: dict[str, list[_NameChange]] = {}
        self._locked: dict[str, None] = {}
        self._faults: list[_Fault] = []
        self._off = False
        self.capacity_bytes: int | None = None
        """Room for the contents of all files, None for no limit. What does not fit fails with ENOSPC."""
        self.power_fails_at: int | None = None
        """The number of the step in whose middle the power fails."""
        self.steps = 0
        """How many steps there were: points at which a power failure makes a difference."""
        self.operations: list[Operation] = []
        """What was completed, in order."""

    # Faults

    def fail_next(self, operation: str, code: int, path: str = "") -> None:
        """Let the next ``operation`` on a file whose path ends with ``path`` raise ``OSError(code)``.

        A write that fails may have written a part. A sync that fails has made nothing durable.
        """
        self._faults.append(_Fault(operation, path, OSError(code, os.strerror(code))))

    def stall_next(self, operation: str, path: str = "") -> asyncio.Event:
        """Let the next ``operation`` on a file whose path ends with ``path`` wait until the event is set."""
        event = asyncio.Event()
        self._faults.append(_Fault(operation, path, event))
        return event

    def power_fails_in_next(self, operation: str, path: str = "") -> None:
        """Let the power fail in the middle of the next ``operation`` on a file whose path ends with ``path``."""
        self._faults.append(_Fault(operation, path, PowerFailure(f"{operation} {path}: the power fails")))

    def flip_bit(self, path: str, bit: int) -> None:
        """Damage the file: flip one bit of it, counted from its start."""
        contents = self._find(path)
        for data in (contents.seen, contents.durable):
            if bit // 8 < len(data):
                data[bit // 8] ^= 1 << bit % 8

    def contents(self, path: str) -> bytes:
        """What a reader would see in the file."""
        return bytes(self._find(path).seen)

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Damage the file: put ``data`` in it, durably."""
        contents = self._find(path)
        for side in (contents.seen, contents.durable):
            _put(side, offset, data)

    def paths(self) -> list[str]:
        """All files, sorted."""
        return sorted(self._names)

    def kill(self) -> Self:
        """The disk as the next process finds it when this one is killed. This object is dead from now on."""
        self._off = True
        other = self._new()
        other._names, other._durable_names = self._names, self._durable_names
        other._unsynced_names = self._unsynced_names
        other.capacity_bytes = self.capacity_bytes
        return other

    def wiped(self) -> Self:
        """Another, empty disk in its place. This object is dead from now on."""
        self._off = True
        return self._new()

    def lose_power(self) -> Self:
        """The disk as it is when the power is back. This object is dead from now on."""
        self._off = True
        other = self._new()
        other.capacity_bytes = self.capacity_bytes
        names = _Names(self._durable_names, self._durable_names.directories)
        for directory in sorted(self._unsynced_names):
            survives = self._fate()
            for change in self._unsynced_names[directory]:
                if survives():
                    change(names)
        for path, contents in names.items():
            names[path] = contents.after_power_failure(self._fate(), self._random)
            names[path].path = path
        other._names, other._durable_names = names, _Names(names, names.directories)
        return other

    def _new(self) -> Self:
        """Another, empty disk of this kind."""
        return type(self)(self._random)

    def _fate(self) -> Callable[[], bool]:
        """Decides for each of a group of things whether it survives: often all or none, else each on its own."""
        chance = self._random.choice((0.0, 1.0, 0.5, 0.9))
        return lambda: self._random.random() < chance

    # The Disk seam

    async def open(self, path: str, *, create: bool = False) -> File:
        if not create:
            self._begin("open", path)
            contents = self._find(path)
            self._done("open", path)
            return _MemoryFile(self, contents)
        if path in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._in_directory(path)
        contents = _Contents(path)

        def give(names: _Names) -> None:
            names[path] = contents

        await self._change_names("create", path, give)
        return _MemoryFile(self, contents)

    async def rename(self, source: str, target: str) -> None:
        self._begin("rename", source)
        assert posixpath.dirname(source) == posixpath.dirname(target), "a file is renamed within its directory"
        if source in self._names.directories:
            await self._rename_directory(source, target)
            return
        contents = self._find(source)

        def move(names: _Names) -> None:
            names[target] = contents
            if names.get(source) is contents:
                del names[source]

        await self._change_names("rename", target, move)
        contents.path = target

    async def _rename_directory(self, source: str, target: str) -> None:
        if target in self._names.directories:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), target)
        inside = [
            path for path, changes in self._unsynced_names.items() if changes and f"{path}/".startswith(source + "/")
        ]
        assert not inside, "the names in a directory are synced before its own is changed"
        await self._change_names("rename", target, lambda names: names.move(source, target))
        for path, contents in self._names.items():
            contents.path = path

    async def remove(self, path: str) -> None:
        self._begin("remove", path)
        contents = self._find(path)

        def take(names: _Names) -> None:
            if names.get(path) is contents:
                del names[path]

        await self._change_names("remove", path, take)

    async def list(self, directory: str) -> list[str]:
        self._begin("list", directory)
        if directory in self._names:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
        if directory not in self._names.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        everything: Iterable[str] = [*self._names, *self._names.directories]
        return sorted(posixpath.basename(path) for path in everything if posixpath.dirname(path) == directory)

    async def exists(self, path: str) -> bool:
        self._begin("exists", path)
        return path in self._names or path in self._names.directories

    async def make_directory(self, path: str) -> None:
        self._begin("make_directory", path)
        while path not in ("", "/"):
            self._names.directories[path] = self._durable_names.directories[path] = None
            path = posixpath.dirname(path)

    async def sync_directory(self, directory: str) -> None:
        changes = self._unsynced_names.get(directory, [])
        count = len(changes)
        await self._step("sync_directory", directory)
        for change in changes[:count]:
            change(self._durable_names)
        del changes[:count]
        self._done("sync_directory", directory)

    def lock(self, path: str) -> Lock | None:
        self._begin("lock", path)
        self._in_directory(path)
        if path in self._locked:
            return None
        self._names.setdefault(path, _Contents(path))
        self._locked[path] = None
        return _MemoryLock(self._locked, path)

    def is_locked(self, path: str) -> bool:
        self._begin("is_locked", path)
        return path in self._locked

    # Steps

    def _begin(self, operation: str, path: str) -> None:
        if self._off:
            raise PowerFailure(f"{operation} {path}: the power is off")

    def _done(self, operation: str, path: str) -> None:
        self.operations.append(Operation(operation, path))

    async def _change_names(self, operation: str, path: str, change: _NameChange) -> None:
        self._begin(operation, path)
        change(self._names)
        self._unsynced_names.setdefault(posixpath.dirname(path), []).append(change)
        await self._step(operation, path)
        self._done(operation, path)

    async def _step(self, operation: str, path: str) -> None:
        """The middle of an operation: it has been asked for, and nothing is promised yet."""
        self._begin(operation, path)
        self.steps += 1
        if self.steps == self.power_fails_at:
            self._off = True
        self._begin(operation, path)
        for fault in self._faults:
            if fault.operation == operation and path.endswith(fault.path):
                self._faults.remove(fault)
                if isinstance(fault.effect, asyncio.Event):
                    await fault.effect.wait()
                    break
                self._off = isinstance(fault.effect, PowerFailure)
                raise fault.effect
        await asyncio.sleep(0)  # others run meanwhile
        self._begin(operation, path)

    def _take_space(self, bytes_more: int) -> None:
        used = sum(len(contents.seen) for contents in self._names.values())
        if self.capacity_bytes is not None and bytes_more > 0 and used + bytes_more > self.capacity_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _find(self, path: str) -> _Contents:
        try:
            return self._names[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def _in_directory(self, path: str) -> None:
        if posixpath.dirname(path) not in self._names.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


class _MemoryLock:
    def __init__(self, locked: dict[str, None], path: str) -> None:
        self._locked = locked
        self._path = path
        self._held = True

    def release(self) -> None:
        if self._held:
            self._held = False
            del self._locked[self._path]


class _MemoryFile:
    def __init__(self, disk: MemoryDisk, contents: _Contents) -> None:
        self._disk = disk
        self._contents = contents

    async def read_at(self, offset: int, size: int) -> bytes:
        self._disk._begin("read", self._contents.path)
        return bytes(self._contents.seen[offset : offset + size])

    async def write_at(self, offset: int, data: bytes, *, sync: bool = False) -> None:
        disk, contents = self._disk, self._contents
        disk._begin("write", contents.path)
        disk._take_space(offset + len(data) - len(contents.seen))
        # Whatever ends the write early ends it behind some sector: until then a part is all that others may see.
        part = disk._random.randint(0, len(data) // SECTOR_BYTES) * SECTOR_BYTES
        contents.write(offset, data[:part])
        await disk._step("write", contents.path)
        contents.write(offset + part, data[part:])
        disk._done("write", contents.path)
        if sync:
            await self._sync(contents.begin_sync_of(offset, offset + len(data)))

    async def sync(self) -> None:
        await self._sync(self._contents.begin_sync())

    async def _sync(self, written: _Sync) -> None:
        disk, contents = self._disk, self._contents
        disk._begin("sync", contents.path)
        try:
            await disk._step("sync", contents.path)
        except OSError:
            written.fail()
            raise
        written.succeed()
        disk._done("sync", contents.path)

    async def preallocate(self, size: int) -> None:
        disk, contents = self._disk, self._contents
        disk._begin("preallocate", contents.path)
        disk._take_space(size - len(contents.seen))
        if size > len(contents.seen):
            contents.resize(size)
        written = contents.begin_sync()
        await disk._step("preallocate", contents.path)
        written.succeed()
        disk._done("preallocate", contents.path)

    async def truncate(self, size: int) -> None:
        disk, contents = self._disk, self._contents
        disk._begin("truncate", contents.path)
        for sector in [sector for sector in contents.unsynced if sector * SECTOR_BYTES >= size]:
            del contents.unsynced[sector]
        contents.resize(size)
        await disk._step("truncate", contents.path)
        disk._done("truncate", contents.path)

    async def size(self) -> int:
        self._disk._begin("size", self._contents.path)
        return len(self._contents.seen)

    async def close(self) -> None:
        self._disk._done("close", self._contents.path)
