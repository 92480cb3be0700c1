"""The chain of a log's segments: each names the one that it continues, and where that one's valid part ends."""

from collections.abc import Sequence

import msgspec

from oarlock.errors import CorruptLog, StartupError
from oarlock.storage.disk import Disk
from oarlock.storage.identity import Identity
from oarlock.storage.replay import Replay, Segment
from oarlock.storage.segment import SegmentHeader, corrupt_log, read_header, segment_name, segment_number


async def segment_numbers(disk: Disk, directory: str) -> list[int]:
    """Of all segments in the directory of a log, whether they are part of it or not; oldest first."""
    return [number for name in await disk.list(directory) if (number := segment_number(name)) is not None]


async def read_header_of(disk: Disk, path: str) -> tuple[SegmentHeader, int]:
    """The header of the segment at ``path``, and how many bytes it takes; raises as ``read_header`` does."""
    file = await disk.open(path)
    try:
        return await read_header(file, path)
    finally:
        await file.close()


async def find_chain(disk: Disk, directory: str, numbers: Sequence[int], identity: Identity) -> list[Segment]:
    """The segments that the log consists of, oldest first: the newest, the one that it continues, and so on.

    Others were left behind when a recovery ended the log elsewhere, and hold nothing of it, or nothing that is needed.

    :raises CorruptLog: one of them is missing or damaged
    :raises StartupError: one is another replica's, or was written by a newer program
    """
    if not numbers:
        raise CorruptLog(
            f"{directory} holds no log although this replica was initialised: put back what belongs there, or replace "
            "this replica with a new one"
        )
    chain: list[Segment] = []
    number, end = numbers[-1], None
    while True:
        path = f"{directory}/{segment_name(number)}"
        if number not in numbers:
            raise corrupt_log(path, 0, "the file is missing, but a later segment continues it")
        header, header_bytes = await read_header_of(disk, path)
        _check_owner(header, path, identity)
        if header.number != number or (header.previous is not None and header.previous.number >= number):
            raise corrupt_log(path, 0, f"segment {header.number} stands where segment {number} belongs")
        oldest = chain[0].header.oldest if chain else header.oldest
        if number == oldest:
            header = msgspec.structs.replace(header, previous=None)  # it may be gone, and does not count if not
        chain.append(Segment(path, header, header_bytes, end))
        if header.previous is None:
            break
        number, end = header.previous.number, header.previous.offset
    if oldest is not None and number != oldest:
        raise corrupt_log(path, 0, f"the log begins there, and not with segment {oldest} as it should")
    return chain[::-1]


def _check_owner(header: SegmentHeader, path: str, identity: Identity) -> None:
    for kind, found, expected in (
        ("cluster", header.cluster_id, identity.cluster_id),
        ("replica", header.replica, identity.replica),
        ("incarnation", header.incarnation, identity.incarnation),
    ):
        if found != expected:
            raise StartupError(
                f"{path} is of {kind} {found}, but this directory was initialised for {kind} {expected}: the files of "
                "two replicas are mixed up; put back what belongs here, or replace this replica with a new one"
            )


def begin_replay(chain: Sequence[Segment]) -> Replay:
    """What is known before any frame of the log is read."""
    oldest = chain[0].header
    return Replay(oldest.term, oldest.vote, oldest.first_sequence, oldest.first_index)


async def read_segment(disk: Disk, segment: Segment) -> bytes:
    """The bytes of the segment, as far as they belong to the log."""
    file = await disk.open(segment.path)
    try:
        return await file.read_at(0, await file.size() if segment.end is None else segment.end)
    finally:
        await file.close()
