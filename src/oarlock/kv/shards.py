"""How the data is divided: 1,024 dicts, with a key's place given by its CRC.

Many small dicts instead of a large one, so that whatever has to walk, copy or drop the data can do so in pieces of
about a thousandth.
"""

from typing import Final, TypeAlias

SHARD_BITS: Final = 10
SHARDS: Final = 1 << SHARD_BITS
SHARD_MASK: Final = SHARDS - 1

Shards: TypeAlias = list[dict[bytes, bytes]]


def empty() -> Shards:
    return [{} for _ in range(SHARDS)]
