"""Which configuration is in force. Only that: nothing here starts a change of it.

An appended configuration is in force at once, committed or not, also after a restart, and rolls back with its
entry when that is truncated (thesis, section 4.1).
"""

from collections.abc import Iterable

import msgspec

from oarlock.types import Configuration, Entry, EntryKind, Index, Member, ReplicaId

_decoder = msgspec.msgpack.Decoder(Configuration)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of the members. Everything that is named happens in one change."""

    add: tuple[Member, ...] = ()
    replace: tuple[tuple[ReplicaId, Member], ...] = ()
    """(who leaves, who comes). The same id with a new incarnation is a replica that has lost its data."""
    remove: tuple[ReplicaId, ...] = ()
    move: tuple[tuple[ReplicaId, str], ...] = ()
    """(who, its new raft address)."""
    as_learners: bool = False
    """Who is added stays a learner: it holds the data and never votes."""


def encode_configuration(configuration: Configuration) -> bytes:
    """The payload of a configuration entry."""
    return msgspec.msgpack.encode(configuration)


class Configurations:
    """The configuration at the log's base and those appended since, the last of which is in force."""

    def __init__(self, base: Configuration, entries: Iterable[Entry]) -> None:
        self._stack: list[tuple[Index, Configuration]] = [(Index(0), base)]
        self.current = base
        self.appended(entries)

    def appended(self, entries: Iterable[Entry]) -> None:
        """Put the configurations among these newly appended entries in force."""
        for entry in entries:
            if entry.kind == EntryKind.CONFIGURATION:
                self._stack.append((entry.index, _decoder.decode(entry.payload)))
        self.current = self._stack[-1][1]

    def truncated_from(self, index: Index) -> None:
        """Roll back those whose entries were truncated."""
        while self._stack[-1][0] >= index and len(self._stack) > 1:
            self._stack.pop()
        self.current = self._stack[-1][1]
