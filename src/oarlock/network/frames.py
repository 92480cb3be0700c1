"""Frames: how bodies of bytes travel on a stream. Knows nothing of what a body means.

A frame is the body's length, the CRC-32C of the body, the CRC-32C of these two (each a big-endian u32), and the body.
TCP's own checksum is 16 bits wide and middleboxes recompute it, so nothing is believed without ours. A length least of
all: a link that waits for the rest of a frame that is not there would take everything, deliver nothing, and never end.
"""

import struct
from collections.abc import Iterable, Iterator

from crc32c import crc32c

from oarlock.errors import OarlockError

_FIELDS = struct.Struct(">II")
_HEADER = struct.Struct(">III")
HEADER_BYTES = _HEADER.size


class MalformedFrame(OarlockError):
    """What arrived is not a frame of this protocol, or not one allowed here. The link cannot be used further."""


def encode_frame(body: bytes) -> bytes:
    """The body as a frame, ready for one ``transport.write``."""
    fields = _FIELDS.pack(len(body), crc32c(body))
    return fields + crc32c(fields).to_bytes(4, "big") + body


class FrameDecoder:
    """Cuts a stream of bytes, arriving in chunks of any size, into the bodies of its frames.

    Every byte is copied at most twice, whatever the sizes of chunks and frames, and not at all when a chunk holds
    whole frames: only the unfinished frame at the end of a chunk is kept. At most ``limit_bytes``, a header and one
    chunk are held. After a :class:`MalformedFrame` the decoder must be dropped: the stream has lost its place.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        """Largest body accepted. May be changed between two bodies, also while :meth:`feed` is running."""
        self._kept = bytearray()
        self._needed_bytes = HEADER_BYTES

    def feed(self, chunk: bytes) -> Iterable[memoryview]:
        """The body of every frame that the chunk completes, to be gone through once and to the end.

        Raises MalformedFrame, on the way, for a header that is damaged or tells of a body longer than the limit (before
        waiting for it), or for a body of a wrong CRC.
        """
        lone = self._lone(chunk)
        return self._cut(chunk) if lone is None else (lone,)

    def _lone(self, chunk: bytes) -> memoryview | None:
        """The body, if the chunk is one whole and sound frame, as it mostly is where messages are small: that saves an
        iterator."""
        if self._kept or len(chunk) < HEADER_BYTES:
            return None
        length, checksum, header_checksum = _HEADER.unpack_from(chunk)
        if length != len(chunk) - HEADER_BYTES or length > self.limit_bytes:
            return None
        body = memoryview(chunk)[HEADER_BYTES:]
        sound = crc32c(chunk[: _FIELDS.size]) == header_checksum and crc32c(body) == checksum
        return body if sound else None

    def _cut(self, chunk: bytes) -> Iterator[memoryview]:
        stream: bytes | bytearray = chunk
        if self._kept:
            self._kept += chunk
            if len(self._kept) < self._needed_bytes:
                return
            # A new buffer for what is left: the bodies yielded below are views into this one.
            stream, self._kept = self._kept, bytearray()
        view = memoryview(stream)
        end = len(view)
        start = 0
        needed = HEADER_BYTES
        while start + HEADER_BYTES <= end:
            length, checksum, header_checksum = _HEADER.unpack_from(view, start)
            if crc32c(view[start : start + _FIELDS.size]) != header_checksum:
                raise MalformedFrame("the header of a frame has a wrong CRC")
            if length > self.limit_bytes:
                raise MalformedFrame(f"a frame of {length} bytes exceeds the limit of {self.limit_bytes}")
            needed = HEADER_BYTES + length
            if start + needed > end:
                break
            body = view[start + HEADER_BYTES : start + needed]
            if crc32c(body) != checksum:
                raise MalformedFrame(f"a frame of {length} bytes has a wrong CRC")
            start += needed
            needed = HEADER_BYTES
            yield body
        if start < end:
            self._kept += view[start:]
        self._needed_bytes = needed
