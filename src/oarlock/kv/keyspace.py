"""Where the data is: 1,024 dicts, with a key's place given by its CRC.

Many small dicts instead of a large one, so that whatever has to walk, copy or drop the data can do so in pieces of
about a thousandth. Values are plain ``bytes``, which the garbage collector never looks at; what else is known of a key
stands in tables beside: when it ends (:mod:`oarlock.kv.lifetimes`), and when it was last written, for ``WATCH``.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from weakref import ref
from zlib import crc32

from oarlock.kv import packing
from oarlock.kv.lifetimes import NEVER, Lifetimes

SHARDS: Final = 1024
SHARD_MASK: Final = SHARDS - 1

_SHARD_BITS: Final = 10
_HASH_BITS: Final = 32 - _SHARD_BITS
_HASH_MASK: Final = (1 << _HASH_BITS) - 1

VERSION_MASK: Final = (1 << 16) - 1

_RECLAIMED_PER_CALL: Final = 1000
"""Keys of flushed shards that are always freed at one go; about 0.1 ms."""
_ENDED_PER_CALL: Final = 2000
"""Places in the heap of lifetimes that one apply looks at; about 5 ms."""


class Keyspace:
    """The keys and their values."""

    __slots__ = ("_flushed", "_listings", "change", "lifetimes", "shards", "versions")

    def __init__(self) -> None:
        self.shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        """A key that is gone may still stand in here: ask :attr:`lifetimes` too, or use :meth:`get`."""
        self.lifetimes = Lifetimes()
        self.change = 0
        """Number of the present command, from the beginning of the log, and so the same on every replica."""
        self.versions = array("Q", bytes(8 * (VERSION_MASK + 1)))
        """For each slot, to which a key belongs by its CRC, the number of the last command that wrote one of them."""
        self._flushed: list[dict[bytes, bytes]] = []
        self._listings: list[ref[KeysOfAMoment]] = []

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
            self._before_change([(b"", *ended)])
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
        self._flushed.extend(shard for shard in self.shards if shard)
        self.shards = [{} for _ in range(SHARDS)]
        self.lifetimes.clear()

    def reclaim(self, applied: int) -> None:
        """Free some of what was flushed; more when more commands were ``applied``, so that it never piles up."""
        flushed = self._flushed
        budget = _RECLAIMED_PER_CALL + 2 * applied
        while flushed and budget > 0:
            budget -= len(flushed.pop())

    def keys(self) -> "KeysOfAMoment":
        """All keys of this moment, to be listed later. Copying a million pointers at once would take 100 ms."""
        keys = KeysOfAMoment(self.shards, self.lifetimes)
        self._listings.append(ref(keys))
        return keys

    def before_change(self, commands: Sequence[Sequence[bytes]]) -> None:
        """Tell listings that are under way that these commands are about to be executed."""
        if self._listings:
            self._before_change(commands)

    def _before_change(self, commands: Sequence[Sequence[bytes]]) -> None:
        if self._listings:
            listings = [listing for reference in self._listings if (listing := reference()) is not None]
            self._listings = [ref(listing) for listing in listings]
            for listing in listings:
                for command in commands:
                    if command[0] == b"EXEC":
                        for inner in packing.commands(command[2]):
                            listing.before_change(inner[1:])
                    else:
                        listing.before_change(command[1:])

    def scan(self, position: int, count: int) -> tuple[int, list[bytes]]:
        """About ``count`` keys of one shard from a position on, and the next position: 0 when all were seen.

        A position is a key's CRC with its shard bits on top, so positions follow the shards and mean the same however
        many keys come and go: a key that is there throughout is met exactly once. Keys of one CRC are never parted.
        """
        number = (position >> _HASH_BITS) & SHARD_MASK
        start = position & _HASH_MASK
        shard = self.shards[number]
        following = (number + 1 & SHARD_MASK) << _HASH_BITS
        if start == 0 and len(shard) <= count:
            return following, self._there(shard)
        rest = sorted((place, key) for key in shard if (place := crc32(key) >> _SHARD_BITS) >= start)
        if len(rest) <= count:
            return following, self._there(key for _, key in rest)
        last = rest[count - 1][0]
        while count < len(rest) and rest[count][0] == last:
            count += 1
        if count == len(rest):
            return following, self._there(key for _, key in rest)
        return (number << _HASH_BITS) | (last + 1), self._there(key for _, key in rest[:count])

    def _there(self, keys: Iterable[bytes]) -> list[bytes]:
        return _living(keys, self.lifetimes.deadlines, self.lifetimes.now_ms)


class KeysOfAMoment:
    """The keys there were when this was made, listed shard by shard while commands go on changing the data.

    What changes in a shard that is still to be listed is remembered here; an abandoned listing is simply dropped.
    """

    __slots__ = ("__weakref__", "_changed", "_deadlines", "_listed", "_now_ms", "_shards")

    def __init__(self, shards: list[dict[bytes, bytes]], lifetimes: Lifetimes) -> None:
        self._shards = shards
        self._deadlines = lifetimes.deadlines
        self._now_ms = lifetimes.now_ms
        self._listed = 0
        self._changed: dict[int, dict[bytes, bool]] = {}
        """By shard, words that may have come or gone since, and whether each was a key at the moment."""

    def before_change(self, words: Sequence[bytes]) -> None:
        """Any of these may be a key that comes or goes. Remembering one that is none does no harm."""
        for word in words:
            number = crc32(word) & SHARD_MASK
            if number >= self._listed:
                changed = self._changed.setdefault(number, {})
                if word not in changed:
                    there = word in self._shards[number] and self._deadlines.get(word, NEVER) > self._now_ms
                    changed[word] = there

    def __iter__(self) -> Iterator[list[bytes]]:
        for number, shard in enumerate(self._shards):
            changed = self._changed.pop(number, None)
            self._listed = number + 1
            if changed is None:
                yield _living(shard, self._deadlines, self._now_ms)
            else:
                same = _living((key for key in shard if key not in changed), self._deadlines, self._now_ms)
                yield same + [key for key, was in changed.items() if was]


def _living(keys: Iterable[bytes], deadlines: dict[bytes, int], now_ms: int) -> list[bytes]:
    """The keys without those that are gone and not removed yet."""
    return [key for key in keys if deadlines.get(key, NEVER) > now_ms] if deadlines else list(keys)
