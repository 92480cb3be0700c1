"""Segments: the files that the log consists of, and the header that each begins with.

A segment gets its name only after its header is durable, so a header that cannot be read is never an unfinished
write but damage. The header restates all that a reader must know of what came before, so that old segments can go.
"""

import re
import struct

import msgspec
from crc32c import crc32c

from oarlock.errors import CorruptLog, StartupError
from oarlock.storage.disk import SECTOR_BYTES, File
from oarlock.storage.frame import padded
from oarlock.types import Boot, Configuration, Index, ReplicaId, Term

FORMAT_VERSION = 1
"""Of segments and frames together. A program refuses what is newer than it knows."""

DEFAULT_SEGMENT_BYTES = 32 * 1024 * 1024

_MAGIC = b"oarwalog"
_PROLOGUE = struct.Struct("<8s3I")  # magic, format version, body length, body CRC; the same in every version
_PROLOGUE_CRC = struct.Struct("<I")
_PROLOGUE_BYTES = _PROLOGUE.size + _PROLOGUE_CRC.size
_NAME = re.compile(r"([0-9]{16})\.wal")


class SegmentEnd(msgspec.Struct, frozen=True, array_like=True):
    """Where the valid part of a segment ends. What lies beyond is ignored for ever."""

    number: int
    offset: int
    """Bytes from the start of the file, whole sectors."""


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself and of all before it."""

    number: int
    cluster_id: str
    replica: ReplicaId
    incarnation: int
    boot: Boot
    """Of the start of the replica during which the segment was written."""
    term: Term
    vote: ReplicaId
    configuration: Configuration
    """In force at the base of the log."""
    first_index: Index
    """First index of the first frame."""
    first_sequence: int
    """Sequence of the first frame."""
    previous: SegmentEnd | None
    """Where the log before this segment ends; None if this segment begins it."""
    first_frame_durable: bool
    """Recovery wrote this segment: its first frame was durable before the file got its name."""


def segment_name(number: int) -> str:
    """File name of the segment with this number."""
    return f"{number:016d}.wal"


def segment_number(name: str) -> int | None:
    """The number in the name of a segment file, or None if it is some other file's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def encode_header(header: SegmentHeader) -> bytes:
    """The header as it goes to disk: one sector, or more for a large configuration."""
    body = msgspec.msgpack.encode(header)
    prologue = _PROLOGUE.pack(_MAGIC, FORMAT_VERSION, len(body), crc32c(body))
    image = prologue + _PROLOGUE_CRC.pack(crc32c(prologue)) + body
    return image.ljust(padded(len(image)), b"\0")


async def read_header(file: File, path: str) -> tuple[SegmentHeader, int]:
    """The header of the segment in ``file``, and how many bytes it takes.

    :raises CorruptLog: it is damaged
    :raises StartupError: it was written by a newer program
    """
    sector = await file.read_at(0, SECTOR_BYTES)
    if len(sector) < _PROLOGUE_BYTES:
        raise corrupt_log(path, 0, "the segment is too short to hold its header")
    prologue = sector[: _PROLOGUE.size]
    magic, version, body_bytes, body_crc = _PROLOGUE.unpack(prologue)
    if magic != _MAGIC or _PROLOGUE_CRC.unpack_from(sector, _PROLOGUE.size) != (crc32c(prologue),):
        raise corrupt_log(path, 0, "the segment's header does not match its checksum")
    if version > FORMAT_VERSION:
        raise StartupError(
            f"{path} was written by a newer Oarlock (log format {version}; this one reads up to {FORMAT_VERSION}); "
            "start this replica with that version or a later one"
        )
    body = await file.read_at(_PROLOGUE_BYTES, body_bytes)
    if len(body) != body_bytes or crc32c(body) != body_crc:
        raise corrupt_log(path, 0, "the segment's header does not match its checksum")
    try:
        header = msgspec.msgpack.decode(body, type=SegmentHeader)
    except (ValueError, RecursionError) as error:
        raise corrupt_log(path, 0, f"the segment's header makes no sense ({error})") from error
    return header, padded(_PROLOGUE_BYTES + body_bytes)


def corrupt_log(path: str, offset: int, what: str) -> CorruptLog:
    """The error for damage that may have hit acknowledged entries."""
    return CorruptLog(
        f"{path} is damaged at offset {offset}: {what}. What stood there may have been acknowledged, so this replica "
        "does not start without it. Replace the replica with a new one; if the cluster has only this one, keep a copy "
        "of the whole directory before trying to save what can be read"
    )
