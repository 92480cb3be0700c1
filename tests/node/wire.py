"""What is between the nodes of a test: loopback TCP that can be cut, held and reset, by sender and receiver."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import cast

from oarlock.network.transport import Listener, ProtocolFactory, TcpNetwork

Route = tuple[int, int]


class Wire:
    """All connections of one cluster. A route is (sender, receiver)."""

    def __init__(self) -> None:
        self.held: dict[Route, None] = {}
        self.cuts: dict[Route, None] = {}
        self.owner_of_port: dict[int, int] = {}
        self.dialler_of_port: dict[int, int] = {}
        self.taps: dict[Tap, None] = {}
        self.listeners: dict[int, list[Listener]] = {}

    def at(self, replica: int) -> "Plug":
        """The network as this replica has it."""
        return Plug(self, replica)

    def cut(self, *routes: Route) -> None:
        """End the links from sender to receiver, and let no new ones come up. Nobody is taken for dead."""
        self.cuts.update(dict.fromkeys(routes))
        for tap in self._taps(lambda tap: tap.link in self.cuts):
            tap.transport.abort()

    def part(self, one: list[int], other: list[int]) -> None:
        """Cut every link between the two sides, both ways."""
        self.cut(*((a, b) for a in one for b in other), *((b, a) for a in one for b in other))

    def hold(self, *routes: Route) -> None:
        """Keep what is sent on its way, in order, until it is released or the connection ends."""
        self.held.update(dict.fromkeys(routes))

    def trickle(self, sender: int, receiver: int) -> bool:
        """Let the oldest piece that is held on this route arrive, and keep the others. Whether there was one."""
        for tap in self._taps(lambda tap: tap._incoming == (sender, receiver) and bool(tap.kept)):
            tap._inner.data_received(tap.kept.pop(0))
            return True
        return False

    @property
    def held_bytes(self) -> int:
        """How much is on its way and held."""
        return sum(len(data) for tap in self.taps for data in tap.kept)

    def heal(self) -> None:
        """Let everything through again; what was held arrives now."""
        self.cuts.clear()
        self.held.clear()
        for tap in list(self.taps):
            tap.let_through()

    def reset_all(self) -> int:
        """What a middlebox does that has lost its table: every connection is reset. Returns how many."""
        taps = list(self._taps(lambda tap: True))
        for tap in taps:
            sock = tap.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            tap.transport.abort()
        return len(taps)

    def unplug(self, replica: int) -> None:
        """What the kernel does when the process is killed: nobody listens, and every connection ends."""
        for listener in self.listeners.pop(replica, []):
            listener.close()
        for tap in self._taps(lambda tap: replica in tap.link):
            tap.transport.abort()

    def _taps(self, chosen: Callable[["Tap"], bool]) -> Iterator["Tap"]:
        return iter([tap for tap in self.taps if chosen(tap)])


class Plug:
    """The Network seam of one replica."""

    def __init__(self, wire: Wire, replica: int) -> None:
        self._wire = wire
        self._replica = replica
        self._tcp = TcpNetwork()

    async def dial(self, host: str, port: int, protocol_factory: ProtocolFactory) -> asyncio.Transport:
        link = (self._replica, self._wire.owner_of_port[port])
        if link in self._wire.cuts:
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        return await self._tcp.dial(host, port, lambda: Tap(self._wire, link, protocol_factory(), dialled=True))

    async def listen(self, host: str, port: int, protocol_factory: ProtocolFactory) -> Listener:
        listener = await self._tcp.listen(
            host, port, lambda: Tap(self._wire, (0, self._replica), protocol_factory(), dialled=False)
        )
        self._wire.listeners.setdefault(self._replica, []).append(listener)
        return listener


class Tap(asyncio.Protocol):
    """Stands before the protocol at one end of a connection and decides when it hears."""

    transport: asyncio.Transport

    def __init__(self, wire: Wire, link: Route, inner: asyncio.Protocol, *, dialled: bool) -> None:
        self.link = link
        """(dialler, acceptor); the acceptor does not know the dialler before the first bytes come."""
        self._wire = wire
        self._inner = inner
        self._dialled = dialled
        self.kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are none by descent
        self._wire.taps[self] = None
        if self._dialled:
            self._wire.dialler_of_port[transport.get_extra_info("sockname")[1]] = self.link[0]
        self._inner.connection_made(transport)
        if self.link in self._wire.cuts:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._dialled and not self.link[0]:
            dialler = self._wire.dialler_of_port[self.transport.get_extra_info("peername")[1]]
            self.link = (dialler, self.link[1])
        if self._incoming in self._wire.held or self.kept:
            self.kept.append(data)
        else:
            self._inner.data_received(data)

    def let_through(self) -> None:
        held, self.kept = self.kept, []
        for data in held:
            if not self.transport.is_closing():
                self._inner.data_received(data)

    def eof_received(self) -> None:
        self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.taps.pop(self, None)
        self._inner.connection_lost(exc)

    @property
    def _incoming(self) -> Route:
        return (self.link[1], self.link[0]) if self._dialled else self.link
