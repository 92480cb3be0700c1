"""The data of one moment, read shard by shard while commands go on changing it.

Nothing is copied when the moment comes. What a key was is remembered when it is about to change for the first time,
if its shard is still to be read; the shard of that moment is what it holds now, with what is remembered laid over it.
So a moment costs next to nothing, a step is one shard, and while anybody reads a change costs half a microsecond more.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias
from weakref import ref
from zlib import crc32

from oarlock.kv.lifetimes import End, Lifetimes
from oarlock.kv.shards import SHARD_MASK, SHARDS, Shards

Part: TypeAlias = tuple[dict[bytes, bytes], dict[bytes, End]]
"""The values that one shard held, and the ends of those keys that had one, without those that were gone. It belongs to
who reads it."""


class ImageOfAMoment:
    """What there was when this was made. It has one reader, and is of no more use when that was dropped."""

    __slots__ = ("_changed", "_ends", "_lifetimes", "_next", "_now_ms", "_reader", "_shards")

    def __init__(self, shards: Shards, lifetimes: Lifetimes) -> None:
        self._shards = shards
        self._lifetimes = lifetimes
        self._now_ms = lifetimes.now_ms
        self._reader: ref[Iterator[Part]] | None = None
        self._next = 0
        """The first shard that is still to be read."""
        self._changed: dict[int, dict[bytes, bytes | None]] = {}
        """By shard, keys that may have changed since, and what they were."""
        self._ends: dict[bytes, End] = {}
        """When those of them ended that had a lifetime."""

    @property
    def wanted(self) -> bool:
        """Whether there is more to be read, and anybody who may."""
        return self._next < SHARDS and self._reader is not None and self._reader() is not None

    def reader(self) -> Iterator[Part]:
        """The shards that held anything, one a step."""
        reader = self._parts()
        self._reader = ref(reader)
        return reader

    def before_change(self, keys: Iterable[bytes]) -> None:
        """Any of these may be about to change. Remembering one that is not does no harm."""
        shards, changed = self._shards, self._changed
        deadlines = self._lifetimes.deadlines
        for key in keys:
            number = crc32(key) & SHARD_MASK
            if number < self._next:
                continue
            remembered = changed.get(number)
            if remembered is None:
                remembered = changed[number] = {}
            if key not in remembered:
                remembered[key] = shards[number].get(key)
                if key in deadlines:
                    self._ends[key] = self._lifetimes.end(key)

    def remembered(self) -> list[dict[bytes, Any]]:
        """The tables of what is remembered, to be freed by somebody with more patience than a destructor."""
        return [self._ends, *self._changed.values()]

    def _parts(self) -> Iterator[Part]:
        deadlines = self._lifetimes.deadlines
        for number, shard in enumerate(self._shards):
            self._next = number + 1
            changed = self._changed.pop(number, None)
            if changed or (shard and deadlines):
                yield self._part(shard.copy(), changed or {})
            elif shard:
                yield shard.copy(), {}

    def _part(self, values: dict[bytes, bytes], changed: dict[bytes, bytes | None]) -> Part:
        deadlines, end = self._lifetimes.deadlines, self._lifetimes.end
        ends = {key: end(key) for key in values if key in deadlines} if deadlines else {}
        for key, value in changed.items():
            values.pop(key, None)
            ends.pop(key, None)
            if value is not None:
                values[key] = value
                if key in self._ends:
                    ends[key] = self._ends.pop(key)
        for key in [key for key, ending in ends.items() if ending.deadline_ms <= self._now_ms]:
            del values[key], ends[key]
        return values, ends
