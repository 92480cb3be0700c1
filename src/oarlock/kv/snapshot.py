"""The form in which the data leaves a machine and comes into another: pieces of msgpack.

First the beginning, which tells the format; then the versions that differ from zero; then the keys with their values
and lifetimes; at last how many keys there were, so that nothing can be missing. Keys that are gone are not among them.
The order of keys means nothing.
"""

from array import array
from collections.abc import Iterator
from typing import Final, TypeAlias
from zlib import crc32

import msgspec

from oarlock.kv.image import Part
from oarlock.kv.keyspace import VERSIONS, Keyspace
from oarlock.kv.lifetimes import End
from oarlock.kv.shards import SHARD_MASK

FORMAT: Final = 1

PIECE_BYTES: Final = 1 << 16
"""A piece is no larger, unless a single value is."""
_KEYS_PER_PIECE: Final = 1000
"""About 0.3 ms."""
_VERSIONS_PER_PIECE: Final = 2048
"""About 0.2 ms, and 28 KiB at most."""
_NONE_CHANGED: Final = array("Q", bytes(256 * 8))
"""Versions of so many slots of which no key was ever written."""
_KEY_BYTES: Final = 10
_END_BYTES: Final = 24
"""What msgpack adds at most to a key and its value, and to a key and its end."""


class _Format(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What any version writes first."""

    format: int


class _Beginning(msgspec.Struct, frozen=True, array_like=True, tag=0):
    format: int
    change: int
    now_ms: int


class _Versions(msgspec.Struct, frozen=True, array_like=True, tag=1):
    slots: dict[int, int]


class _Keys(msgspec.Struct, frozen=True, array_like=True, tag=2):
    values: dict[bytes, bytes]
    ends: dict[bytes, End]


class _Count(msgspec.Struct, frozen=True, array_like=True, tag=3):
    keys: int


_Following: TypeAlias = _Versions | _Keys | _Count

_encode = msgspec.msgpack.Encoder().encode
_decode_format = msgspec.msgpack.Decoder(_Format).decode
_decode_beginning = msgspec.msgpack.Decoder(_Beginning).decode
_decode_following = msgspec.msgpack.Decoder(_Following).decode


def taken(data: Keyspace) -> Iterator[bytes]:
    """What the data is at this moment, however long it takes to ask for the pieces."""
    return _pieces(_Beginning(FORMAT, data.change, data.lifetimes.now_ms), data.versions[:], data.image())


def _pieces(beginning: _Beginning, versions: "array[int]", parts: Iterator[Part]) -> Iterator[bytes]:
    yield _encode(beginning)
    for start in range(0, VERSIONS, _VERSIONS_PER_PIECE):
        if slots := _changed(versions, start, start + _VERSIONS_PER_PIECE):
            yield _encode(_Versions(slots))
    count = 0
    for keys in _gathered(parts):
        count += len(keys.values)
        yield _encode(keys)
    yield _encode(_Count(count))


def _changed(versions: "array[int]", start: int, end: int) -> dict[int, int]:
    """The slots that differ from zero. Where most do not, comparing many at a time is what it takes."""
    slots: dict[int, int] = {}
    for some_start in range(start, end, len(_NONE_CHANGED)):
        some = versions[some_start : some_start + len(_NONE_CHANGED)]
        if some != _NONE_CHANGED:
            slots |= {slot: change for slot, change in enumerate(some, some_start) if change}
    return slots


def _gathered(parts: Iterator[Part]) -> Iterator[_Keys]:
    """Shards cut and put together so that they make pieces."""
    keys, size = _Keys({}, {}), 0
    for values, ends in parts:
        for key, value in values.items():
            end = ends.get(key) if ends else None
            more = len(key) + len(value) + _KEY_BYTES + (len(key) + _END_BYTES if end is not None else 0)
            if size + more > PIECE_BYTES or len(keys.values) == _KEYS_PER_PIECE:
                if keys.values:
                    yield keys
                keys, size = _Keys({}, {}), 0
            size += more
            keys.values[key] = value
            if end is not None:
                keys.ends[key] = end
    if keys.values:
        yield keys


class Restoring:
    """A keyspace that takes in what was taken of another, piece by piece."""

    def __init__(self) -> None:
        self.data = Keyspace()
        self._pieces = 0
        self._count: int | None = None
        """How many keys there must be; known when the last piece has come."""

    def add(self, piece: bytes) -> None:
        """Take in the next piece; some 0.4 ms.

        :raises ValueError: it is damaged, or out of its place, or of a version that this one does not know.
        """
        try:
            if self._pieces == 0:
                _begin(self.data, piece)
            elif self._count is None:
                self._count = _add(self.data, piece)
            else:
                raise ValueError("it follows the end")
        except (ValueError, OverflowError, msgspec.DecodeError) as error:
            raise ValueError(f"piece {self._pieces} of the key-value snapshot is unusable: {error}") from error
        self._pieces += 1

    def finish(self) -> Keyspace:
        """All of it.

        :raises ValueError: there is something missing.
        """
        if self._count is None:
            raise ValueError(f"the key-value snapshot is cut short after {self._pieces} pieces")
        if self._count != len(self.data):
            raise ValueError(f"the key-value snapshot should hold {self._count} keys and holds {len(self.data)}")
        return self.data


def _begin(data: Keyspace, piece: bytes) -> None:
    written = _decode_format(piece).format
    if written != FORMAT:
        raise ValueError(f"its format is {written}, and this version of Oarlock reads format {FORMAT}")
    beginning = _decode_beginning(piece)
    data.change = beginning.change
    data.lifetimes.now_ms = beginning.now_ms


def _add(data: Keyspace, piece: bytes) -> int | None:
    """Take in one piece; the number of keys there must be, if it was the last."""
    match _decode_following(piece):
        case _Versions(slots):
            for slot, change in slots.items():
                if not 0 <= slot < VERSIONS:
                    raise ValueError(f"there is no slot {slot}")
                data.versions[slot] = change
        case _Keys(values, ends):
            shards = data.shards
            for key, value in values.items():
                shards[crc32(key) & SHARD_MASK][key] = value
            for key, end in ends.items():
                if key not in values:
                    raise ValueError("a lifetime without a key")
                data.lifetimes.give(key, end.deadline_ms, end.unix_ms)
        case _Count(keys):
            return keys
    return None
