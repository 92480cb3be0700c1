"""The snapshot file: a state machine's whole state at one point of the log. Backups and transfers are such files too.

A prologue and a header; then the pieces that the state machine made, each with its length and checksum; and an end
mark with their number and size. Checksums start from the header's and the piece's number, so that a piece passes in no
other place and in no other file. The state is the log's, so nothing here compresses it or looks inside.
"""

import asyncio
import struct
from collections.abc import AsyncIterator

import msgspec
from crc32c import crc32c

from oarlock.errors import CorruptSnapshot, StartupError
from oarlock.storage.disk import Disk, File
from oarlock.storage.prologue import PROLOGUE_BYTES, read_with_prologue, with_prologue
from oarlock.storage.whole_file import TEMPORARY_SUFFIX, GrowingFile
from oarlock.types import SnapshotPoint

FORMAT_VERSION = 1
"""A program refuses what is newer than it knows."""

CHUNK_BYTES = 1024 * 1024
"""What is read, written or summed up at once: longer would hold up the event loop."""

_MAGIC = b"oarsnapl"
_PIECE = struct.Struct("<2I")  # length, and checksum of the payload that follows
_END_MARK = 0xFFFF_FFFF  # in place of a length; what follows is:
_TOTALS = struct.Struct("<2Q")  # number of pieces, and bytes of all their payloads
_SALT = struct.Struct("<IQ")  # checksum of the header, and number of the piece


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself."""

    cluster_id: str
    cluster_name: str
    point: SnapshotPoint
    node: bytes
    """What else a replica must know of the entries up to there; storage does not look inside."""


class SnapshotWriter:
    """Writes one snapshot, under a temporary name until it is complete. After any error nothing is left of it."""

    def __init__(self, file: GrowingFile, path: str, header: bytes) -> None:
        self._file = file
        self._path = path
        self._header_crc = crc32c(header)
        self._buffered = [with_prologue(_MAGIC, FORMAT_VERSION, header)]
        self._buffered_bytes = len(self._buffered[0])
        self._pieces = 0
        self._payload_bytes = 0

    @classmethod
    async def create(cls, disk: Disk, path: str, header: SnapshotHeader) -> "SnapshotWriter":
        """Begin the snapshot that is to stand at ``path``.

        :raises OSError: the disk failed, or has no room
        """
        file = await GrowingFile.create(disk, path + TEMPORARY_SUFFIX)
        return cls(file, path, msgspec.msgpack.encode(header))

    async def add(self, piece: bytes) -> None:
        """Write the next piece, of any length below 4 GiB.

        :raises OSError: the disk failed, or has no room (:func:`oarlock.storage.disk.is_lack_of_space`); nothing is
            left of the snapshot
        """
        if len(piece) >= _END_MARK:
            raise ValueError("a piece of a snapshot is smaller than 4 GiB")
        checksum = await _checksum(piece, _salt(self._header_crc, self._pieces))
        await self._put(_PIECE.pack(len(piece), checksum))
        await self._put(piece)
        self._pieces += 1
        self._payload_bytes += len(piece)

    async def finish(self) -> int:
        """Complete it; its size in bytes. It has its name and is durable on return.

        :raises OSError: as of :meth:`add`
        """
        totals = _TOTALS.pack(self._pieces, self._payload_bytes)
        checksum = crc32c(totals, _salt(self._header_crc, self._pieces))
        await self._put(_PIECE.pack(_END_MARK, checksum) + totals)
        await self._flush()
        await self._file.give_name(self._path)
        return self._file.size_bytes

    async def abort(self) -> None:
        """Leave nothing of it. Harmless when it is finished or gone."""
        await self._file.abort()

    async def _put(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK_BYTES):
            part = data[at : at + CHUNK_BYTES]
            self._buffered.append(part)
            self._buffered_bytes += len(part)
            if self._buffered_bytes >= CHUNK_BYTES:
                await self._flush()

    async def _flush(self) -> None:
        data = b"".join(self._buffered)
        self._buffered, self._buffered_bytes = [], 0
        await self._file.append(data)


class SnapshotFile:
    """A snapshot that is there to be read. Open one with :meth:`open`, and close it."""

    def __init__(self, path: str, file: File, header: SnapshotHeader, encoded_header: bytes, size_bytes: int) -> None:
        self.path = path
        self.header = header
        self.size_bytes = size_bytes
        self._file = file
        self._header_crc = crc32c(encoded_header)
        self._first_piece = PROLOGUE_BYTES + len(encoded_header)

    @classmethod
    async def open(cls, disk: Disk, path: str, cluster_id: str | None = None) -> "SnapshotFile":
        """Open it and check its header. With ``cluster_id`` it must be of that cluster.

        :raises CorruptSnapshot: its header is damaged
        :raises StartupError: it is another cluster's, or was written by a newer program
        """
        file = await disk.open(path)
        try:
            try:
                encoded = await read_with_prologue(file, path, _MAGIC, FORMAT_VERSION)
                header = msgspec.msgpack.decode(encoded, type=SnapshotHeader)
            except (ValueError, RecursionError) as error:
                raise corrupt_snapshot(path, 0, str(error)) from error
            if cluster_id is not None and header.cluster_id != cluster_id:
                raise StartupError(
                    f"{path} is a snapshot of cluster {header.cluster_id}, and this replica is of cluster "
                    f"{cluster_id}: the files of two clusters are mixed up; put back what belongs here"
                )
            return cls(path, file, header, encoded, await file.size())
        except BaseException:
            await file.close()
            raise

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces in order. Only after the last one is it certain that all of the file is right.

        :raises CorruptSnapshot: from here on it is damaged
        """
        reader = _Reader(self._file, self._first_piece)
        number = payload_bytes = 0
        while True:
            start = reader.offset
            fields = await reader.take(_PIECE.size)
            if len(fields) < _PIECE.size:
                raise corrupt_snapshot(self.path, start, "the file is cut short")
            length, checksum = _PIECE.unpack(fields)
            ends = length == _END_MARK
            length = _TOTALS.size if ends else length
            # Before anything of that size is read: the length itself may be what is damaged.
            if reader.offset + length > self.size_bytes:
                raise corrupt_snapshot(self.path, start, "the file is cut short")
            payload = await reader.take(length)
            if len(payload) < length or await _checksum(payload, _salt(self._header_crc, number)) != checksum:
                raise corrupt_snapshot(self.path, start, "what stands there does not match its checksum")
            if ends:
                break
            yield payload
            number += 1
            payload_bytes += length
        if _TOTALS.unpack(payload) != (number, payload_bytes):
            raise corrupt_snapshot(self.path, start, "the pieces are not those that its end promises")
        if reader.offset != self.size_bytes:
            raise corrupt_snapshot(self.path, reader.offset, "something follows its end")

    async def verify(self) -> None:
        """Read all of it.

        :raises CorruptSnapshot: it is damaged
        """
        async for _ in self.pieces():
            pass

    async def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file as they stand there, unchecked; fewer only at its end."""
        return await self._file.read_at(offset, size)

    async def close(self) -> None:
        """Release the file."""
        await self._file.close()


def corrupt_snapshot(path: str, offset: int, what: str) -> CorruptSnapshot:
    """The error for a damaged snapshot."""
    return CorruptSnapshot(f"{path} is damaged at offset {offset}: {what}")


class _Reader:
    """Reads a file from some place on."""

    def __init__(self, file: File, offset: int) -> None:
        self.offset = offset
        self._file = file
        self._ahead = b""
        self._at = 0
        """Where in ``_ahead`` the next byte is."""

    async def take(self, size: int) -> bytes:
        """The next bytes; fewer only at the end of the file."""
        parts: list[bytes] = []
        while size > 0:
            if self._at == len(self._ahead):
                self._ahead, self._at = await self._file.read_at(self.offset, CHUNK_BYTES), 0
                if not self._ahead:
                    break
            part = self._ahead[self._at : self._at + size]
            parts.append(part)
            self._at += len(part)
            self.offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _salt(header_crc: int, number: int) -> int:
    return crc32c(_SALT.pack(header_crc, number))


async def _checksum(data: bytes, start: int) -> int:
    rest = memoryview(data)
    while len(rest) > CHUNK_BYTES:
        start = crc32c(rest[:CHUNK_BYTES], start)
        rest = rest[CHUNK_BYTES:]
        await asyncio.sleep(0)  # others run meanwhile
    return crc32c(rest, start)
