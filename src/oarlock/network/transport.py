"""The Network seam: all that links may ask of a network, and the real one over TCP.

Both calls work in asyncio transports and protocols, so that a simulated network can stand in for the real one.
Timers come from the running loop. Nothing else in this package touches a socket.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from oarlock.network.address import format_address

ProtocolFactory: TypeAlias = Callable[[], asyncio.Protocol]

BACKLOG = 128
KEEPALIVE_IDLE_S = 5
KEEPALIVE_INTERVAL_S = 1
KEEPALIVE_PROBES = 5
UNACKNOWLEDGED_MS = 10_000
"""How long sent bytes may stay unacknowledged before the kernel gives a connection up. Without it, a connection to
a machine that lost power holds its buffers for a quarter of an hour."""


_NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""Errors of an address of a kind that this machine has none of, as ``::1`` where IPv6 is switched off."""


class Listener(Protocol):
    """An open port."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, ``host:port``, with the real port if any free one was asked for."""
        ...

    def close(self) -> None:
        """Accept no more. Connections already accepted stay open."""
        ...


class Network(Protocol):
    """Opens connections. Errors are ``OSError``; ``ConnectionRefusedError`` only if *every* address refused."""

    async def dial(self, host: str, port: int, protocol_factory: ProtocolFactory) -> asyncio.Transport:
        """Connect; the protocol's ``connection_made`` is called before this returns. May be cancelled."""
        ...

    async def listen(self, host: str, port: int, protocol_factory: ProtocolFactory) -> Listener:
        """Accept connections, each with a protocol of its own. Port 0: any free one."""
        ...


class TcpNetwork:
    """The real network."""

    async def dial(self, host: str, port: int, protocol_factory: ProtocolFactory) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        errors: list[OSError] = []
        for family, address in await _resolve(host, port):
            try:
                sock = _open_socket(family)
            except OSError as error:
                errors.append(error)
                continue
            try:
                await loop.sock_connect(sock, address)
                transport, _ = await loop.create_connection(protocol_factory, sock=sock)
                return transport
            except OSError as error:
                sock.close()
                errors.append(error)
            except BaseException:
                sock.close()
                raise
        raise _telling(errors)

    async def listen(self, host: str, port: int, protocol_factory: ProtocolFactory) -> Listener:
        loop = asyncio.get_running_loop()
        opened: list[socket.socket] = []
        bound: list[socket.socket] = []
        errors: list[OSError] = []
        listener = _TcpListener()
        try:
            for family, address in await _resolve(host, port):
                try:
                    sock = _open_socket(family)  # accepted sockets inherit its options
                    opened.append(sock)
                    # A successor may take the port while connections of its predecessor are in TIME_WAIT.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.bind(address)
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                    errors.append(error)
                else:
                    bound.append(sock)
                    listener.addresses.append(format_address(*sock.getsockname()[:2]))
            if not bound:
                raise _telling(errors)
            for sock in opened:
                if sock not in bound:
                    sock.close()
            for sock in bound:
                listener.servers.append(await loop.create_server(protocol_factory, sock=sock, backlog=BACKLOG))
        except BaseException:
            listener.close()
            for sock in opened:
                sock.close()
            raise
        return listener


class _TcpListener:
    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.servers: list[asyncio.Server] = []

    def close(self) -> None:
        for server in self.servers:
            server.close()


async def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    """Socket addresses of the host, in the resolver's order, each once."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a label too long or empty for the DNS
            raise OSError(errno.EINVAL, f"{host!r} is no host name") from None
        return list(dict.fromkeys((socket.AddressFamily(info[0]), info[4]) for info in found))
    # A literal needs no resolver, and so no thread.
    return [(family, (host, port))]


def _telling(errors: list[OSError]) -> OSError:
    """Of several addresses' errors the one to report."""
    # A name may resolve to a kind of address that this machine lacks; that says nothing of the peer. Any other error
    # but a refusal is reason enough to doubt that the peer's process is gone.
    here = [error for error in errors if error.errno not in _NOT_HERE]
    doubtful = [error for error in here if not isinstance(error, ConnectionRefusedError)]
    return (doubtful or here or errors)[0]


def _open_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)  # not every system has them all
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock
