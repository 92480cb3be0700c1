"""Inbound links: an open port, a bounded number of strangers, and the peers among them."""

import asyncio
import errno
from collections.abc import Callable
from typing import Protocol

from oarlock.errors import StartupError
from oarlock.network.address import parse_address
from oarlock.network.codec import MalformedFrame, decode_greeting, decode_messages, encode_greeting
from oarlock.network.complaints import Complaints
from oarlock.network.connection import Connection, Ledger
from oarlock.network.limits import Limits
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.network.transport import Listener, Network
from oarlock.types import NO_REPLICA, ReplicaId

_BIND_AGAIN_S = 0.1
STRANGERS = "a connection from outside"
"""Subject of complaints about everyone who has not passed the handshake."""


class InboundOwner(Protocol):
    """Whom the acceptor asks about strangers, and hands peers to."""

    def own_hello(self) -> Hello: ...

    def admit(self, hello: Hello) -> Refusal | None:
        """Whether the sender of this Hello may be a peer."""
        ...

    def arrived(self, connection: "InboundConnection", hello: Hello) -> None:
        """A peer's connection has passed the handshake."""
        ...

    def inbound_down(self, connection: "InboundConnection") -> None:
        """A connection that had arrived is gone."""
        ...

    def received(self, peer: ReplicaId, messages: list[PeerMessage]) -> None: ...


class InboundConnection(Connection):
    """A connection that we accepted. After the handshake it carries frames from the peer to us only."""

    def __init__(self, acceptor: "Acceptor", limits: Limits, complaints: Complaints, ledger: Ledger) -> None:
        super().__init__(STRANGERS, limits, complaints, ledger)
        self.handle = self._greet
        self.peer = NO_REPLICA
        """Who is at the other end, once it has passed the handshake."""
        self._acceptor = acceptor
        self._received: Callable[[ReplicaId, list[PeerMessage]], None] = acceptor.owner.received

    def begun(self) -> None:
        self._acceptor.stranger_came(self)

    def ended(self) -> None:
        self._acceptor.left(self)

    def _greet(self, body: memoryview) -> None:
        try:
            hello = decode_greeting(body)
        except MalformedFrame as error:
            raise MalformedFrame(f"{self.peer_name()} does not speak our protocol: {error}") from None
        if isinstance(hello, Refusal):
            self.fail(f"{self.peer_name()} opened with a Refusal")
            return
        owner = self._acceptor.owner
        refusal = owner.admit(hello)
        if refusal is not None:
            self._complaints.say(
                STRANGERS,
                f"{self.peer_host()}, which says it is replica {hello.replica}, "
                f"is refused ({refusal.code}): {refusal.text}",
                again=False,  # it will try again and again: it may be about to be added
            )
            self.write(encode_greeting(refusal))
            self.close()
            return
        self.peer = hello.replica
        self.subject = f"replica {hello.replica}"
        self.prove()
        self.handle = self._take
        self._acceptor.stranger_left(self)
        self.write(encode_greeting(owner.own_hello()))
        owner.arrived(self, hello)

    def _take(self, body: memoryview) -> None:
        messages = decode_messages(body)
        if messages:  # an empty list is a nudge
            self._received(self.peer, messages)


class Acceptor:
    """The listening port of a replica."""

    def __init__(
        self, network: Network, owner: InboundOwner, limits: Limits, complaints: Complaints, ledger: Ledger
    ) -> None:
        self.owner = owner
        self._network = network
        self._limits = limits
        self._complaints = complaints
        self._ledger = ledger
        self._listener: Listener | None = None
        self._strangers: dict[InboundConnection, None] = {}
        self._stopped = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, ``host:port``."""
        return tuple(self._listener.addresses) if self._listener is not None else ()

    async def start(self, address: str) -> None:
        """Listen. Raises StartupError if the port is still taken after a few seconds, or can never be had."""
        host, port = parse_address(address, allow_any_port=True)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._limits.bind_s
        while True:
            try:
                self._listener = await self._network.listen(host, port, self._accept)
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise StartupError(f"cannot listen at {address}: {error.strerror or error}") from error
                if loop.time() >= give_up_at:
                    raise StartupError(
                        f"cannot listen at {address}: another process has this port; "
                        "end that process, or choose another port"
                    ) from error
            # A replica that restarts may be waiting for its predecessor's last moments.
            await asyncio.sleep(_BIND_AGAIN_S)

    def stop(self) -> None:
        """Accept no more, and end all that have not passed the handshake."""
        self._stopped = True
        if self._listener is not None:
            self._listener.close()
        for stranger in list(self._strangers):
            stranger.abort()

    def stranger_came(self, connection: InboundConnection) -> None:
        self._strangers[connection] = None
        if len(self._strangers) > self._limits.strangers:
            # Peers pass within milliseconds: whoever is here longest is the least likely to be one.
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.fail(f"more than {self._limits.strangers} connections wait in the handshake; the oldest is closed")

    def stranger_left(self, connection: InboundConnection) -> None:
        self._strangers.pop(connection, None)

    def left(self, connection: InboundConnection) -> None:
        self.stranger_left(connection)
        if connection.proven:
            self.owner.inbound_down(connection)

    def _accept(self) -> asyncio.Protocol:
        connection = InboundConnection(self, self._limits, self._complaints, self._ledger)
        if self._stopped:
            connection.abort()
        return connection
