"""The write-ahead log: Raft's persistent state, durable before anyone hears of it.

One frame per append, strictly one synced write after the other. An error is final: nobody knows what reached the disk,
and a later sync that succeeds proves nothing (the kernel may have marked the pages clean). The replica stops.

What a snapshot holds need not stay here: the header of a segment names the oldest that the log still needs, and once
it is durable those before that are removed.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from oarlock.errors import ReplicaFailed
from oarlock.storage.disk import Disk
from oarlock.storage.frame import Frame, encode, encode_entries, frame_bytes, salt
from oarlock.storage.identity import LOG_NAME, Identity
from oarlock.storage.recovery import Recovered, recover
from oarlock.storage.segment import (
    DEFAULT_SEGMENT_BYTES,
    SegmentEnd,
    SegmentHeader,
    encode_header,
    segment_name,
)
from oarlock.storage.snapshot import SnapshotHeader
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.spare import Spare
from oarlock.types import Boot, Configuration, Entry, Index, ReplicaId, Term

log = logging.getLogger("oarlock")


class DurableState(NamedTuple):
    """What a replica durably knows when it starts (Raft paper, figure 2: persistent state)."""

    boot: Boot
    """Of this start. Already durable."""
    term: Term
    vote: ReplicaId
    """Whom this replica voted for in ``term``; 0 for none."""
    base_index: Index
    """The log's entries begin right after this index. It may lie before the snapshot's."""
    base_term: Term
    base_time_ms: int
    snapshot: SnapshotHeader | None
    """Of the newest snapshot, all of which was read and is whole. The log holds its entry, or begins right after it."""
    snapshot_path: str
    """Empty if there is none."""
    configuration: Configuration
    """In force at the snapshot, or at the beginning; configurations among the entries behind it come on top."""
    entries: list[Entry]
    notes: tuple[str, ...]
    """What the operator should know of the recovery, a sentence each."""


class Wal:
    """The log of one replica, open for appending. Make one with :meth:`open`."""

    def __init__(self, disk: Disk, directory: str, recovered: Recovered, segment_bytes: int) -> None:
        self._disk = disk
        self._directory = directory
        self._file = recovered.file
        self._size_bytes = recovered.size_bytes
        self._offset = recovered.offset
        self._segments = recovered.segments
        """Of the log, oldest first. The last one is being written."""
        self._header = recovered.segments[-1]
        self._salt = salt(self._header.incarnation, self._header.number)
        self._term = recovered.replay.term
        self._vote = recovered.replay.vote
        last = recovered.footing.entries[-1] if recovered.footing.entries else recovered.footing.base
        self._last_index = last.index
        self._last_term = last.term
        self._released = Index(self._segments[0].first_index - 1)
        """Entries up to here may go, or have gone."""
        self._unneeded: list[str] = []
        self._removal: asyncio.Task[None] | None = None
        self._next_sequence = recovered.replay.next_sequence
        self._failure: ReplicaFailed | None = None
        self._appending = False
        self._spare = Spare(disk, directory, segment_bytes)
        self._spare.prepare()

    @classmethod
    async def open(
        cls,
        disk: Disk,
        directory: str,
        identity: Identity,
        snapshots: SnapshotStore,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> "tuple[Wal, DurableState]":
        """Recover the log of the data directory and open it, under a new boot that is durable on return.

        ``snapshots`` are those of the same directory; all of the newest is read. The caller holds the directory's lock.
        After an error this may be called again.

        :raises CorruptLog: what may have been acknowledged cannot be read
        :raises CorruptSnapshot: a damaged snapshot held what the log does not
        :raises StartupError: the log is another replica's, or was written by a newer program, or the disk is full
        :raises OSError: the disk failed
        """
        log_directory = f"{directory}/{LOG_NAME}"
        recovered = await recover(disk, log_directory, identity, snapshots, segment_bytes)
        replay, footing, header = recovered.replay, recovered.footing, recovered.segments[-1]
        snapshot = footing.snapshot
        state = DurableState(
            boot=header.boot,
            term=replay.term,
            vote=replay.vote,
            base_index=footing.base.index,
            base_term=footing.base.term,
            base_time_ms=footing.base.time_ms,
            snapshot=snapshot.header if snapshot else None,
            snapshot_path=snapshot.path if snapshot else "",
            configuration=snapshot.header.point.configuration if snapshot else header.configuration,
            entries=footing.entries,
            notes=(*replay.notes, *map(str, snapshots.damage.values())),
        )
        return cls(disk, log_directory, recovered, segment_bytes), state

    @property
    def has_space(self) -> bool:
        """Whether there is room for more after the present segment. While False, take no new writes.

        What is under way, and votes, can still be appended. Keep asking: that makes the log look again for space,
        now and then.
        """
        return self._spare.has_space

    def release(self, through: Index) -> None:
        """The entries up to ``through`` are not needed any more: whatever may be read of them is in a durable snapshot.

        Costs nothing by itself. The space is given back after the next segment has begun.
        """
        self._released = max(self._released, through)

    async def append(
        self, term: Term, vote: ReplicaId, entries: Sequence[Entry], base: tuple[Index, Term] | None = None
    ) -> None:
        """Make the term, the vote and the entries durable. The entries replace what stands from their first index on.

        With ``base`` they replace the whole log, which then begins after that index; the snapshot of that index and
        term is durable.

        One append at a time. Entries follow each other without gaps, and the first follows one that the log has.
        Cancelling it leaves unknown what is durable, so it is as final as an error.

        :raises ReplicaFailed: the disk failed, or has no space left at all. Final: every later call raises the same
        """
        if self._failure is not None:
            raise self._failure
        assert not self._appending, "the log takes one append at a time"
        assert term >= self._term, "TERM_IS_MONOTONIC"
        self._appending = True
        try:
            await self._append(term, vote, entries, base)
        except BaseException as error:
            cause = error if isinstance(error, OSError) else None
            self._failure = ReplicaFailed(
                f"writing the log in {self._directory} failed: {str(error) or 'cancelled'}", cause
            )
            if cause is not None:
                raise self._failure from cause
            raise
        finally:
            self._appending = False

    async def _append(
        self, term: Term, vote: ReplicaId, entries: Sequence[Entry], base: tuple[Index, Term] | None
    ) -> None:
        if (failure := self._spare.failure) is not None:
            raise failure
        if base is not None:
            await self._start_after(base, term, vote)
            if not entries:
                return  # the header says it all
        first_index = entries[0].index if entries else Index(self._last_index + 1)
        last_index, last_term = (
            (entries[-1].index, entries[-1].term) if entries else (self._last_index, self._last_term)
        )
        assert 1 <= first_index <= self._last_index + 1, "entries continue the log"
        frame = Frame(
            self._next_sequence, first_index, last_index, last_term, term, vote, payload=encode_entries(entries)
        )
        if self._offset + frame_bytes(frame.payload) > self._size_bytes:
            await self._switch_over(frame)
        image = encode(frame, self._salt)
        await self._file.write_at(self._offset, image, sync=True)
        self._offset += len(image)
        self._next_sequence += 1
        self._term, self._vote = term, vote
        self._last_index, self._last_term = last_index, last_term

    async def _switch_over(self, frame: Frame) -> None:
        """Continue in the next segment."""
        header = msgspec.structs.replace(
            self._header,
            number=self._header.number + 1,
            term=self._term,
            vote=self._vote,
            first_index=frame.first_index,
            first_sequence=frame.sequence,
            previous=SegmentEnd(self._header.number, self._offset),
            first_frame_durable=False,
            oldest=self._oldest_needed(),
        )
        await self._begin_segment(header, frame_bytes(frame.payload))

    async def _start_after(self, base: tuple[Index, Term], term: Term, vote: ReplicaId) -> None:
        """Begin the log anew. That has happened once the header is durable under its name, and not before."""
        number = self._header.number + 1
        header = msgspec.structs.replace(
            self._header,
            number=number,
            term=term,
            vote=vote,
            first_index=Index(base[0] + 1),
            first_sequence=self._next_sequence,
            previous=None,
            first_frame_durable=False,
            oldest=number,
        )
        await self._begin_segment(header, 0)
        self._term, self._vote = term, vote
        self._last_index, self._last_term = base
        self.release(base[0])

    def _oldest_needed(self) -> int:
        """The newest segment from which on all entries that are not released are there.

        The frames of a segment hold all from its first index on. Not that of a segment yet to come: its first frame
        may replace entries, and these count until it is durable.
        """
        return next(one.number for one in reversed(self._segments) if one.first_index <= self._released + 1)

    async def _begin_segment(self, header: SegmentHeader, room_bytes: int) -> None:
        """It gets its name once its header is durable, and frames, in place of older segments, once its name is."""
        image = encode_header(header)
        file, size_bytes = await self._spare.take(len(image) + room_bytes)
        await file.write_at(0, image, sync=True)
        await self._disk.rename(self._spare.path, self._path(header))
        await self._disk.sync_directory(self._directory)
        await self._file.close()
        self._file, self._size_bytes, self._offset = file, size_bytes, len(image)
        self._header = header
        self._salt = salt(header.incarnation, header.number)
        self._spare.prepare()
        assert header.oldest is not None
        self._unneeded += [self._path(one) for one in self._segments if one.number < header.oldest]
        self._segments = [*(one for one in self._segments if one.number >= header.oldest), header]
        if self._unneeded and (self._removal is None or self._removal.done()):
            self._removal = asyncio.get_running_loop().create_task(self._remove_unneeded())

    async def _remove_unneeded(self) -> None:
        """What cannot be removed is in nobody's way; the next start tries again."""
        while self._unneeded:
            try:
                await self._disk.remove(self._unneeded.pop(0))
            except OSError as error:
                log.warning(f"an old segment of the log cannot be removed: {error}")

    def _path(self, header: SegmentHeader) -> str:
        return f"{self._directory}/{segment_name(header.number)}"

    async def close(self) -> None:
        """Release the files. Every append that returned is durable; a later start finds it.

        Waits for what goes on beside the appends: the spare segment's preparation, and the removal of old ones. Where
        the disk may be stuck, bound it with a timeout.
        """
        if self._failure is None:
            self._failure = ReplicaFailed(f"the log in {self._directory} is closed")
        await self._spare.close()
        if self._removal is not None:
            await asyncio.wait([self._removal])
        await self._file.close()
