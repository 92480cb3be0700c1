"""What survives a crash: exactly what the persists whose fsync has ended asked for, and nothing else."""

from collections.abc import Iterable

from oarlock.core import Persist, Restored
from oarlock.types import NO_REPLICA, Configuration, Entry, ReplicaId, Term


class DurableState:
    """A replica's disk, without the disk."""

    def __init__(self, configuration: Configuration, term: int = 0, vote: int = 0, entries: Iterable[Entry] = ()):
        self.configuration = configuration
        self.term = Term(term)
        self.vote = ReplicaId(vote) if vote else NO_REPLICA
        self.entries = list(entries)

    def write(self, persist: Persist) -> None:
        """The term and vote replace the old ones; entries overwrite the log from the first one's index on."""
        self.term, self.vote = persist.term, persist.vote
        if persist.entries:
            first = persist.entries[0].index
            assert first <= len(self.entries) + 1, f"a gap on disk before index {first}"
            self.entries[first - 1 :] = persist.entries

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is on the disk."""
        return entry.index <= len(self.entries) and self.entries[entry.index - 1] == entry

    def restored(self) -> Restored:
        """What a replica that starts from here is given."""
        return Restored(self.term, self.vote, self.configuration, entries=tuple(self.entries))
