"""What a log stands on: the newest whole snapshot and the entries on disk, put together.

Whatever a crash left, they fit in one of three ways. The log continues the snapshot, or holds its entry: both count.
The log does not reach the snapshot, or holds another entry in its place: the snapshot was received and the log not yet
reset, so the log counts for nothing. Or entries are missing between the two: then something is lost, and the replica
does not start.
"""

import msgspec

from oarlock.errors import CorruptLog, CorruptSnapshot
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.types import Entry, Index, SnapshotPoint, Term


class Base(msgspec.Struct, frozen=True):
    """The place in the log right before the entries that are there."""

    index: Index
    term: Term
    time_ms: int


BEGINNING = Base(Index(0), Term(0), 0)


class Footing(msgspec.Struct, frozen=True):
    """A snapshot, if there is one, and the entries that go with it."""

    snapshot: StoredSnapshot | None
    base: Base
    entries: list[Entry]
    """From right after the base."""
    log_counts: bool = True
    """False: the log on disk is of no use any more, and goes on after the snapshot."""


async def find_footing(snapshots: SnapshotStore, directory: str, first_index: Index, entries: list[Entry]) -> Footing:
    """Put the log in ``directory``, which holds ``entries`` from ``first_index`` on, and the snapshots together.

    :raises CorruptSnapshot: entries are missing between a snapshot and the log, because a newer one is damaged
    :raises CorruptLog: entries are missing, and no snapshot is known that held them
    :raises OSError: the disk failed
    """
    snapshot = await snapshots.find_whole()
    reached = snapshot.header.point.index if snapshot is not None else Index(0)
    if first_index > reached + 1:
        raise _gap(snapshots, directory, first_index)
    if snapshot is None:
        return Footing(None, BEGINNING, entries)
    point = snapshot.header.point
    if first_index == point.index + 1:
        return Footing(snapshot, _after(point), entries)
    place = point.index - first_index
    if place >= len(entries) or entries[place].term != point.term:
        return Footing(snapshot, _after(point), [], log_counts=False)
    if first_index == 1:
        return Footing(snapshot, BEGINNING, entries)
    # Nobody knows the term of what stood before the first entry, so that one is the base.
    return Footing(snapshot, Base(first_index, entries[0].term, entries[0].time_ms), entries[1:])


def _after(point: SnapshotPoint) -> Base:
    return Base(point.index, point.term, point.time_ms)


def _gap(snapshots: SnapshotStore, directory: str, first_index: Index) -> CorruptLog | CorruptSnapshot:
    what = (
        f"the log in {directory} begins with entry {first_index}, and no whole snapshot reaches up to there. Replace "
        "the replica with a new one; if the cluster has only this one, keep a copy of the whole directory before "
        "trying to save what can be read"
    )
    if snapshots.damage:
        return CorruptSnapshot(f"{next(iter(snapshots.damage.values()))}; {what}")
    return CorruptLog(what)
