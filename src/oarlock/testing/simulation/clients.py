"""Clients of the key-value store, over its Redis protocol: what they ask, and how they put up with failures.

Some send one command and wait, some send pipelines; they go to any replica, lose patience, hang up in the middle,
come back elsewhere, and ask again after an answer that says that nothing was executed. Every value that they write is
written once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, TypeAlias

import hiredis

from oarlock.kv import packing
from oarlock.server.redis import replies
from oarlock.server.redis.commands import COMMANDS, Kind
from oarlock.testing.simulation.host import CLIENT_PORT, Host
from oarlock.testing.simulation.loop import Process, VirtualLoop
from oarlock.testing.simulation.network import Wires
from oarlock.testing.simulation.record import Call, Record, Watched
from oarlock.testing.simulation.subject import PATIENCE_S, Patience
from oarlock.types import Command

Words: TypeAlias = tuple[bytes, ...]


class Line(asyncio.Protocol):
    """A connection to a replica."""

    def __init__(self) -> None:
        self.lost = False
        self.watch_failed = False
        """Whether the next transaction cannot be executed: a key of its was not watched."""
        self._reader = hiredis.Reader()
        self._replies: list[Any] = []
        self._arrival: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._replies.append(reply)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._wake()

    def send(self, commands: Iterable[Words]) -> None:
        """Send a pipeline."""
        assert self._transport is not None
        self._transport.write(b"".join(map(_encoded, commands)))

    async def reply(self) -> Any:
        """The next reply. Raises ConnectionError if none comes any more."""
        while not self._replies:
            if self.lost:
                raise ConnectionResetError
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._replies.pop(0)

    def hang_up(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


def _encoded(words: Words) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _it(line: Line) -> Callable[[], Line]:
    return lambda: line


def told(result: Any) -> Any:
    """What a client sees of a result of the state machine."""
    reader = hiredis.Reader()
    reader.feed(replies.encode(result, False))
    return plain(reader.gets())


def plain(reply: Any) -> Any:
    """A reply that can be compared: hiredis' errors cannot."""
    if isinstance(reply, hiredis.ReplyError):
        return f"-{reply}"
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return reply


def markers(command: Command) -> Iterable[bytes]:
    """What in a command of the log may be the marker of a call: the values that it writes."""
    if command[0] == b"EXEC":
        return dict.fromkeys(value for inner in packing.commands(command[2]) for value in _written(inner))  # type: ignore[arg-type]
    return dict.fromkeys(_written(command))  # type: ignore[arg-type]


def _written(command: Words) -> Words:
    return command[3:] if command[0] == b"CAS" else command[2:]


def says(logged: Command | None, request: Words) -> bool:
    """Whether a command of the log is what was asked for, word by word."""
    match logged:
        case (b"EXEC", bytes(), bytes() as body):
            inner, asked = packing.commands(body), [tuple(line.split(b" ")) for line in request[1:-1]]
            return len(inner) == len(asked) and all(map(says, inner, asked))
        case (b"SET", _, _, b"PX", _, end):  # when it ends goes along, by the clock of the replica
            return logged == (*request, end)
        case (b"EXPIRE", key, after_ms, _):
            return request == (b"PEXPIRE", key, after_ms)
    return logged == request


class Habits:
    """What a client does, drawn from its own random source."""

    def __init__(self, number: int, random: Random) -> None:
        self.number = number
        self.random = random
        self.pause_s = random.choice((0.2, 0.4, 0.8, 1.2))
        self.pipelines = random.random() < 0.3
        self.sequence = 0
        self.last_read: dict[bytes, bytes] = {}
        """What the client saw last under a key, which may be there still."""

    def unique(self) -> bytes:
        """A value that nobody has written or will write."""
        self.sequence += 1
        return b"%d.%d" % (self.number, self.sequence)

    def unique_number(self) -> bytes:
        """A number that nobody else adds."""
        self.sequence += 1
        return b"%d%06d" % (self.number, self.sequence)

    def key(self, kind: bytes) -> bytes:
        return kind + b"%d" % self.random.randrange(3)

    def command(self) -> tuple[Words, bytes | None, str, Any]:
        """A command; its marker, if it is an update; and what it is to a model of one object, if to any."""
        random = self.random
        choice = random.random()
        if choice < 0.17:
            return (b"GET", self.key(b"r")), None, "read", None
        if choice < 0.19:
            # A second key, which is not there, tells one such call from another.
            value = self.unique()
            return (b"DEL", self.key(random.choice((b"r", b"a", b"n"))), value), value, "delete", None
        if choice < 0.32:
            value = self.unique()
            return (b"SET", self.key(b"r"), value), value, "write", value
        if choice < 0.37:
            value = self.unique()
            return (b"GETSET", self.key(b"r"), value), value, "swap", value
        if choice < 0.43:
            key, value = self.key(b"r"), self.unique()
            old = self.last_read.get(key) or b"never"
            return (b"CAS", key, old, value), value, "cas", (old, value)
        if choice < 0.53:
            value = self.unique() + b";"
            return (b"APPEND", self.key(b"a"), value), value, "append", value
        if choice < 0.60:
            return (b"GET", self.key(b"a")), None, "read", None
        if choice < 0.70:
            amount = self.unique_number()
            return (b"INCRBY", self.key(b"n"), amount), amount, "increment", int(amount)
        if choice < 0.76:
            return (b"GET", self.key(b"n")), None, "read", None
        if choice < 0.82:
            value = self.unique()
            return (b"SET", self.key(random.choice((b"t", b"t", b"x"))), value, b"PX", self.life_ms()), value, "", None
        if choice < 0.87:
            return (b"GET", self.key(b"t")), None, "", None
        if choice < 0.89:
            return (b"PTTL", self.key(b"t")), None, "", None
        if choice < 0.90:
            value = self.unique()
            return (b"DEL", self.key(random.choice((b"t", b"x"))), value), value, "", None
        if choice < 0.93:
            return (b"MGET", b"x0", b"x1", b"x2"), None, "", None
        if choice < 0.97:
            value = self.unique()
            return (b"MSET", self.key(b"x"), value, b"x0", value + b"'"), value, "", None
        value = self.unique()
        if random.random() < 0.3:  # the plain form, which the machine executes by itself
            return (b"SET", self.key(b"x"), value), value, "", None
        if random.random() < 0.3:  # longer than a sector of the log's disk, and some of it like a blank one
            value += b"-" * random.randrange(4096) + bytes(random.randrange(16384))
        return (b"SET", self.key(b"x"), value, b"GET"), value, "", None

    def life_ms(self) -> bytes:
        """How long a key is to live."""
        return b"%d" % self.random.choice((20, 200, 1000, 4000))

    def chore(self) -> Words:
        """A command that nothing tells by: for the inside of a transaction."""
        random = self.random
        if random.random() < 0.05:
            return (b"FLUSHALL",)
        key = self.key(random.choice((b"t", b"x")))
        return random.choice(
            ((b"PEXPIRE", key, self.life_ms()), (b"PERSIST", key), (b"DEL", key), (b"PTTL", key), (b"GET", key))
        )


class Client:
    """One client and its process."""

    def __init__(
        self, number: int, loop: VirtualLoop, wires: Wires, record: Record, random: Random, hosts: list[Host]
    ) -> None:
        self.process: Process = loop.process(f"client {number}")
        self.stopping = False
        self.complaints: list[str] = []
        """Answers that did not come by their deadlines."""
        self._number = number
        self._loop = loop
        self._wires = wires
        self._record = record
        self._random = random
        self._hosts = hosts
        self._habits = Habits(number, random)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = self.process.start(self._run())

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def done(self) -> bool:
        """Whether it has stopped, and every call of its is ended."""
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        random = self._random
        while not self.stopping:
            host = random.choice(self._hosts)
            line = Line()
            try:
                async with asyncio.timeout(2):
                    await self._wires.dial(
                        self.process, f"10.0.1.{self._number}", (host.address, CLIENT_PORT), _it(line)
                    )
            except OSError:
                await asyncio.sleep(random.uniform(0.02, 0.3))
                continue
            try:
                for _ in range(random.choice((3, 20, 100))):
                    if self.stopping or line.lost:
                        break
                    if not await self._exchange(line, host):
                        break
                    await asyncio.sleep(random.expovariate(1 / self._habits.pause_s))
            finally:
                line.hang_up()

    async def _exchange(self, line: Line, host: Host) -> bool:
        """Ask something and wait for the answers; whether the connection can be used further."""
        random, habits = self._random, self._habits
        if random.random() < 0.08:
            return await self._transaction(line, host)
        count = random.randint(2, 8) if habits.pipelines else 1
        calls: list[Call] = []
        first = random.randint(1, count) if random.random() < 0.3 else count
        for part in (first, count):  # in one piece, or with a pause that parts them for the replica, too
            if calls and part > len(calls):
                await asyncio.sleep(random.uniform(0, 0.01))
            begun = len(calls)
            while len(calls) < part:
                words, marker, function, argument = habits.command()
                calls.append(self._call(host, words, marker, function, argument, calls[-1] if calls else None))
            line.send(call.request for call in calls[begun:])
        return await self._await_all(line, host, calls)

    async def _transaction(self, line: Line, host: Host) -> bool:
        """Read, and write what depends on it if nobody came between."""
        random, habits = self._random, self._habits
        key, value = habits.key(b"x"), habits.unique()
        watches = random.random() < 0.7
        read: Call | None = None
        since = self._record.tick()
        if watches:
            line.send([(b"WATCH", key)])
            try:
                async with asyncio.timeout(PATIENCE_S):
                    if plain(await line.reply()) != b"OK":
                        line.watch_failed = True
                        return True
            except (TimeoutError, ConnectionError):
                return False
            read = self._call(host, (b"GET", key), None, "", None, None)
            line.send([read.request])
            if not await self._await_all(line, host, [read]) or read.outcome != "ok":
                return False  # and with the connection the WATCH
            await asyncio.sleep(random.expovariate(1 / 0.2))  # time for others to come between
        body: list[Words] = [
            (b"SET", key, value),
            (b"GET", habits.key(b"x")),
            (b"APPEND", b"x2", value + b";"),
            habits.chore(),
        ]
        random.shuffle(body)
        if line.lost:
            return False
        call = self._call(host, (b"EXEC",), value, "", None, None)
        call.request = (b"MULTI", *(b" ".join(words) for words in body), b"EXEC")
        if read is not None:
            call.watched = Watched(since, (b"VERSION", key), read)
        call.hopeless, line.watch_failed = line.watch_failed, False
        line.send([(b"MULTI",), *body, (b"EXEC",)])
        return await self._await_all(line, host, [call], skip=1 + len(body))

    def _call(
        self, host: Host, words: Words, marker: bytes | None, function: str, argument: Any, after: Call | None
    ) -> Call:
        query = None
        if marker is None:
            spec = COMMANDS[words[0]]
            assert spec.kind is Kind.READ
            query = spec.canonical(list(words), host.clock.wall_ms)
        subject = words[1] if function else None
        record = self._record
        return record.begin(
            Call(self._number, host.id, words, record.tick(), self._loop.now, query, marker, after, None, subject,
                 function, argument)
        )  # fmt: skip

    async def _await_all(self, line: Line, host: Host, calls: list[Call], skip: int = 0) -> bool:
        random, loop = self._random, self._loop
        patience, began = Patience(host), loop.now
        gives_up = random.random() < 0.04
        patience_s = random.uniform(0.01, 1) if gives_up else PATIENCE_S
        ended = 0
        try:
            while True:
                try:
                    while ended < len(calls):
                        # A command waits for those before it, and then has its own deadline.
                        async with asyncio.timeout(patience_s):
                            reply = plain(await line.reply())
                        if skip:
                            skip -= 1
                            continue
                        self._told(calls[ended], reply)
                        ended += 1
                    return calls[-1].outcome == "ok"
                except TimeoutError:
                    if gives_up or patience.replica_ended:
                        return False
                    if patience.is_over():
                        self.complaints.append(f"no answer after {loop.now - began:.3f} s: {calls[ended]}")
                        return False
        except ConnectionError:
            return False
        finally:
            for call in calls[ended:]:
                # A client that has no answer knows nothing, and so does one that hung up.
                self._record.end(call, "unknown", None, loop.now)

    def _told(self, call: Call, reply: Any) -> None:
        outcome: Any = "ok"
        if isinstance(reply, str) and reply.startswith(("-CLUSTERDOWN", "-TRYAGAIN")):
            outcome = "failed"
        elif isinstance(reply, str) and reply.startswith("-UNKNOWN"):
            outcome = "unknown"
        elif isinstance(reply, str) and reply.startswith("-EXECABORT"):
            outcome = "failed"
        elif call.request[0] == b"GET" and reply is not None:
            self._habits.last_read[call.request[1]] = reply
        self._record.end(call, outcome, reply, self._loop.now)
