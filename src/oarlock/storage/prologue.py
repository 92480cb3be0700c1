"""The prologue: how every binary file begins, so that whose it is and of which format shows before anything is read.

It is the same in every version of every format: magic, version, and the length and the checksum of the header that
follows it, and then a checksum of its own.
"""

import struct

from crc32c import crc32c

from oarlock.errors import StartupError
from oarlock.storage.disk import SECTOR_BYTES, File

_FIELDS = struct.Struct("<8s3I")
_CRC = struct.Struct("<I")
PROLOGUE_BYTES = _FIELDS.size + _CRC.size


def with_prologue(magic: bytes, version: int, header: bytes) -> bytes:
    """The beginning of a file: the prologue, and the encoded header that it tells of."""
    fields = _FIELDS.pack(magic, version, len(header), crc32c(header))
    return fields + _CRC.pack(crc32c(fields)) + header


async def read_with_prologue(file: File, path: str, magic: bytes, version: int) -> bytes:
    """The encoded header of ``file``, which begins after :data:`PROLOGUE_BYTES`.

    :raises ValueError: it is damaged; says how
    :raises StartupError: it was written by a newer program than one that knows formats up to ``version``
    """
    beginning = await file.read_at(0, SECTOR_BYTES)
    if len(beginning) < PROLOGUE_BYTES:
        raise ValueError("the file is too short to hold its header")
    fields = beginning[: _FIELDS.size]
    found_magic, found_version, header_bytes, header_crc = _FIELDS.unpack(fields)
    if found_magic != magic or _CRC.unpack_from(beginning, _FIELDS.size) != (crc32c(fields),):
        raise ValueError("its header does not match its checksum")
    if found_version > version:
        raise StartupError(
            f"{path} was written by a newer Oarlock (format {found_version}; this one reads up to {version}); use that "
            "version or a later one"
        )
    header = beginning[PROLOGUE_BYTES : PROLOGUE_BYTES + header_bytes]
    if len(header) < header_bytes:
        header = await file.read_at(PROLOGUE_BYTES, header_bytes)
    if len(header) != header_bytes or crc32c(header) != header_crc:
        raise ValueError("its header does not match its checksum")
    return header
