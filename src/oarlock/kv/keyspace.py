"""Where the data is: in 1,024 dicts (:mod:`oarlock.kv.shards`).

Values are plain ``bytes``, which the garbage collector never looks at; what else is known of a key stands in tables
beside: when it ends (:mod:`oarlock.kv.lifetimes`), and when it was last written, for ``WATCH``.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final
from zlib import crc32

from oarlock.kv.image import ImageOfAMoment, Part
from oarlock.kv.lifetimes import NEVER, Lifetimes
from oarlock.kv.rubbish import Rubbish
from oarlock.kv.shards import SHARD_BITS, SHARD_MASK, empty

_HASH_BITS: Final = 32 - SHARD_BITS
_HASH_MASK: Final = (1 << _HASH_BITS) - 1

VERSIONS: Final = 1 << 16
VERSION_MASK: Final = VERSIONS - 1

_RECLAIMED_PER_CALL: Final = 1000
"""Items that are always freed at one go; about 0.1 ms."""
_ENDED_PER_CALL: Final = 2000
"""Places in the heap of lifetimes that one apply looks at; about 5 ms."""


class Keyspace:
    """The keys and their values."""

    __slots__ = ("_images", "_rubbish", "change", "lifetimes", "shards", "versions")

    def __init__(self) -> None:
        self.shards = empty()
        """A key that is gone may still stand in here: ask :attr:`lifetimes` too, or use :meth:`get`."""
        self.lifetimes = Lifetimes()
        self.change = 0
        """Number of the present command, from the beginning of the log, and so the same on every replica."""
        self.versions = array("Q", bytes(8 * VERSIONS))
        """For each slot, to which a key belongs by its CRC, the number of the last command that wrote one of them."""
        self._images: list[ImageOfAMoment] = []
        self._rubbish = Rubbish()

    def __len__(self) -> int:
        return sum(map(len, self.shards)) - self.lifetimes.count_gone()

    def begin(self, now_ms: int) -> None:
        """A batch of this log time is about to be applied. Keys that end are gone from here on."""
        lifetimes = self.lifetimes
        if now_ms > lifetimes.now_ms:
            lifetimes.now_ms = now_ms
        due = lifetimes.next_due_ms
        if due is not None and due <= lifetimes.now_ms:
            ended = lifetimes.take_due(_ENDED_PER_CALL)
            self.before_change(ended)
            for key in ended:
                del self.shards[crc32(key) & SHARD_MASK][key]
                lifetimes.forget(key)

    def get(self, key: bytes) -> bytes | None:
        """The key's value, or None if there is no such key."""
        value = self.shards[crc32(key) & SHARD_MASK].get(key)
        return None if value is None or self.lifetimes.gone(key) else value

    def put(self, key: bytes, value: bytes) -> None:
        """Set the key for ever, whatever its lifetime was."""
        if self.lifetimes.deadlines:
            self.lifetimes.forget(key)
        self._store(key, value)

    def alter(self, key: bytes, value: bytes) -> None:
        """Set the key, and leave it what lifetime it has."""
        if self.lifetimes.gone(key):
            self.lifetimes.forget(key)
        self._store(key, value)

    def _store(self, key: bytes, value: bytes) -> None:
        crc = crc32(key)
        self.shards[crc & SHARD_MASK][key] = value
        self.versions[crc & VERSION_MASK] = self.change

    def remove(self, key: bytes) -> bytes | None:
        """Remove the key; the value that it had, or None if there was no such key."""
        value = self.shards[crc32(key) & SHARD_MASK].pop(key, None)
        if value is None or not self.lifetimes.deadlines:
            return value
        gone = self.lifetimes.gone(key)
        self.lifetimes.forget(key)
        return None if gone else value

    def end(self, key: bytes, after_ms: int, unix_ms: int) -> None:
        """Give a key that is there so long to live; it is removed if that is nothing."""
        if after_ms <= 0:
            self.remove(key)
        else:
            self.lifetimes.give(key, self.lifetimes.now_ms + after_ms, unix_ms)
            self.touch(key)

    def touch(self, key: bytes) -> None:
        """Let those who watch the key know of a change that is none of its value."""
        self.versions[crc32(key) & VERSION_MASK] = self.change

    def version(self, key: bytes) -> int:
        """What differs if the key was written between two calls, or was there at one of them only.

        Writes are told by number and survive the key's removal; removal itself, by whatever cause, is told by the key's
        absence, so that freeing a key that was gone already changes nothing.
        """
        return 2 * self.versions[crc32(key) & VERSION_MASK] + (self.get(key) is not None)

    def flush(self) -> None:
        """Drop every key. Freeing a million takes 100 ms, so that is left to :meth:`reclaim`."""
        self._drop()
        self.shards = empty()
        self.lifetimes = Lifetimes(self.lifetimes.now_ms)

    def become(self, other: "Keyspace") -> None:
        """Hold what another one holds, which is of no more use then."""
        self._drop()
        self.shards, self.lifetimes = other.shards, other.lifetimes
        self.change, self.versions = other.change, other.versions

    def discard(self, other: "Keyspace") -> None:
        """Free bit by bit what another one holds, which is of no more use then."""
        self._rubbish.add([*other.shards, *other.lifetimes.tables()])

    def _drop(self) -> None:
        """Nothing changes the tables any more, so images of them need not be told of anything."""
        remembered = (table for image in self._images for table in image.remembered())
        self._rubbish.add([*self.shards, *self.lifetimes.tables(), *remembered], self._images)
        self._images = []

    def reclaim(self, applied: int) -> None:
        """Free some of what was dropped; more when more commands were ``applied``, so that it never piles up."""
        if self._rubbish:
            self._rubbish.free(_RECLAIMED_PER_CALL + 2 * applied)

    def image(self) -> Iterator[Part]:
        """All that there is at this moment, to be read later. Copying a million pointers at once would take 100 ms."""
        image = ImageOfAMoment(self.shards, self.lifetimes)
        self._images.append(image)
        return image.reader()

    @property
    def is_read(self) -> bool:
        """Whether an image may be under way, so that :meth:`before_change` must be called."""
        return bool(self._images)

    def before_change(self, keys: Sequence[bytes]) -> None:
        """Tell images that are under way that any of these keys may be about to change."""
        for image in self._images:
            if image.wanted:
                image.before_change(keys)
            else:
                self._rubbish.add(image.remembered())
        self._images = [image for image in self._images if image.wanted]

    def scan(self, position: int, count: int) -> tuple[int, list[bytes]]:
        """About ``count`` keys of one shard from a position on, and the next position: 0 when all were seen.

        A position is a key's CRC with its shard bits on top, so positions follow the shards and mean the same however
        many keys come and go: a key that is there throughout is met exactly once. Keys of one CRC are never parted.
        """
        number = (position >> _HASH_BITS) & SHARD_MASK
        start = position & _HASH_MASK
        there = self._there(self.shards[number])
        following = (number + 1 & SHARD_MASK) << _HASH_BITS
        if start == 0 and len(there) <= count:
            return following, there
        rest = sorted((place, key) for key in there if (place := crc32(key) >> SHARD_BITS) >= start)
        if len(rest) <= count:
            return following, [key for _, key in rest]
        last = rest[count - 1][0]
        while count < len(rest) and rest[count][0] == last:
            count += 1
        if count == len(rest):
            return following, [key for _, key in rest]
        return (number << _HASH_BITS) | (last + 1), [key for _, key in rest[:count]]

    def _there(self, shard: dict[bytes, bytes]) -> list[bytes]:
        """The keys of a shard without those that are gone and not removed yet."""
        deadlines, now_ms = self.lifetimes.deadlines, self.lifetimes.now_ms
        return [key for key in shard if deadlines.get(key, NEVER) > now_ms] if deadlines else list(shard)
