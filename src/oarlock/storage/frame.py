"""Frames: what one turn appends to the log, and how a reader tells a whole one from a torn or a damaged one.

A frame is a header and a payload, padded with zeros to whole sectors. The disk writes a sector whole or not at all,
and a frame is written over sectors that are all zero. So a write that never finished shows as all-zero sectors
where the header says that none belong, and any other damage happened to something that was once whole. What that
*means* depends on what else is in the log, and is decided in ``recovery.py``.
"""

import struct
from collections.abc import Sequence
from enum import Enum
from hashlib import shake_128
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from oarlock.storage.disk import SECTOR_BYTES
from oarlock.types import Entry, Index, ReplicaId, Term

_MAGIC = b"oarframe"
_FIELDS = struct.Struct("<8s7Q3I")
_CRC = struct.Struct("<I")  # behind the fields, of the fields
_HEADER_BYTES = _FIELDS.size + _CRC.size
_BLANK_SECTOR = bytes(SECTOR_BYTES)

_encode_entries = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode


class Frame(NamedTuple):
    """One frame. ``payload`` is the encoded entries; without any the frame records a term and a vote only."""

    sequence: int
    """Number of the frame in its log, from 1 and without gaps."""
    first_index: Index
    """Entries from here on are replaced by this frame's own."""
    last_index: Index
    """Last index of the log after this frame; ``first_index - 1`` when it brings no entries."""
    last_term: Term
    """Term of the entry at ``last_index``."""
    term: Term
    """Current term when the frame was written (Raft paper, figure 2: persistent state)."""
    vote: ReplicaId
    """Whom this replica voted for in ``term``; 0 for none."""
    payload: bytes

    def entries(self) -> list[Entry]:
        """Decode the payload.

        :raises ValueError: it does not hold the entries that the header promises
        """
        entries: list[Entry] = []
        if self.payload:
            try:
                entries = _decode_entries(self.payload)
            except RecursionError as error:
                raise ValueError(str(error)) from None
        # Not the length of a range, which numbers of 64 bits can overflow.
        promised = max(0, self.last_index - self.first_index + 1)
        if len(entries) != promised or any(e.index != i for i, e in enumerate(entries, self.first_index)):
            raise ValueError("its entries are not those that its header promises")
        if entries and entries[-1].term != self.last_term:
            raise ValueError("its last entry is not of the term that its header promises")
        return entries


class _Header(NamedTuple):
    """What stands on disk before the payload; beside what :class:`Frame` explains, what proves it whole."""

    magic: bytes
    sequence: int
    first_index: Index
    last_index: Index
    last_term: Term
    term: Term
    vote: ReplicaId
    payload_bytes: int
    payload_crc: int
    blank_sectors: int
    """How many sectors of the frame are all zero although they were written."""
    whitening: int
    """Seed of the keystream that the payload is stored under; 0 for none."""


class Fault(Enum):
    """Why there is no frame to read in a place."""

    BLANK = "its header is missing"
    """The header's sector is all zero: nothing was written here, or this sector of it never arrived."""
    TORN = "part of it was never written"
    """The header is whole, but sectors that it says hold data are all zero."""
    DAMAGED = "it was altered after it was written"
    """It is all there, and it is wrong."""


class Unreadable(NamedTuple):
    """A place where no valid frame stands."""

    fault: Fault
    size_bytes: int
    """How far this frame reaches as far as is known, in whole sectors: what lies beyond belongs to others."""
    sequence: int = 0
    """Of the frame, if its header is whole."""


def salt(incarnation: int, segment: int) -> int:
    """Start value of the header's CRC, which ties a frame to its directory and segment.

    Bytes that look like a header and are not (a copied segment, a client's value that holds one) then count
    neither as a frame nor as proof of a later one.
    """
    return crc32c(struct.pack("<QQ", incarnation, segment))


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """The payload for these entries; empty for none."""
    return _encode_entries(entries) if entries else b""


def padded(size_bytes: int) -> int:
    """The size in whole sectors."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def frame_bytes(payload: bytes) -> int:
    """What a frame with this payload takes on disk."""
    return padded(_HEADER_BYTES + len(payload))


def encode(frame: Frame, salt: int) -> bytes:
    """The frame as it goes to disk."""
    whitening = 0
    while (image := _encode_once(frame, salt, whitening)) is None:
        whitening += 1
    return image


def _encode_once(frame: Frame, salt: int, whitening: int) -> bytes | None:
    """The image, or None if a sector of it could not be told from a blank one after one flipped bit.

    A sector with a single bit set is the one case in which a flip looks like a tear: the sector all zero, in a frame
    that was acknowledged. Such a payload (a client's sparse bitmap, say) is stored under a keystream instead.
    """
    payload = _whitened(frame.payload, whitening)
    body_bytes = _HEADER_BYTES + len(payload)
    padding = bytes(padded(body_bytes) - body_bytes)
    blank_sectors = 0
    # The first sector cannot be blank: it begins with the magic.
    for start in range(SECTOR_BYTES - _HEADER_BYTES, len(payload), SECTOR_BYTES):
        content = payload[start : start + SECTOR_BYTES].strip(b"\0")
        if not content:
            blank_sectors += 1
        elif len(content) == 1 and content[0].bit_count() == 1:
            return None
    header = _FIELDS.pack(
        *_Header(
            magic=_MAGIC,
            sequence=frame.sequence,
            first_index=frame.first_index,
            last_index=frame.last_index,
            last_term=frame.last_term,
            term=frame.term,
            vote=frame.vote,
            payload_bytes=len(payload),
            payload_crc=crc32c(payload),
            blank_sectors=blank_sectors,
            whitening=whitening,
        )
    )
    return b"".join((header, _CRC.pack(crc32c(header, salt)), payload, padding))


def read(data: memoryview, salt: int) -> Frame | Unreadable:
    """Read the frame at the start of ``data``, which ends where the frames of the segment may reach."""
    header = _read_header(data, salt)
    if header is None:
        blank = data[:SECTOR_BYTES] == _BLANK_SECTOR
        return Unreadable(Fault.BLANK if blank else Fault.DAMAGED, SECTOR_BYTES)
    size = padded(_HEADER_BYTES + header.payload_bytes)
    if size > len(data):
        return Unreadable(Fault.DAMAGED, len(data), header.sequence)
    payload = bytes(data[_HEADER_BYTES : _HEADER_BYTES + header.payload_bytes])
    if crc32c(payload) != header.payload_crc:
        blank_sectors = sum(data[at : at + SECTOR_BYTES] == _BLANK_SECTOR for at in range(0, size, SECTOR_BYTES))
        return Unreadable(Fault.TORN if blank_sectors > header.blank_sectors else Fault.DAMAGED, size, header.sequence)
    return Frame(
        sequence=header.sequence,
        first_index=header.first_index,
        last_index=header.last_index,
        last_term=header.last_term,
        term=header.term,
        vote=header.vote,
        payload=_whitened(payload, header.whitening),
    )


def later_header(data: memoryview, salt: int, sequence: int) -> bool:
    """Whether any sector of ``data`` holds a valid header with a sequence above ``sequence``."""
    headers = (_read_header(data[at : at + SECTOR_BYTES], salt) for at in range(0, len(data), SECTOR_BYTES))
    return any(header is not None and header.sequence > sequence for header in headers)


def _read_header(data: memoryview, salt: int) -> _Header | None:
    if data[: len(_MAGIC)] != _MAGIC:
        return None
    if _CRC.unpack_from(data, _FIELDS.size) != (crc32c(data[: _FIELDS.size], salt),):
        return None
    return _Header._make(_FIELDS.unpack_from(data))


def _whitened(payload: bytes, seed: int) -> bytes:
    """The payload under the keystream of ``seed``; applying it twice gives it back. Seed 0 leaves it alone."""
    if seed == 0:
        return payload
    keystream = shake_128(seed.to_bytes(4, "little")).digest(len(payload))
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(keystream, "little")
    return mixed.to_bytes(len(payload), "little")
