"""Where the data is: 1,024 dicts, with a key's place given by its CRC.

Many small dicts instead of a large one, so that whatever has to walk, copy or drop the data can do so in pieces of
about a thousandth. Values are plain ``bytes``, which the garbage collector never looks at; whatever else comes to be
known of a key belongs in tables beside this one.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from weakref import ref
from zlib import crc32

SHARDS: Final = 1024
SHARD_MASK: Final = SHARDS - 1

_SHARD_BITS: Final = 10
_HASH_BITS: Final = 32 - _SHARD_BITS
_HASH_MASK: Final = (1 << _HASH_BITS) - 1

_RECLAIMED_PER_CALL: Final = 1000
"""Keys of flushed shards that are always freed at one go; about 0.1 ms."""


class Keyspace:
    """The keys and their values."""

    __slots__ = ("_flushed", "_listings", "shards")

    def __init__(self) -> None:
        self.shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        self._flushed: list[dict[bytes, bytes]] = []
        self._listings: list[ref[KeysOfAMoment]] = []

    def shard(self, key: bytes) -> dict[bytes, bytes]:
        """The dict that holds ``key`` if anything does."""
        return self.shards[crc32(key) & SHARD_MASK]

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def flush(self) -> None:
        """Drop every key. Freeing a million takes 100 ms, so that is left to :meth:`reclaim`."""
        self._flushed.extend(shard for shard in self.shards if shard)
        self.shards = [{} for _ in range(SHARDS)]

    def reclaim(self, applied: int) -> None:
        """Free some of what was flushed; more when more commands were ``applied``, so that it never piles up."""
        flushed = self._flushed
        budget = _RECLAIMED_PER_CALL + 2 * applied
        while flushed and budget > 0:
            budget -= len(flushed.pop())

    def keys(self) -> "KeysOfAMoment":
        """All keys of this moment, to be listed later. Copying a million pointers at once would take 100 ms."""
        keys = KeysOfAMoment(self.shards)
        self._listings.append(ref(keys))
        return keys

    def before_change(self, commands: Sequence[Sequence[bytes]]) -> None:
        """Tell listings that are under way that these commands are about to be executed."""
        if self._listings:
            listings = [listing for reference in self._listings if (listing := reference()) is not None]
            self._listings = [ref(listing) for listing in listings]
            for listing in listings:
                for command in commands:
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
            return following, list(shard)
        rest = sorted((place, key) for key in shard if (place := crc32(key) >> _SHARD_BITS) >= start)
        if len(rest) <= count:
            return following, [key for _, key in rest]
        last = rest[count - 1][0]
        while count < len(rest) and rest[count][0] == last:
            count += 1
        if count == len(rest):
            return following, [key for _, key in rest]
        return (number << _HASH_BITS) | (last + 1), [key for _, key in rest[:count]]


class KeysOfAMoment:
    """The keys there were when this was made, listed shard by shard while commands go on changing the data.

    What changes in a shard that is still to be listed is remembered here; an abandoned listing is simply dropped.
    """

    __slots__ = ("__weakref__", "_changed", "_listed", "_shards")

    def __init__(self, shards: list[dict[bytes, bytes]]) -> None:
        self._shards = shards
        self._listed = 0
        self._changed: dict[int, dict[bytes, bool]] = {}
        """By shard, words that may have come or gone since, and whether each was a key at the moment."""

    def before_change(self, words: Sequence[bytes]) -> None:
        """Any of these may be a key that comes or goes. Remembering one that is none does no harm."""
        for word in words:
            number = crc32(word) & SHARD_MASK
            if number >= self._listed:
                self._changed.setdefault(number, {}).setdefault(word, word in self._shards[number])

    def __iter__(self) -> Iterator[list[bytes]]:
        for number, shard in enumerate(self._shards):
            changed = self._changed.pop(number, None)
            self._listed = number + 1
            if changed is None:
                yield list(shard)
            else:
                yield [key for key in shard if key not in changed] + [key for key, was in changed.items() if was]
