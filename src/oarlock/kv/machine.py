"""The state machine itself: two loops over a :class:`~oarlock.kv.keyspace.Keyspace`.

SET and GET are by far the commonest and are done in the loops; everything else is looked up in
:data:`~oarlock.kv.writes.WRITES` and :data:`~oarlock.kv.queries.QUERIES`.
"""

from collections.abc import Sequence
from typing import Any, cast
from zlib import crc32

from oarlock.kv.keyspace import SHARD_MASK, Keyspace
from oarlock.kv.queries import QUERIES
from oarlock.kv.results import OK
from oarlock.kv.writes import WRITES, UnknownCommand
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

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        """Execute canonical commands in order.

        :raises UnknownCommand: a verb or a shape that this version never writes stands in the log.
        """
        data = self._data
        shards = data.shards
        results: list[Any] = []
        done = results.append
        checked = cast("Sequence[tuple[bytes, ...]]", commands)
        data.before_change(checked)
        for command in checked:
            if len(command) == 3 and command[0] == b"SET":
                _, key, value = command
                shards[crc32(key) & SHARD_MASK][key] = value
                done(OK)
            else:
                done(self._other(command))
                shards = data.shards  # FLUSHALL replaces them.
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

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        """Answer canonical queries from the present state. KEYS and a large SCAN are answered by generators.

        :raises UnknownCommand: the caller asked what this version does not know.
        """
        shards = self._data.shards
        results: list[Any] = []
        done = results.append
        for query in queries:
            if query[0] == b"GET":
                _, key = query
                done(shards[crc32(key) & SHARD_MASK].get(key))
            else:
                try:
                    answer = QUERIES[query[0]]
                except KeyError:
                    raise UnknownCommand(query) from None
                done(answer(self._data, query))
        return results
