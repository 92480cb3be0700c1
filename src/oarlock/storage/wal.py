"""The write-ahead log: Raft's persistent state, durable before anyone hears of it.

One frame per append, strictly write, sync, next write. An error from either is final: nobody knows what reached the
disk, and a second sync that succeeds proves nothing (the kernel may have marked the pages clean). The replica stops.
"""

from collections.abc import Sequence

import msgspec

from oarlock.errors import ReplicaFailed
from oarlock.storage.disk import Disk
from oarlock.storage.frame import Frame, encode, encode_entries, frame_bytes, salt
from oarlock.storage.identity import LOG_NAME, Identity
from oarlock.storage.recovery import Recovered, recover
from oarlock.storage.segment import DEFAULT_SEGMENT_BYTES, SegmentEnd, encode_header, segment_name
from oarlock.storage.spare import Spare
from oarlock.types import Boot, Configuration, Entry, Index, ReplicaId, Term


class DurableState(msgspec.Struct, frozen=True):
    """What a replica durably knows when it starts (Raft paper, figure 2: persistent state)."""

    boot: Boot
    """Of this start. Already durable."""
    term: Term
    vote: ReplicaId
    """Whom this replica voted for in ``term``; 0 for none."""
    base_index: Index
    """The log's entries begin right after this index."""
    base_term: Term
    configuration: Configuration
    """In force at the base; configurations among the entries come on top."""
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
        self._header = recovered.header
        self._salt = salt(self._header.incarnation, self._header.number)
        self._term = recovered.replay.term
        self._vote = recovered.replay.vote
        self._last_index = Index(len(recovered.replay.entries))
        self._last_term = recovered.replay.entries[-1].term if recovered.replay.entries else Term(0)
        self._next_sequence = recovered.replay.next_sequence
        self._failure: ReplicaFailed | None = None
        self._appending = False
        self._spare = Spare(disk, directory, segment_bytes)
        self._spare.prepare()

    @classmethod
    async def open(
        cls, disk: Disk, directory: str, identity: Identity, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> "tuple[Wal, DurableState]":
        """Recover the log of the data directory and open it, under a new boot that is durable on return.

        The caller holds the directory's lock. After an error it may be called again.

        :raises CorruptLog: what may have been acknowledged cannot be read
        :raises StartupError: the log is another replica's, or was written by a newer program, or the disk is full
        :raises OSError: the disk failed
        """
        log_directory = f"{directory}/{LOG_NAME}"
        recovered = await recover(disk, log_directory, identity, segment_bytes)
        replay, header = recovered.replay, recovered.header
        state = DurableState(
            boot=header.boot,
            term=replay.term,
            vote=replay.vote,
            base_index=Index(0),
            base_term=Term(0),
            configuration=header.configuration,
            entries=replay.entries,
            notes=tuple(replay.notes),
        )
        return cls(disk, log_directory, recovered, segment_bytes), state

    @property
    def has_space(self) -> bool:
        """Whether there is room for more after the present segment. While False, take no new writes.

        What is under way, and votes, can still be appended. Keep asking: that makes the log look again for space,
        now and then.
        """
        return self._spare.has_space

    async def append(self, term: Term, vote: ReplicaId, entries: Sequence[Entry]) -> None:
        """Make the term, the vote and the entries durable. The entries replace what stands from their first index on.

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
            await self._append(term, vote, entries)
        except BaseException as error:
            self._failure = ReplicaFailed(f"writing the log in {self._directory} failed: {str(error) or 'cancelled'}")
            if isinstance(error, OSError):
                raise self._failure from error
            raise
        finally:
            self._appending = False

    async def _append(self, term: Term, vote: ReplicaId, entries: Sequence[Entry]) -> None:
        if (failure := self._spare.failure) is not None:
            raise failure
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
        """Continue in the next segment. It gets its name once its header is durable, and frames once its name is."""
        header = msgspec.structs.replace(
            self._header,
            number=self._header.number + 1,
            term=self._term,
            vote=self._vote,
            first_index=frame.first_index,
            first_sequence=frame.sequence,
            previous=SegmentEnd(self._header.number, self._offset),
            first_frame_durable=False,
        )
        image = encode_header(header)
        file, size_bytes = await self._spare.take(len(image) + frame_bytes(frame.payload))
        await file.write_at(0, image, sync=True)
        await self._disk.rename(self._spare.path, f"{self._directory}/{segment_name(header.number)}")
        await self._disk.sync_directory(self._directory)
        await self._file.close()
        self._file, self._size_bytes, self._offset = file, size_bytes, len(image)
        self._header = header
        self._salt = salt(header.incarnation, header.number)
        self._spare.prepare()

    async def close(self) -> None:
        """Release the files. Every append that returned is durable; a later start finds it.

        Waits for the spare segment if it is being prepared. Where the disk may be stuck, bound it with a timeout.
        """
        if self._failure is None:
            self._failure = ReplicaFailed(f"the log in {self._directory} is closed")
        await self._spare.close()
        await self._file.close()
