"""Replicas made of links only, on loopback, and what can stand between them."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Mapping

import msgspec

from oarlock.core.messages import AppendAck
from oarlock.network.codec import decode_greeting, encode_greeting
from oarlock.network.frames import FrameDecoder
from oarlock.network.links import Limits, Links
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.network.transport import Network, TcpNetwork
from oarlock.types import Beat, Boot, Index, ReplicaId, Term

from .conftest import QUICK

HELLO = Hello(1, 2, "cluster", ReplicaId(1), 11, Boot(1), 111, Term(0), Term(0), Index(0), "", "")
A, B, C = ReplicaId(1), ReplicaId(2), ReplicaId(3)


def hello_of(replica: ReplicaId, boot: int = 1) -> Hello:
    """The Hello of a replica's process; every boot has its own nonce, every replica its own incarnation."""
    return msgspec.structs.replace(
        HELLO, replica=replica, boot=Boot(boot), incarnation=replica * 11, nonce=replica * 1000 + boot
    )


def ack(number: int) -> AppendAck:
    return AppendAck(Term(1), Beat(number), Index(0))


def numbers(messages: list[PeerMessage]) -> list[int]:
    return [message.beat for message in messages if isinstance(message, AppendAck)]


async def eventually(condition: Callable[[], object], what: str = "", within_s: float = 5) -> None:
    """Return as soon as the condition holds; fail if it does not within the time."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - conditions are of any kind
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"never happened: {what or condition}") from None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Replica:
    """Links, and a record of every event they had."""

    def __init__(
        self,
        own: Hello,
        addresses: Mapping[ReplicaId, str],
        *,
        limits: Limits = QUICK,
        network: Network | None = None,
        examine: Callable[[Hello], Refusal | None] = lambda _: None,
    ) -> None:
        self.own = msgspec.structs.replace(own, raft_address=addresses[own.replica])
        self.log: list[tuple[str, ReplicaId]] = []
        self.inbox: list[PeerMessage] = []
        self.refusals: list[Refusal] = []
        self.examine = examine
        self.listen = addresses[own.replica]
        self.links = Links(network or TcpNetwork(), random.Random(7), own.replica, addresses, self, limits=limits)

    def hello(self) -> Hello:
        return self.own

    def connected(self, peer: ReplicaId, hello: Hello) -> None:
        assert self.links.is_connected(peer)
        self.log.append(("connected", peer))

    def heard_hello(self, peer: ReplicaId, hello: Hello) -> None:
        self.log.append(("heard_hello", peer))

    def disconnected(self, peer: ReplicaId) -> None:
        assert not self.links.is_connected(peer)
        self.log.append(("disconnected", peer))

    def received(self, peer: ReplicaId, messages: list[PeerMessage]) -> None:
        assert messages, "an empty turn is no event"
        self.inbox.extend(messages)

    def unreachable(self, peer: ReplicaId) -> None:
        self.log.append(("unreachable", peer))

    def refused(self, peer: ReplicaId, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def count(self, event: str, peer: ReplicaId) -> int:
        return self.log.count((event, peer))

    async def __aenter__(self) -> "Replica":
        await self.links.start(self.listen)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.links.close()


def addresses_of(*replicas: ReplicaId) -> dict[ReplicaId, str]:
    return {replica: f"127.0.0.1:{free_port()}" for replica in replicas}


async def both_ways(one: Replica, other: Replica) -> None:
    """Wait until each has a link to, and has heard, the other."""
    for here, there in ((one, other.own.replica), (other, one.own.replica)):
        await eventually(lambda here=here, there=there: here.links.is_connected(there), f"link to {there}")  # type: ignore[misc]
        await eventually(lambda here=here, there=there: here.count("heard_hello", there), f"hello of {there}")  # type: ignore[misc]


class Stranger:
    """A hand-driven connection to a replica's port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, address: str) -> "Stranger":
        host, port = address.split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def greet(self, hello: Hello) -> Hello | Refusal:
        """Send a Hello; return what it is answered with."""
        self.writer.write(encode_greeting(hello))
        decoder = FrameDecoder(1 << 20)
        while True:
            chunk = await self.reader.read(65536)
            assert chunk, "closed without an answer"
            for body in decoder.feed(chunk):
                return decode_greeting(body)

    async def is_closed(self) -> None:
        """Wait until the replica ends the connection."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(65536), 5):
                pass

    def leave(self) -> None:
        self.writer.transport.abort()


class Middlebox:
    """Forwards TCP connections to an address, and can reset them all."""

    def __init__(self, port: int, target: str) -> None:
        self.port = port
        self.host, _, target_port = target.partition(":")
        self.target_port = int(target_port)
        self.passed = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Middlebox":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_all(self) -> None:
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self.passed += 1
        self._writers += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
