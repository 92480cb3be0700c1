"""Segments: the files that the log consists of, and the header that each begins with.

A segment gets its name only after its header is durable, so a header that cannot be read is never an unfinished
write but damage. The header restates all that a reader must know of what came before, so that old segments can go.
"""

import re

import msgspec

from oarlock.errors import CorruptLog
from oarlock.storage.disk import File
from oarlock.storage.frame import padded
from oarlock.storage.prologue import PROLOGUE_BYTES, read_with_prologue, with_prologue
from oarlock.types import Boot, Configuration, Index, ReplicaId, Term

FORMAT_VERSION = 2
"""Of segments and frames together. A program refuses what is newer than it knows, and reads what is older."""

DEFAULT_SEGMENT_BYTES = 32 * 1024 * 1024

_MAGIC = b"oarwalog"
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
    """In force before the first entry of all: the initial one. A snapshot says what is in force behind it."""
    first_index: Index
    """First index of the first frame."""
    first_sequence: int
    """Sequence of the first frame."""
    previous: SegmentEnd | None
    """Where the log before this segment ends; None if this segment begins it."""
    first_frame_durable: bool
    """Recovery wrote this segment: its first frame was durable before the file got its name."""
    oldest: int | None = None
    """Number of the segment that the log begins with, as of this header: older ones are not needed, and may be gone.
    None in format 1, in which every log reaches back to its first segment."""


def segment_name(number: int) -> str:
    """File name of the segment with this number."""
    return f"{number:016d}.wal"


def segment_number(name: str) -> int | None:
    """The number in the name of a segment file, or None if it is some other file's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def encode_header(header: SegmentHeader) -> bytes:
    """The header as it goes to disk: one sector, or more for a large configuration."""
    image = with_prologue(_MAGIC, FORMAT_VERSION, msgspec.msgpack.encode(header))
    return image.ljust(padded(len(image)), b"\0")


async def read_header(file: File, path: str) -> tuple[SegmentHeader, int]:
    """The header of the segment in ``file``, and how many bytes it takes.

    :raises CorruptLog: it is damaged
    :raises StartupError: it was written by a newer program
    """
    try:
        encoded = await read_with_prologue(file, path, _MAGIC, FORMAT_VERSION)
    except ValueError as error:
        raise corrupt_log(path, 0, str(error)) from error
    try:
        header = msgspec.msgpack.decode(encoded, type=SegmentHeader)
    except (ValueError, RecursionError) as error:
        raise corrupt_log(path, 0, f"the segment's header makes no sense ({error})") from error
    return header, padded(PROLOGUE_BYTES + len(encoded))


def corrupt_log(path: str, offset: int, what: str) -> CorruptLog:
    """The error for damage that may have hit acknowledged entries."""
    return CorruptLog(
        f"{path} is damaged at offset {offset}: {what}. What stood there may have been acknowledged, so this replica "
        "does not start without it. Replace the replica with a new one; if the cluster has only this one, keep a copy "
        "of the whole directory before trying to save what can be read"
    )
