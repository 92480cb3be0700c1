"""A data directory at rest: all that can be read of it while no replica runs, and nothing changed, not even a lock.

What is damaged is told of and stops nothing here, as far as something behind it can be read. Whether a replica may
start from it is decided by ``recovery.py``; both read it by the same rules.
"""

import msgspec

from oarlock.errors import CorruptLog, CorruptSnapshot, DirectoryInUse
from oarlock.storage.base import Footing, find_footing
from oarlock.storage.chain import begin_replay, find_chain, read_header_of, read_segment, segment_numbers
from oarlock.storage.disk import Disk
from oarlock.storage.identity import (
    IDENTITY_NAME,
    LOCK_NAME,
    LOG_NAME,
    REFUSAL_NAME,
    Identity,
    decode_identity,
    load_identity,
)
from oarlock.storage.replay import Replay
from oarlock.storage.segment import SegmentHeader, segment_name
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.storage.whole_file import read_whole_file
from oarlock.types import Boot, ReplicaId, Term


class SegmentAtRest(msgspec.Struct):
    """One file of the log."""

    number: int
    path: str
    size_bytes: int
    header: SegmentHeader | None = None
    """None if it is damaged."""
    counts: bool = False
    """Whether the log consists of it and others. What does not count goes with the next start."""
    damage: CorruptLog | None = None


class LogAtRest(msgspec.Struct):
    """A log, as far as it can be read."""

    segments: list[SegmentAtRest]
    """Oldest first."""
    replay: Replay | None = None
    """None if it is not even known which files it consists of."""
    damage: CorruptLog | None = None
    """Why no more of it could be read."""

    @property
    def boot(self) -> Boot:
        """Of the last start, as far as that can be read."""
        return max((one.header.boot for one in self.segments if one.header is not None), default=Boot(0))

    @property
    def term(self) -> Term:
        return self.replay.term if self.replay is not None else Term(0)

    @property
    def vote(self) -> ReplicaId:
        return self.replay.vote if self.replay is not None else ReplicaId(0)


class DirectoryAtRest(msgspec.Struct):
    """A data directory, as far as it can be read."""

    identity: Identity
    refusal: str
    """Why its cluster will have it no more, or empty."""
    log: LogAtRest
    snapshots: list[StoredSnapshot]
    """Those that are whole, newest first."""
    damaged_snapshots: dict[str, CorruptSnapshot]
    footing: Footing | None
    """Snapshot and entries that go with it, as far as they can be read; None if they do not meet."""
    gap: CorruptLog | CorruptSnapshot | None
    """Why they do not."""

    @property
    def damage(self) -> CorruptLog | CorruptSnapshot | None:
        """Why a replica would not start from it, or None. A damaged snapshot behind which there is another is no such
        reason."""
        return self.log.damage or self.gap


async def read_directory(disk: Disk, directory: str, *, locked: bool = False) -> DirectoryAtRest:
    """Read all of the data directory. ``locked``: the caller holds its lock.

    :raises DirectoryInUse: a replica runs on it; what is read of it then need not fit together
    :raises StartupError: it is no data directory, or its identity is damaged, or it holds files of another replica or
        of a newer program
    :raises OSError: the disk failed
    """
    if not locked:
        _see_that_none_runs(disk, directory)
    identity, refusal = await _read_identity(disk, directory)
    log = await _read_log(disk, f"{directory}/{LOG_NAME}", identity)
    snapshots = await SnapshotStore.look(disk, directory, identity.cluster_id)
    footing = gap = None
    replay = log.replay or Replay(Term(0), ReplicaId(0), 1)  # without a log there are the snapshots
    try:
        footing = await find_footing(snapshots, f"{directory}/{LOG_NAME}", replay.first_index, replay.entries)
    except (CorruptLog, CorruptSnapshot) as error:
        gap = error
    for stored in snapshots.all[1:]:
        await snapshots.is_whole(stored)
    if not locked:
        _see_that_none_runs(disk, directory)  # nor has started meanwhile
    return DirectoryAtRest(identity, refusal, log, list(snapshots.all), snapshots.damage, footing, gap)


def _see_that_none_runs(disk: Disk, directory: str) -> None:
    if disk.is_locked(f"{directory}/{LOCK_NAME}"):
        raise DirectoryInUse(
            f"a replica runs on {directory}, or starts; stop it first, or ask it with `oarlock status`"
        )


async def _read_identity(disk: Disk, directory: str) -> tuple[Identity, str]:
    path = f"{directory}/{IDENTITY_NAME}"
    if not await disk.exists(path):
        return await load_identity(disk, directory), ""  # which says what is there instead
    refusal = b""
    if await disk.exists(f"{directory}/{REFUSAL_NAME}"):
        refusal = await read_whole_file(disk, f"{directory}/{REFUSAL_NAME}")
    return decode_identity(await read_whole_file(disk, path), path), refusal.decode(errors="replace").strip()


async def _read_log(disk: Disk, directory: str, identity: Identity) -> LogAtRest:
    numbers = await segment_numbers(disk, directory) if await disk.exists(directory) else []
    log = LogAtRest([await _read_segment(disk, directory, number) for number in numbers])
    try:
        chain = await find_chain(disk, directory, numbers, identity)
    except CorruptLog as damage:
        log.damage = damage
        return log
    files = {one.number: one for one in log.segments}
    replay = log.replay = begin_replay(chain)
    for segment in chain:
        file = files[segment.header.number]
        file.counts = True
        if log.damage is not None:
            replay = begin_replay([segment])  # only to see what else is damaged
        try:
            replay.read_segment(segment, await read_segment(disk, segment))
        except CorruptLog as damage:
            file.damage = damage
            log.damage = log.damage or damage
    return log


async def _read_segment(disk: Disk, directory: str, number: int) -> SegmentAtRest:
    path = f"{directory}/{segment_name(number)}"
    file = await disk.open(path)
    try:
        found = SegmentAtRest(number, path, await file.size())
    finally:
        await file.close()
    try:
        found.header, _ = await read_header_of(disk, path)
    except CorruptLog as damage:
        found.damage = damage
    return found
