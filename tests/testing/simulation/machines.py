"""State machines for tests of the simulator: good ones, and ones that are wrong in one way each."""

from __future__ import annotations

import json
import random as global_random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random
from typing import Any

from oarlock import Command, Position
from oarlock.testing import Session

WORDS = [b"w%d" % number for number in range(40)]


class Words:
    """Counts words. A command is some words, bytes or tuple; its result, the counts so far."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        return [self.one(command.split() if isinstance(command, bytes) else list(command)) for command in commands]

    def one(self, words: list[bytes]) -> Any:
        for word in words:
            self.counts[word.decode()] = self.counts.get(word.decode(), 0) + 1
        return [self.counts[word.decode()] for word in words]

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [sum(self.counts.values()) if query is None else self.counts.get(query, 0) for query in queries]


async def use_words(session: Session, random: Random) -> None:
    words = random.sample(WORDS, 3)
    await session.propose(tuple(words) if random.random() < 0.5 else b" ".join(words))
    await session.read(random.choice((None, words[0].decode())))


# Good, though unusual


class Answer:
    """A result without ``__eq__``."""

    def __init__(self, value: object) -> None:
        self.value = value


class Unusual(Words):
    """Results that are objects, a part of the state, or generators; queries that are unhashable."""

    def __init__(self) -> None:
        super().__init__()
        self._machine = "a name that a wrapper may use, too"
        self.log: list[str] = []

    def one(self, words: list[bytes]) -> Any:
        super().one(words)
        self.log.append(words[0].decode())
        del self.log[:-5]
        return Answer(set(words)) if sum(self.counts.values()) % 2 else list(self.log)

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [self.slowly(list(self.log), query["times"]) if query["times"] else self.log for query in queries]

    def slowly(self, log: list[str], times: int) -> Iterator[None]:
        for _ in range(times):
            yield
        return log  # type: ignore[return-value]


async def use_unusual(session: Session, random: Random) -> None:
    await use_unusual_write(session, random)
    assert isinstance(await session.read({"times": random.randrange(4)}), list)


async def use_unusual_write(session: Session, random: Random) -> None:
    await session.propose(random.choice(WORDS))


class Alarm:
    """Has something to do when time comes: a TimedStateMachine. A command sets an alarm so many milliseconds ahead."""

    def __init__(self) -> None:
        self.alarms: list[int] = []
        self.rung = 0

    @property
    def next_due_ms(self) -> int | None:
        return min(self.alarms, default=None)

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        due = [alarm for alarm in self.alarms if alarm <= at.time_ms]
        self.rung += len(due)
        self.alarms = [alarm for alarm in self.alarms if alarm > at.time_ms]
        self.alarms += [at.time_ms + int(command) for command in commands]  # type: ignore[arg-type]
        return [self.rung for _ in commands]

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [self.rung for _ in queries]


async def use_alarm(session: Session, random: Random) -> None:
    before = await session.read(None)
    await session.propose(b"%d" % random.randrange(1, 500))
    assert await session.read(None) >= before


class Lease:
    """Lends something for so many milliseconds. What a query is told depends on its own time."""

    def __init__(self) -> None:
        self.until_ms = 0

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        results = []
        for command in commands:
            self.until_ms = max(self.until_ms, at.time_ms + int(command))  # type: ignore[arg-type]
            results.append(self.until_ms)
        return results

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [(max(0, self.until_ms - at.time_ms), at.index) for _ in queries]


async def use_lease(session: Session, random: Random) -> None:
    await session.propose(b"%d" % random.randrange(1, 500))
    assert (await session.read(None))[0] <= 500
    await session.read(None)


class Recorded(Words):
    """Gives snapshots of itself."""

    def snapshot(self) -> Any:
        return [json.dumps(self.counts).encode()]

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        self.counts = json.loads(b"".join([piece async for piece in pieces]))


class CannotRestore(Words):
    """A node takes no snapshots of it."""

    def snapshot(self) -> Any:
        return [b""]


# Wrong in one way each


class Clock(Words):
    def one(self, words: list[bytes]) -> Any:
        return [*super().one(words), time.time()]


class ClockInState(Words):
    def one(self, words: list[bytes]) -> Any:
        self.at = time.time()
        return super().one(words)


class Dice(Words):
    def one(self, words: list[bytes]) -> Any:
        return [*super().one(words), global_random.random()]


class Address(Words):
    def one(self, words: list[bytes]) -> Any:
        return [*super().one(words), id(words)]


class SetInResult(Words):
    def one(self, words: list[bytes]) -> Any:
        super().one(words)
        return list({word.decode() for word in words})


class SetInState(Words):
    def one(self, words: list[bytes]) -> Any:
        self.last = list({word.decode() for word in words})
        return super().one(words)


class Division(Words):
    """The order of its dict depends on what is applied together; queries see it."""

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        results = super().apply(commands, at)
        if len(commands) > 1:
            self.counts = dict(sorted(self.counts.items()))
        return results

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [list(self.counts)[:10] for _ in queries]


class Curious(Words):
    """A query changes the state."""

    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        self.counts["queries"] = self.counts.get("queries", 0) + len(queries)
        return super().query(queries, at)


class TooFew(Words):
    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        return super().apply(commands, at)[1:]


class TooManyAnswers(Words):
    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        return [*super().query(queries, at), 0]


class NoSequence(Words):
    def apply(self, commands: Sequence[Command], at: Position) -> Any:
        return iter(super().apply(commands, at))


class Raises(Words):
    def one(self, words: list[bytes]) -> Any:
        if words[0] == WORDS[7]:
            raise ZeroDivisionError("by the seventh word")
        return super().one(words)


class Impatient(Words):
    """Cannot bear that nobody writes for a second."""

    last_ms = 0

    def apply(self, commands: Sequence[Command], at: Position) -> Sequence[Any]:
        if self.last_ms and at.time_ms - self.last_ms > 1000:
            raise TimeoutError("nobody wrote for a second")
        self.last_ms = at.time_ms
        return super().apply(commands, at)


class QueryRaises(Words):
    def query(self, queries: Sequence[Any], at: Position) -> Sequence[Any]:
        if None in queries:
            raise LookupError("nothing asked")
        return super().query(queries, at)


class OnePiece(Recorded):
    def snapshot(self) -> Any:
        return json.dumps(self.counts).encode()


class TextPieces(Recorded):
    def snapshot(self) -> Any:
        return [json.dumps(self.counts)]


class SnapshotRaises(Recorded):
    def snapshot(self) -> Any:
        raise OSError("no such file")


class PieceRaises(Recorded):
    def snapshot(self) -> Any:
        yield b"{"
        raise KeyError("where is it")


class RestoreRaises(Recorded):
    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        raise KeyError("what is it")


class RestoresAtOnce(Recorded):
    def restore(self, pieces: AsyncIterator[bytes]) -> None:  # type: ignore[override]
        self.counts = {}


class Forgets(Words):
    """Shared by all machines of a process, which no machine may be: what one life counted, the next one finds."""

    counts: dict[str, int] = {}  # noqa: RUF012

    def __init__(self) -> None:
        pass
