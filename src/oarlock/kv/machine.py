"""The state machine itself: two loops over a :class:`~oarlock.kv.keyspace.Keyspace`.

SET and GET are by far the commonest and are done in the loops; everything else is looked up in
:data:`~oarlock.kv.writes.WRITES` and :data:`~oarlock.kv.queries.QUERIES`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast
from zlib import crc32

import msgspec

from oarlock.kv import packing
from oarlock.kv.keyspace import VERSION_MASK, Keyspace
from oarlock.kv.queries import QUERIES, inside
from oarlock.kv.results import MAX_REPLIES_BYTES, OK, TOO_MUCH, size_bytes
from oarlock.kv.shards import SHARD_MASK
from oarlock.kv.snapshot import Restoring, taken
from oarlock.kv.writes import WRITES, UnknownCommand, keys_of
from oarlock.state_machine import Position
from oarlock.types import Command


class KeyValue:
    """A :class:`~oarlock.state_machine.StateMachine` of keys and values, both ``bytes``.

    >>> from oarlock.types import Index
    >>> machine = KeyValue()
    >>> machine.apply([(b"SET", b"k", b"1"), (b"INCRBY", b"k", b"2")], Position(index=Index(1), time_ms=0))
    [SimpleString(text=b'OK'), 3]
    >>> machine.query([(b"GET", b"k"), (b"GET", b"absent")], Position(index=Index(1), time_ms=0))
    [b'3', None]
    """

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = Keyspace()

    def __len__(self) -> int:
        """How many keys there are. Looks at 1,024 shards: about 30 µs."""
        return len(self._data)

    @property
    def expiring(self) -> int:
        """How many keys have a lifetime."""
        return len(self._data.lifetimes.deadlines)

    @property
    def next_due_ms(self) -> int | None:
        """Log time at which a key ends; the leader sees to it that an entry tells all replicas when it has come."""
        return self._data.lifetimes.next_due_ms

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        """Execute canonical commands in order.

        :raises UnknownCommand: a verb or a shape that this version never writes stands in the log.
        """
        data = self._data
        results: list[Any] = []
        done = results.append
        checked = cast("Sequence[tuple[bytes, ...]]", commands)
        data.begin(at.time_ms)
        if data.is_read:
            data.before_change(keys_of(checked))
        shards, versions = data.shards, data.versions
        lifetimes = data.lifetimes
        deadlines = lifetimes.deadlines
        # Numbered by command and not by call: each replica divides the log among calls in its own way.
        first = data.change + 1
        for change, command in enumerate(checked, first):
            if len(command) == 3 and command[0] == b"SET":
                _, key, value = command
                crc = crc32(key)
                shards[crc & SHARD_MASK][key] = value
                versions[crc & VERSION_MASK] = change
                if deadlines and key in deadlines:
                    lifetimes.forget(key)
                done(OK)
            else:
                data.change = change
                done(self._transaction(command) if command[0] == b"EXEC" else self._other(command))
                shards, lifetimes = data.shards, data.lifetimes  # FLUSHALL replaces them.
                deadlines = lifetimes.deadlines
        data.change = first + len(commands) - 1
        data.reclaim(len(commands))
        return results

    def _other(self, command: tuple[bytes, ...]) -> Any:
        write = WRITES.get(command[0])
        if write is None:
            raise UnknownCommand(command)
        try:
            return write(self._data, command)
        except ValueError as error:
            raise UnknownCommand(command) from error

    def _transaction(self, command: tuple[bytes, ...]) -> Any:
        """The results of the commands, or None if a watched key has changed. One that is refused stops no other, and
        neither does one whose result there is no room for."""
        try:
            _, packed_watched, packed_commands = command
            watched = packing.watched(packed_watched)
            commands = packing.commands(packed_commands)
        except (ValueError, msgspec.DecodeError) as error:
            raise UnknownCommand(command) from error
        data = self._data
        if any(data.version(key) != version for key, version in watched):
            return None
        results: list[Any] = []
        room_bytes = MAX_REPLIES_BYTES
        for inner in commands:
            result = inside(data, inner) if inner[0] in QUERIES else self._other(inner)
            room_bytes -= size_bytes(result)
            results.append(result if room_bytes >= 0 else TOO_MUCH)
        return results

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        """Answer canonical queries from the present state. KEYS and a large SCAN are answered by generators.

        :raises UnknownCommand: the caller asked what this version does not know.
        """
        data = self._data
        shards = data.shards
        deadlines, now_ms = data.lifetimes.deadlines, data.lifetimes.now_ms
        results: list[Any] = []
        done = results.append
        for query in queries:
            if query[0] == b"GET":
                _, key = query
                if deadlines and key in deadlines and deadlines[key] <= now_ms:
                    done(None)
                else:
                    done(shards[crc32(key) & SHARD_MASK].get(key))
            else:
                try:
                    answer = QUERIES[query[0]]
                except KeyError:
                    raise UnknownCommand(query) from None
                done(answer(data, query, at.time_ms))
        return results

    def snapshot(self) -> Iterator[bytes]:
        """All that there is at this moment, in pieces of at most 64 KiB or one value (:mod:`oarlock.kv.snapshot`)."""
        return taken(self._data)

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        """Hold what was taken, instead of what is here. Both take memory until the last piece has come.

        :raises ValueError: the pieces are no whole snapshot, or one of a newer version. Nothing has changed.
        """
        restoring = Restoring()
        try:
            async for piece in pieces:
                restoring.add(piece)
            data = restoring.finish()
        except BaseException:
            self._data.discard(restoring.data)
            raise
        self._data.become(data)
