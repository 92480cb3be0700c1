"""Recovery: makes the log certain before its replica takes part in anything.

The last frame may have been read from the page cache and not be on disk: its process was killed before the sync, or
the sync failed and the kernel forgot about it. So it is written again, into a new segment whose header carries the
new boot and ends the log before it where that frame started. What lies beyond that end is ignored for ever, and the
old files are touched only once the new one is durable under its name. ``chain.py`` finds the files of the log,
``replay.py`` decides what is a frame, and ``base.py`` what the log means beside the snapshots.
"""

from collections.abc import Sequence

import msgspec

from oarlock.errors import StartupError
from oarlock.storage.base import Base, Footing, find_footing
from oarlock.storage.chain import begin_replay, find_chain, read_segment, segment_numbers
from oarlock.storage.disk import Disk, File, is_lack_of_space
from oarlock.storage.frame import encode, salt
from oarlock.storage.identity import Identity
from oarlock.storage.replay import Replay
from oarlock.storage.segment import (
    SegmentEnd,
    SegmentHeader,
    encode_header,
    segment_name,
)
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.spare import remove_spare
from oarlock.storage.whole_file import remove_if_there
from oarlock.types import NO_REPLICA, Boot, Index

_TEMPORARY_NAME = "recovery.tmp"


class Recovered(msgspec.Struct, frozen=True):
    """A log that is certain, and the segment that continues it."""

    replay: Replay
    footing: Footing
    segments: list[SegmentHeader]
    """Of the log, oldest first; the last is the new one."""
    file: File
    """The new segment."""
    size_bytes: int
    """Of it."""
    offset: int
    """Where in it the next frame goes."""


async def recover(
    disk: Disk, directory: str, identity: Identity, snapshots: SnapshotStore, segment_bytes: int
) -> Recovered:
    """Read the log in ``directory`` and make it durable as read, in a segment of a new boot.

    Power may fail at any point of it: a later call finds the same log.

    :raises CorruptLog: what may have been acknowledged cannot be read
    :raises CorruptSnapshot: a damaged snapshot held what the log does not
    :raises StartupError: the log is another replica's, or a newer program's, or the disk is full
    :raises OSError: the disk failed; nothing that was there is lost
    """
    await remove_if_there(disk, f"{directory}/{_TEMPORARY_NAME}")
    await remove_spare(disk, directory)
    numbers = await segment_numbers(disk, directory)
    chain = await find_chain(disk, directory, numbers, identity)
    newest = chain[-1].header
    replay = begin_replay(chain)
    for segment in chain:
        replay.read_segment(segment, await read_segment(disk, segment))
    footing = await find_footing(snapshots, directory, replay.first_index, replay.entries)
    if not footing.log_counts:
        replay = _start_after(footing.base, replay)
    segments = [one.header for one in chain if replay.before_last and one.header.number <= replay.before_last.number]
    recovered = await _write_again(disk, directory, newest, segments, replay, footing, segment_bytes)
    try:
        await _trim(disk, directory, numbers, segments, replay.before_last)
    except BaseException:
        await recovered.file.close()
        raise
    return recovered


def _start_after(base: Base, replay: Replay) -> Replay:
    """A log without entries after the base. No replica's term is below that of an entry it knows."""
    term, vote = max((replay.term, replay.vote), (base.term, NO_REPLICA))
    return Replay(term, vote, replay.next_sequence, Index(base.index + 1), notes=replay.notes)


async def _write_again(
    disk: Disk,
    directory: str,
    newest: SegmentHeader,
    segments: list[SegmentHeader],
    replay: Replay,
    footing: Footing,
    segment_bytes: int,
) -> Recovered:
    """Start the segment of a new boot with the last frame. Its name appears once all of it is durable."""
    last = replay.last_frame
    number = newest.number + 1
    header = msgspec.structs.replace(
        newest,
        number=number,
        boot=Boot(newest.boot + 1),
        term=replay.term,
        vote=replay.vote,
        first_index=replay.first_index if last is None else last.first_index,
        first_sequence=replay.next_sequence if last is None else last.sequence,
        previous=replay.before_last,
        first_frame_durable=last is not None,
        oldest=segments[0].number if segments else number,
    )
    image = encode_header(header)
    if last is not None:
        image += encode(last, salt(header.incarnation, header.number))
    size = max(segment_bytes, len(image))
    temporary = f"{directory}/{_TEMPORARY_NAME}"
    file = await disk.open(temporary, create=True)
    try:
        await file.preallocate(size)
        await file.write_at(0, image, sync=True)
        await disk.rename(temporary, f"{directory}/{segment_name(header.number)}")
        await disk.sync_directory(directory)
    except BaseException as error:
        await file.close()
        if is_lack_of_space(error):
            await disk.remove(temporary)
            raise StartupError(
                f"there is no room in {directory} for the {size} bytes that the log needs next; nothing is lost: make "
                "room and start again"
            ) from error
        raise
    return Recovered(replay, footing, [*segments, header], file, size, len(image))


async def _trim(
    disk: Disk, directory: str, numbers: Sequence[int], segments: Sequence[SegmentHeader], end: SegmentEnd | None
) -> None:
    """Give back the space of what the log no longer reaches."""
    kept = [segment.number for segment in segments]
    for number in numbers:
        if number not in kept:
            await disk.remove(f"{directory}/{segment_name(number)}")
    if end is not None:
        file = await disk.open(f"{directory}/{segment_name(end.number)}")
        try:
            if await file.size() > end.offset:
                await file.truncate(end.offset)
        finally:
            await file.close()
    await disk.sync_directory(directory)
