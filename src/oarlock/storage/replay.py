"""Replay: reading the frames of a log back, and judging what stands where no valid frame does.

Only the last frame can be unsynced, since a frame is written only after the one before it was synced. So whatever
cannot be read is corruption, except in the last frame; and a valid header with a higher sequence proves that a frame
was not the last. The last frame is torn, and was never acknowledged, if sectors of it are blank that should not be.
All other damage to it may have hit what was acknowledged: doubt costs availability, never data.
"""

import msgspec

from oarlock.storage.disk import SECTOR_BYTES
from oarlock.storage.frame import Fault, Frame, Unreadable, frame_bytes, later_header, read, salt
from oarlock.storage.segment import SegmentEnd, SegmentHeader, corrupt_log
from oarlock.types import Entry, Index, ReplicaId, Term


class Segment(msgspec.Struct, frozen=True):
    """A segment that is part of the log."""

    path: str
    header: SegmentHeader
    header_bytes: int
    end: int | None
    """Where its valid part ends, as the next segment says; None for the newest."""


class Replay(msgspec.Struct):
    """What the frames read so far add up to."""

    term: Term
    vote: ReplicaId
    next_sequence: int
    first_index: Index = Index(1)
    """Of the log as far as it was read. What stood before it is in a snapshot, or this is 1."""
    entries: list[Entry] = []
    last_frame: Frame | None = None
    before_last: SegmentEnd | None = None
    """Where the log ends if the last frame is taken away; None if nothing is left then."""
    notes: list[str] = []
    """What the operator should know."""

    def read_segment(self, segment: Segment, data: bytes) -> None:
        """Add the frames of the next segment, whose file begins with ``data``.

        :raises CorruptLog: frames that may have been acknowledged cannot be read
        """
        header, path = segment.header, segment.path
        if header.first_sequence != self.next_sequence:
            raise corrupt_log(path, 0, "it does not continue the segment before it")
        end = len(data) if segment.end is None else segment.end
        if end % SECTOR_BYTES:
            raise corrupt_log(path, end, "the file is cut short; segments are whole sectors")
        if len(data) < end:
            raise corrupt_log(path, len(data), f"the file is cut short; its valid part ends at {end}")
        if header.first_frame_durable and end <= segment.header_bytes:
            raise corrupt_log(path, end, "the file is cut short; it began with a frame")
        frames = memoryview(data)[:end]
        header_salt = salt(header.incarnation, header.number)
        offset = segment.header_bytes
        while offset < end:
            found = read(frames[offset:], header_salt)
            is_first = offset == segment.header_bytes
            if isinstance(found, Unreadable):
                if segment.end is not None or (is_first and header.first_frame_durable):
                    raise corrupt_log(path, offset, f"a frame cannot be read: {found.fault.value}")
                self._judge_tail(path, offset, found, frames[offset:], header_salt)
                return
            try:
                self._take(found)
            except ValueError as error:
                raise corrupt_log(path, offset, str(error)) from error
            # A segment that holds the last frame alone adds nothing without it. Nor may the log build on it: its name
            # may not be durable, if the process that gave it was killed before it synced the directory.
            self.before_last = header.previous if is_first else SegmentEnd(header.number, offset)
            offset += frame_bytes(found.payload)

    def _take(self, frame: Frame) -> None:
        """Add the next frame.

        :raises ValueError: it does not continue the log
        """
        next_index = self.first_index + len(self.entries)
        if frame.sequence != self.next_sequence:
            raise ValueError(f"frame {frame.sequence} stands where frame {self.next_sequence} belongs")
        if not 1 <= frame.first_index <= next_index or frame.term < self.term:
            raise ValueError("a frame does not continue the log before it")
        if frame.last_index < frame.first_index < next_index:
            raise ValueError("a frame cuts the log short and puts nothing in its place")
        # Where the log begins in the middle, a frame may replace entries from before that: then it begins there.
        self.entries[max(0, frame.first_index - self.first_index) :] = frame.entries()
        self.first_index = min(self.first_index, frame.first_index)
        self.term, self.vote = frame.term, frame.vote
        self.next_sequence += 1
        self.last_frame = frame

    def _judge_tail(self, path: str, offset: int, found: Unreadable, tail: memoryview, header_salt: int) -> None:
        """Decide what it means that no frame can be read at ``offset``, behind the last one: end, tear or damage."""
        beyond = tail[found.size_bytes :]
        if later_header(beyond, header_salt, self.next_sequence):
            raise corrupt_log(path, offset, f"a frame before a later one cannot be read: {found.fault.value}")
        # The header of an earlier frame, astray, is no beginning of this one.
        if found.fault is Fault.DAMAGED or (found.fault is Fault.TORN and found.sequence != self.next_sequence):
            raise corrupt_log(path, offset, f"the last frame cannot be read: {Fault.DAMAGED.value}")
        if found.fault is Fault.TORN or beyond != bytes(len(beyond)):
            self.notes.append(f"dropped a torn frame at offset {offset} of {path}: its write never finished")
