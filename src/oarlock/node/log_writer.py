"""Makes what the core wants durable, one write at a time, off the event loop.

While a write runs, the next ones gather, and become one frame and one fsync: that is all the group commit there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from oarlock.core.messages import CoreMessage
from oarlock.core.ready import Persist
from oarlock.storage.wal import DurableState
from oarlock.types import Entry, Index, ReplicaId, Term

LATENCY_SHARE = 0.1
"""Of the latest write in the average."""

Outgoing = list[tuple[ReplicaId, CoreMessage]]


class DurablePosition(NamedTuple):
    """What this replica may say that it durably knows. What the core knows may be newer, and then less: it has cut
    off a suffix that is on the disk still, in a term that is not there yet."""

    term: Term
    last_index: Index
    last_term: Term

    @classmethod
    def of(cls, state: DurableState) -> DurablePosition:
        """At the start."""
        last = state.entries[-1] if state.entries else None
        return cls(state.term, last.index if last else state.base_index, last.term if last else state.base_term)


class AppendsDurably(Protocol):
    """What it takes of a :class:`~oarlock.storage.wal.Wal`, which says what each means."""

    @property
    def has_space(self) -> bool: ...

    async def append(
        self, term: Term, vote: ReplicaId, entries: Sequence[Entry], base: tuple[Index, Term] | None = None
    ) -> None: ...


class LogWriter:
    """Feeds the WAL and reports, in order, what became durable."""

    def __init__(
        self,
        wal: AppendsDurably,
        durable: DurablePosition,
        on_durable: Callable[[Persist, Outgoing], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._wal = wal
        self.latency_s = 0.0
        """Moving average of what a write takes."""
        self.durable = durable
        """What is on the disk for sure."""
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._gathered: list[Persist] = []
        self._messages: Outgoing = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether everything asked for is durable and reported."""
        return self._task is None or self._task.done()

    @property
    def has_space(self) -> bool:
        """Whether the disk has room for more; while not, the node refuses new writes, and reads go on."""
        return self._wal.has_space

    def write(self, persist: Persist, messages_after: Outgoing) -> None:
        """Make it durable, after all that was asked for before; the messages are handed back when it is."""
        self._gathered.append(persist)
        self._messages += messages_after
        if self.idle:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Wait for the write that is running and forget the rest."""
        self._gathered.clear()
        self._messages.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._gathered:
                gathered, self._gathered = self._gathered, []
                messages, self._messages = self._messages, []
                last = gathered[-1]
                base = next((persist.base for persist in reversed(gathered) if persist.base is not None), None)
                entries = _merged(gathered)
                began_s = loop.time()
                await self._wal.append(last.term, last.vote, entries, base)
                self.latency_s += LATENCY_SHARE * (loop.time() - began_s - self.latency_s)
                _, last_index, last_term = self.durable
                if base is not None:
                    last_index, last_term = base
                if entries:
                    last_index, last_term = entries[-1].index, entries[-1].term
                self.durable = DurablePosition(last.term, last_index, last_term)
                self._on_durable(last, messages)
        except Exception as error:
            # Final, whatever it was: after a failed fsync nobody knows what is on the disk. Never tried again.
            self._on_failure(error)


def _merged(persists: list[Persist]) -> list[Entry]:
    """The entries of several persists as one run; a later one overwrites from its first index on."""
    if len(persists) == 1:
        return list(persists[0].entries)
    merged: list[Entry] = []
    for persist in persists:
        if persist.base is not None:
            merged.clear()  # it replaces the whole log
        if persist.entries:
            if merged and persist.entries[0].index <= merged[-1].index:
                keep = persist.entries[0].index - merged[0].index
                del merged[max(keep, 0) :]
            merged += persist.entries
    return merged
