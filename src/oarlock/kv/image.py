"""The data of one moment, read shard by shard while commands go on changing it.

Nothing is copied when the moment comes. What a key was is remembered when it is about to change for the first time,
if its shard is still to be read; the shard of that moment is what it holds now, with what is remembered laid over it.
So a moment costs next to nothing, a step is one shard, and while anybody reads a change costs half a microsecond more.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from weakref import ref
from zlib import crc32

from oarlock.kv.lifetimes import End, Lifetimes
from oarlock.kv.shards import SHARD_MASK, SHARDS, Shards


class Part(NamedTuple):
    """What one shard held, without the keys that were gone; it belongs to who reads it."""

    values: dict[bytes, bytes]
    ends: dict[bytes, End]
    """Of the keys that had a lifetime."""


class ImageOfAMoment:
    """What there was when this was made. It has one reader, and is of no more use when that was dropped."""

    __slots__ = ("_lifetimes", "_now_ms", "_read", "_reader", "_shards", "changed")

    def __init__(self, shards: Shards, lifetimes: Lifetimes) -> None:
        self._shards = shards
        self._lifetimes = lifetimes
        self._now_ms = lifetimes.now_ms
        self._read = 0
        self._reader: ref[Iterator[Part]] | None = None
        self.changed: defaultdict[int, dict[bytes, tuple[bytes | None, End | None]]] = defaultdict(dict)
        """By shard, keys that may have changed since, and what they were."""

    @property
    def wanted(self) -> bool:
        """Whether there is more to be read, and anybody who may."""
        return self._read < SHARDS and self._reader is not None and self._reader() is not None

    def reader(self) -> Iterator[Part]:
        """The shards, one a step."""
        reader = self._parts()
        self._reader = ref(reader)
        return reader

    def before_change(self, keys: Iterable[bytes]) -> None:
        """Any of these may be about to change. Remembering one that is not does no harm."""
        shards, changed, read = self._shards, self.changed, self._read
        deadlines, end = self._lifetimes.deadlines, self._lifetimes.end
        for key in keys:
            number = crc32(key) & SHARD_MASK
            if number >= read:
                remembered = changed[number]
                if key not in remembered:
                    remembered[key] = shards[number].get(key), end(key) if key in deadlines else None

    def _parts(self) -> Iterator[Part]:
        for number, shard in enumerate(self._shards):
            self._read = number + 1
            yield self._part(shard.copy(), self.changed.pop(number, None))

    def _part(self, values: dict[bytes, bytes], changed: dict[bytes, tuple[bytes | None, End | None]] | None) -> Part:
        deadlines, end = self._lifetimes.deadlines, self._lifetimes.end
        ends = {key: end(key) for key in values if key in deadlines} if deadlines and values else {}
        if changed is not None:
            for key, (value, ending) in changed.items():
                values.pop(key, None)
                ends.pop(key, None)
                if value is not None:
                    values[key] = value
                if ending is not None:
                    ends[key] = ending
        for key in [key for key, ending in ends.items() if ending.deadline_ms <= self._now_ms]:
            del values[key], ends[key]
        return Part(values, ends)
