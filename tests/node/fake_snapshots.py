"""Snapshots' files for tests of their transfer: bytes in memory, and calls that take a moment."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from oarlock.errors import CorruptSnapshot
from oarlock.types import Index, Term
from tests.testing.simulation.world import World

POINT = (Index(70), Term(3))


class FakeFile:
    """A snapshot that is open to be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size_bytes = len(data)
        self.reads = 0
        self.closed = False
        self.error: OSError | None = None

    async def read_at(self, offset: int, size: int) -> bytes:
        assert not self.closed
        await asyncio.sleep(0)
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.data[offset : offset + size]

    async def close(self) -> None:
        self.closed = True


class FakeReceiving:
    """A file that arrives: it is made of what is written, and complains of calls that overlap."""

    def __init__(self, store: "FakeStore", size_bytes: int) -> None:
        self.store = store
        self.size_bytes = size_bytes
        self.data = b""
        self.state = "open"
        self._busy = False

    async def write(self, offset: int, data: bytes) -> None:
        assert self.state == "open" and not self._busy
        assert offset == len(self.data)
        self._busy = True
        await self.store.moment()
        self._busy = False
        self.data += data

    async def finish(self, index: Index, term: Term) -> bytes:
        assert self.state == "open" and not self._busy
        await self.store.moment()
        if self.store.corrupt:
            self.store.corrupt -= 1
            raise CorruptSnapshot("it is damaged")
        assert len(self.data) == self.size_bytes
        self.state = "finished"
        return self.data

    async def abort(self) -> None:
        if self.state == "open":
            self.state = "aborted"


class FakeStore:
    """Where they arrive."""

    def __init__(self) -> None:
        self.received: list[FakeReceiving] = []
        self.corrupt = 0
        """How many of the next ones turn out to be damaged."""
        self.error: OSError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def moment(self) -> None:
        await asyncio.sleep(0)
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def receive(self, size_bytes: int) -> FakeReceiving:
        await self.moment()
        self.received.append(FakeReceiving(self, size_bytes))
        return self.received[-1]


def told(story: Callable[..., Any], whole: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that tells the whole of the story, under its name, in a world of virtual time."""

    def run() -> None:
        World().result(whole(), until=1000)

    run.__name__ = story.__name__
    run.__doc__ = story.__doc__
    return run
