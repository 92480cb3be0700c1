"""The inside of a transaction as one argument of one command: what it watched, and its commands."""

from collections.abc import Sequence

import msgspec

Watched = tuple[bytes, int]
"""A key, and the version that it had; -1, which none has, if that was never learnt."""

_encode = msgspec.msgpack.Encoder().encode
_decode_watched = msgspec.msgpack.Decoder(list[Watched]).decode
_decode_commands = msgspec.msgpack.Decoder(list[tuple[bytes, ...]]).decode


def exec_command(watched: Sequence[Watched], commands: Sequence[tuple[bytes, ...]]) -> tuple[bytes, bytes, bytes]:
    """The canonical form of a transaction."""
    return (b"EXEC", _encode(watched), _encode(commands))


def watched(packed: bytes) -> list[Watched]:
    """The second word of a transaction. Raises ``msgspec.DecodeError`` if it is none."""
    return _decode_watched(packed)


def commands(packed: bytes) -> list[tuple[bytes, ...]]:
    """The third word of a transaction. Raises ``msgspec.DecodeError`` if it is none."""
    return _decode_commands(packed)
