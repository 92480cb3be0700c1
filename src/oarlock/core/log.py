"""The log in memory: a base, the entries after it, and how far they are durable.

Only what is true of a log alone lives here: matching, truncating, conflict hints, durability, moving the base. Who may
append or commit is decided in ``replication.py``; what snapshots allow to be forgotten, in ``snapshot.py``.
"""

from collections.abc import Iterable, Sequence

from oarlock.core.invariants import LOG_IS_CONTIGUOUS
from oarlock.core.ready import Mark
from oarlock.types import Entry, Index, SnapshotPoint, Term


class Log:
    """Entries ``base_index + 1 .. last_index``. Terms never decrease along it. Everything up to the base is committed,
    and in a snapshot."""

    def __init__(
        self, base_index: Index, base_term: Term, entries: Iterable[Entry] = (), base_time_ms: int = 0
    ) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self.base_time_ms = base_time_ms
        """Log time of the entry at the base."""
        self._entries: list[Entry] = list(entries)
        LOG_IS_CONTIGUOUS.require(base_index, base_term, self._entries)
        self.last_index = Index(base_index + len(self._entries))
        self.last_term = self._entries[-1].term if self._entries else base_term
        self.last_time_ms = self._entries[-1].time_ms if self._entries else base_time_ms
        """Log time of the last entry; it never decreases along the log."""
        self.durable_index = self.last_index
        """Everything up to here is on this replica's disk. Recovered entries are (durability.md, recovery)."""
        self.handed_index = self.last_index
        """Everything up to here has been handed out to be persisted."""
        self.epoch = 0
        """Raised by every truncation and reset."""
        self._reset_unpersisted = False

    def term_at(self, index: Index) -> Term | None:
        """The term of the entry at ``index``, or None if it is not in this log (any more)."""
        position = index - self.base_index
        if position == 0:
            return self.base_term
        if 0 < position <= len(self._entries):
            return self._entries[position - 1].term
        return None

    def time_at(self, index: Index) -> int:
        """Log time of the entry at ``index``, which is in this log or its base."""
        return self.base_time_ms if index == self.base_index else self._entries[index - self.base_index - 1].time_ms

    def between(self, first: int, last: int) -> list[Entry]:
        """The entries ``first .. last``, both included, as far as they are after the base."""
        return self._entries[max(first - self.base_index - 1, 0) : max(last - self.base_index, 0)]

    def batch_from(self, first: Index, max_bytes: int) -> tuple[list[Entry], int]:
        """Entries from ``first`` on, up to ``max_bytes`` of payload but at least one; and their payload bytes."""
        start = first - self.base_index - 1
        entries = self._entries
        size, end = 0, start
        while end < len(entries) and (end == start or size + len(entries[end].payload) <= max_bytes):
            size += len(entries[end].payload)
            end += 1
        return entries[start:end], size

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries that directly follow the last one."""
        LOG_IS_CONTIGUOUS.require(self.last_index, self.last_term, entries)
        self._entries.extend(entries)
        self.last_index = Index(self.last_index + len(entries))
        self.last_term = entries[-1].term
        self.last_time_ms = entries[-1].time_ms

    def truncate_from(self, index: Index) -> None:
        """Drop the entry at ``index`` and all after it. The caller has shown that it conflicts with the leader's."""
        del self._entries[index - self.base_index - 1 :]
        self.last_index = Index(index - 1)
        self.last_term = self._entries[-1].term if self._entries else self.base_term
        self.last_time_ms = self._entries[-1].time_ms if self._entries else self.base_time_ms
        self.durable_index = min(self.durable_index, self.last_index)
        self.handed_index = min(self.handed_index, self.last_index)
        self.epoch += 1

    def compact(self, through: Index) -> None:
        """Move the base up to ``through``: what is before it has a snapshot, and is only dropped from memory."""
        if through > self.base_index:
            last = self._entries[through - self.base_index - 1]
            del self._entries[: through - self.base_index]
            self.base_index, self.base_term, self.base_time_ms = last.index, last.term, last.time_ms

    def reset(self, point: SnapshotPoint) -> None:
        """Begin anew after a snapshot that this log does not reach, or contradicts. Nothing of the new log counts as
        durable until its beginning is: until then the one on disk is the old one."""
        self.base_index = self.last_index = self.handed_index = point.index
        self.base_term = self.last_term = point.term
        self.base_time_ms = self.last_time_ms = point.time_ms
        self._entries.clear()
        self.durable_index = Index(0)
        self.epoch += 1
        self._reset_unpersisted = True

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log that ends so is at least as up to date as this one: by term, then by index (paper, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def agreement_hint(self, index: Index, term: Term) -> Index:
        """The highest index up to ``index`` at which this log may agree with one whose entry there has ``term``.

        Terms never decrease along a log, so no entry of this log with a greater term can be in the other at or
        before that index: one answer skips whole terms of conflict instead of one entry (paper, end of 5.3). Before
        the base nobody knows any more; an answer there says only that it is not here.
        """
        at = min(index, self.last_index)
        while at >= self.base_index and (self.term_at(at) or 0) > term:
            at = Index(at - 1)
        return at

    @property
    def has_unpersisted(self) -> bool:
        """Whether there are entries that have yet to be handed out to be persisted; a leader has sent none of them."""
        return self.handed_index < self.last_index

    def take_unpersisted(self) -> tuple[Entry, ...]:
        """The entries not yet handed out to be persisted; they count as handed out from now on."""
        if not self.has_unpersisted:
            return ()  # as in most turns of a leader that answers reads
        entries = tuple(self.between(self.handed_index + 1, self.last_index))
        self.handed_index = self.last_index
        return entries

    def take_unpersisted_reset(self) -> tuple[Index, Term] | None:
        """The base, if the log on disk has yet to be replaced by one that begins there; it counts as handed out."""
        base = (self.base_index, self.base_term) if self._reset_unpersisted else None
        self._reset_unpersisted = False
        return base

    def made_durable(self, mark: Mark) -> None:
        """Take note that what ``mark`` stands for is on disk. A mark from before a truncation counts for nothing:
        the rewriting that followed it has a mark of its own."""
        if mark.epoch == self.epoch:
            self.durable_index = max(self.durable_index, mark.index)
