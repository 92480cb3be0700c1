"""One bare core, with what its process holds and what its disk keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from oarlock.core import Fetch, Persist, Raft, Restored
from oarlock.core.messages import CoreMessage
from oarlock.core.roles import Leader
from oarlock.errors import NotExecuted
from oarlock.types import NO_REPLICA, Boot, Configuration, Entry, EntryKind, Index, ReplicaId, SnapshotPoint, Term


class Snapshot:
    """A snapshot, and the state in it: of such a machine, all that it has applied."""

    def __init__(self, point: SnapshotPoint, applied: Iterable[Entry]) -> None:
        self.point = point
        self.applied = list(applied)


class DurableState:
    """What survives a crash: exactly what the persists whose fsync has ended asked for, the newest snapshot, and
    nothing else."""

    def __init__(self, configuration: Configuration, term: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.configuration = configuration
        self.term = Term(term)
        self.vote = NO_REPLICA
        self.base: tuple[Index, Term] = (Index(0), Term(0))
        self.base_time_ms = 0
        self.entries = list(entries)
        self.snapshot: Snapshot | None = None

    @property
    def last_index(self) -> int:
        """Of the log."""
        return self.base[0] + len(self.entries)

    def write(self, persist: Persist) -> None:
        """The term and vote replace the old ones; entries overwrite the log from the first one's index on, or a whole
        new log does."""
        self.term, self.vote = persist.term, persist.vote
        if persist.base is not None:
            self._begin_anew(persist.base)
        if persist.entries:
            first = persist.entries[0].index
            assert self.base[0] < first <= self.last_index + 1, f"a gap on disk before index {first}"
            self.entries[first - self.base[0] - 1 :] = persist.entries

    def compact(self, through: int) -> None:
        """Entries up to there are deleted, as far as they have been written."""
        assert self.snapshot is not None and through <= self.snapshot.point.index, f"{through} is in no snapshot"
        dropped = self.entries[: max(min(through, self.last_index) - self.base[0], 0)]
        if dropped:
            del self.entries[: len(dropped)]
            self.base, self.base_time_ms = (dropped[-1].index, dropped[-1].term), dropped[-1].time_ms

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is on the disk, or in the snapshot there."""
        if self.snapshot is not None and entry.index <= self.snapshot.point.index:
            return self.snapshot.applied[entry.index - 1] == entry
        return self.base[0] < entry.index <= self.last_index and self.entries[entry.index - self.base[0] - 1] == entry

    def restored(self) -> Restored:
        """What a replica that starts from here is given. A log that does not lead to the snapshot is of no use: the
        replica crashed after a snapshot was installed, and before the log was replaced."""
        if self.snapshot is None:
            return Restored(self.term, self.vote, self.configuration, entries=tuple(self.entries))
        point = self.snapshot.point
        if self._term_at(point.index) != point.term:
            assert self.base[0] <= point.index, f"a gap on disk between snapshot {point.index} and the log"
            self._begin_anew((point.index, point.term))
        index, term = self.base
        return Restored(
            self.term, self.vote, self.configuration, index, term, tuple(self.entries), self.base_time_ms, point
        )

    def _term_at(self, index: int) -> int | None:
        if index == self.base[0]:
            return self.base[1]
        return self.entries[index - self.base[0] - 1].term if self.base[0] < index <= self.last_index else None

    def _begin_anew(self, base: tuple[Index, Term]) -> None:
        assert self.snapshot is not None and base[0] <= self.snapshot.point.index, "nothing holds what is dropped"
        self.base, self.entries = base, []
        self.base_time_ms = self.snapshot.point.time_ms


class Read:
    """A ``verify_authority`` and how it ended."""

    def __init__(self, replica: int, floor: int) -> None:
        self.replica = replica
        self.floor = floor
        """The highest index committed anywhere when the read began."""
        self.outcome: Index | NotExecuted | None = None
        self.lost = False
        """Its replica crashed before it ended; whoever waited for it crashed too."""

    @property
    def waiting(self) -> bool:
        """It has not ended yet."""
        return self.outcome is None

    @property
    def index(self) -> int:
        """Where it was confirmed."""
        assert isinstance(self.outcome, int), f"not confirmed, but {self.outcome!r}"
        return self.outcome

    @property
    def error(self) -> NotExecuted:
        """Why it was refused."""
        assert isinstance(self.outcome, NotExecuted), f"not refused, but {self.outcome!r}"
        return self.outcome


class Replica:
    """A core, its disk, and its process, which runs, is paused, or has crashed."""

    def __init__(self, replica: ReplicaId, incarnation: int, disk: DurableState) -> None:
        self.id = replica
        self.disk = disk
        self.boot = Boot(0)
        self.incarnation = incarnation
        self.raft: Raft = None  # type: ignore[assignment]  # set by the first start
        self.running = False
        self.paused = False
        self.fsync_held = False
        self.unsynced: deque[tuple[Persist, list[tuple[ReplicaId, CoreMessage]]]] = deque()
        """Persists whose fsync has not ended, and the messages that wait for it."""
        self.applied: list[Entry] = []
        self.fetch: Fetch | None = None
        """The snapshot that the core wants fetched."""
        self.restoring: Snapshot | None = None
        """One that has been installed, and has yet to become the state."""
        self.reads: dict[object, Read] = {}
        self.dials: list[ReplicaId] = []
        """Whom the core wanted dialled, to see whether its process is gone."""

    @property
    def leads(self) -> bool:
        """It runs, and takes itself for the leader of its term."""
        return self.running and isinstance(self.raft.role, Leader)

    @property
    def terms(self) -> list[int]:
        """Of its log's entries, after the base: how the paper draws a log."""
        return [entry.term for entry in self.raft.log.between(1, self.raft.log.last_index)]

    @property
    def payloads(self) -> list[bytes]:
        """Of the commands it has applied."""
        return [entry.payload for entry in self.applied if entry.kind == EntryKind.BATCH]

    def crash(self, keeping: int) -> None:
        """All that is not durable is gone; but ``keeping`` writes whose fsync had not ended are on the disk."""
        for _ in range(min(keeping, len(self.unsynced))):
            self.disk.write(self.unsynced.popleft()[0])
        self.unsynced.clear()
        self.running = self.paused = False
        self.fetch = self.restoring = None
        for read in self.reads.values():
            read.lost = read.waiting
        self.reads.clear()


def past_entry(index: int, term: int) -> Entry:
    """An entry that was in a log before the script began. Equal (index, term) is equal payload, as Raft has it."""
    return Entry(Index(index), Term(term), EntryKind.BATCH, 0, f"{term}.{index}".encode())
