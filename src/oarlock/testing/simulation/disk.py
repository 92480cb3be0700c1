"""The disk of a simulated host: a :class:`~oarlock.testing.memory_disk.MemoryDisk` that takes time and fails at random.

What the memory disk keeps apart (seen and durable) decides what a power failure leaves. Here every step takes virtual
time, so that a process can be killed in the middle of any, and :class:`DiskTroubles` says what goes wrong.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from oarlock.storage.disk import SECTOR_BYTES
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.testing.simulation.loop import Process, VirtualLoop, finish

_QUICK_S = (5e-6, 50e-6)
_SYNC_S = (100e-6, 900e-6)
_HEAD_BYTES = 64
"""Of a sector; where a frame's header would be. Small as it is, damage there does the most."""
_SYNCING = ("sync", "sync_directory", "preallocate")


class DiskTroubles(msgspec.Struct):
    """What is wrong with a disk at present."""

    stalled: bool = False
    """Nothing finishes."""
    slowness: float = 1.0
    failing: bool = False
    """The next write or sync ends with EIO, once;"""
    failing_in: Sequence[str] = ("write", "sync")
    """or the next of only one of them."""
    power_fails_in: str = ""
    """In the middle of the next operation of this name the machine loses power."""


class SimulatedDisk(MemoryDisk):
    """One host's disk, as one process uses it. ``random`` decides durations and what survives."""

    def __init__(self, random: Random, loop: VirtualLoop, bite: Callable[[str], None] = lambda what: None) -> None:
        """``bite`` is told of every operation that suffers."""
        super().__init__(random)
        self._bite = bite
        self.lose_power_now: Callable[[], None] = lambda: None
        """Called when the machine loses power in the middle of an operation."""
        self.troubles = DiskTroubles()
        self._loop = loop
        self._process: Process | None = None
        self._source = 0
        self._held: list[asyncio.Future[None]] = []

    def attach(self, process: Process, source: int) -> None:
        """From here on this process uses it."""
        self._process, self._source = process, source

    def release(self) -> None:
        """Nothing is stalled any more: what waited goes on."""
        self.troubles.stalled = False
        held, self._held = self._held, []
        for future in held:
            assert self._process is not None
            self._process.post(self._source, finish, future)

    def misdirect(self, path: str, random: Random) -> bool:
        """Damage a file for good: one of its written sectors gets the contents of another, or one bit is flipped.
        False if there is nothing in it to damage."""
        contents = self.contents(path)
        written = [
            number
            for number in range(-(-len(contents) // SECTOR_BYTES))
            if contents[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES].strip(b"\0")
        ]
        if not written:
            return False
        # Often the last: only there a reader has to tell damage from a write that never finished.
        sector = written[-1] if random.random() < 0.5 else random.choice(written)
        if len(written) > 1 and random.random() < 0.5:
            source = random.choice([other for other in written if other != sector])
            data = contents[source * SECTOR_BYTES : (source + 1) * SECTOR_BYTES]
            self.overwrite(path, sector * SECTOR_BYTES, data)
        else:
            # Where something stands: in the blank rest of a sector nobody looks.
            held = contents[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES].rstrip(b"\0")
            size = min(len(held), _HEAD_BYTES) if random.random() < 0.5 else len(held)
            self.flip_bit(path, sector * SECTOR_BYTES * 8 + random.randrange(size * 8))
        return True

    def _take_space(self, bytes_more: int) -> None:
        try:
            super()._take_space(bytes_more)
        except OSError:
            self._bite("no space on disk")
            raise

    def _new(self) -> SimulatedDisk:
        other = SimulatedDisk(self._random, self._loop, self._bite)
        other.troubles = DiskTroubles(slowness=self.troubles.slowness, power_fails_in=self.troubles.power_fails_in)
        other.lose_power_now = self.lose_power_now
        return other

    def _begin(self, operation: str, path: str) -> None:
        if self._process is not None and not self._process.alive:  # a finally clause, at the end of the world
            raise PowerFailure(f"{operation} {path}: the process is dead")
        super()._begin(operation, path)

    async def _step(self, operation: str, path: str) -> None:
        self._begin(operation, path)
        self.steps += 1
        assert self._process is not None, "a disk is attached to a process"
        troubles = self.troubles
        if operation == troubles.power_fails_in:
            troubles.power_fails_in = ""
            self._bite("power lost in a disk operation")
            self._loop.at(self._loop.now, self.lose_power_now)
            await self._loop.create_future()  # for ever
        low, high = _SYNC_S if operation in _SYNCING else _QUICK_S
        if troubles.slowness != 1.0:
            self._bite("disk operation slowed down")
        await self._loop.sleep_in(self._process, self._source, self._random.uniform(low, high) * troubles.slowness)
        while troubles.stalled:
            self._bite("disk operation stalled")
            future: asyncio.Future[None] = self._loop.create_future()
            self._held.append(future)
            await future
        if troubles.failing and operation in troubles.failing_in:
            troubles.failing = False
            self._bite("disk operation failed")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._begin(operation, path)
        self._loop.trace.note(self._loop.now, self._source, self.steps)
