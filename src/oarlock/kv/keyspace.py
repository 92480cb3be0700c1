"""Where the data is: 1,024 dicts, with a key's place given by its CRC.

Many small dicts instead of a large one, so that whatever has to walk, copy or drop the data can do so in pieces of
about a thousandth. Values are plain ``bytes``, which the garbage collector never looks at; whatever else comes to be
known of a key belongs in tables beside this one.
"""

from typing import Final
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

    __slots__ = ("_flushed", "shards")

    def __init__(self) -> None:
        self.shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        self._flushed: list[dict[bytes, bytes]] = []

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

    def keys(self) -> list[list[bytes]]:
        """All keys of this moment, a list per shard. Pointers are copied, no keys: about 10 ms a million."""
        return [list(shard) for shard in self.shards if shard]

    def walk(self, position: int, count: int) -> tuple[int, list[bytes]]:
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
