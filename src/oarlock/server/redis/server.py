"""The server: connections accepted, each with a conversation, and all of them ended in good order."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from oarlock.node.api import Replica
from oarlock.server.listening import Listen, Listening, listen
from oarlock.server.redis.connection import Conversation
from oarlock.server.redis.service import Keys, Service, unix_ms

_log = logging.getLogger(__name__)

_HIGH_WATER_BYTES = 256 * 1024
"""What a transport holds of replies that its client has not taken, about, before no more are encoded for it."""

_PARTING_S = 2.0
"""How long a client that was refused may go on sending, which nobody looks at, before its connection is closed."""

MOST_CLIENTS = 10_000
"""Connections at one time, unless the program says otherwise; as in Redis."""


class RedisServer:
    """Speaks RESP2 and RESP3 for a replica.

    ``machine`` is the replica's own state machine, looked at for INFO only. ``listen`` opens the port and defaults to
    the running loop's ``create_server``; ``now`` gives seconds that never go back and defaults to the loop's clock;
    ``wall_ms`` gives milliseconds since 1970.
    Beyond ``most_clients`` connections more are turned away: each takes a file descriptor, and a log that can open no
    file has failed.
    """

    def __init__(
        self,
        replica: Replica,
        machine: Keys,
        *,
        listen: Listen | None = None,
        now: Callable[[], float] | None = None,
        wall_ms: Callable[[], int] = unix_ms,
        most_clients: int = MOST_CLIENTS,
    ) -> None:
        self._listen = listen
        self._most_clients = most_clients
        self._service = Service(replica, machine, now or asyncio.get_running_loop().time, wall_ms)
        self._service.relieve = self._cut_heaviest
        self._service.part = _part
        self._conversations: dict[int, _Connection] = {}
        self._listening: Listening | None = None
        self._stopping = False
        self._all_gone = asyncio.Event()

    async def start(self, host: str, port: int) -> None:
        """Accept connections; port 0 takes any that is free.

        :raises StartupError: the address can't be had, also after waiting a few seconds for it.
        """
        self._listening = await listen(self._connection, host, port, self._listen)
        self._service.port = self.port

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._listening is not None, "not started"
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return len(self._conversations)

    async def close(self, grace_s: float) -> None:
        """Accept and take nothing more, send what is being answered, and close everything.

        Connections whose replies are not out after ``grace_s`` seconds are cut.
        """
        self._stopping = True
        if self._listening is not None:
            self._listening.close()
        for connection in list(self._conversations.values()):
            connection.conversation.quit()
        if self._conversations:
            try:
                async with asyncio.timeout(grace_s):
                    await self._all_gone.wait()
            except TimeoutError:
                for connection in list(self._conversations.values()):
                    connection.transport.abort()

    def _connection(self) -> "_Connection":
        return _Connection(self)

    def opened(self, connection: "_Connection") -> None:
        """A connection is there; it gets the next client id."""
        service = self._service
        service.clients_ever += 1
        service.clients += 1
        connection.client_id = service.clients_ever
        self._conversations[connection.client_id] = connection
        connection.conversation = Conversation(service, connection.transport, connection.client_id)
        connection.conversation.addresses = tuple(
            _shown(connection.transport.get_extra_info(end)) for end in ("peername", "sockname")
        )
        if len(self._conversations) > self._most_clients:
            connection.conversation.turn_away(b"ERR max number of clients reached")
        elif self._stopping:
            connection.conversation.quit()

    def _cut_heaviest(self) -> None:
        """Too much is held for all clients together: end the connection for which the most is. If there is one of
        which nothing is being executed it is one of those: clients of the others would not learn what became of it."""
        heavy = [one for one in self._conversations.values() if one.conversation.held_bytes]
        idle = [one for one in heavy if not one.conversation.awaits_replica]
        connection = max(idle or heavy, key=lambda one: one.conversation.held_bytes)
        _log.warning(
            "client %d has sent %d bytes that wait, and all clients together too many: its connection is closed",
            connection.client_id,
            connection.conversation.held_bytes,
        )
        connection.conversation.lost()
        connection.transport.abort()

    def gone(self, connection: "_Connection") -> None:
        """A connection is no more."""
        self._service.clients -= 1
        del self._conversations[connection.client_id]
        if not self._conversations:
            self._all_gone.set()


def _part(transport: asyncio.Transport) -> None:
    """Say that nothing more will come, and give the client time to notice. Closing while its input is unread would
    reset the connection, and the reset overtake the reply that says why."""
    if transport.is_closing() or not transport.can_write_eof():
        transport.close()
        return
    transport.write_eof()
    transport.resume_reading()
    asyncio.get_running_loop().call_later(_PARTING_S, transport.close)


def _shown(address: object) -> str:
    """An address as Redis shows it; empty if it is none of the internet."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return ""


class _Connection(asyncio.Protocol):
    """Carries bytes between a transport and a conversation."""

    client_id: int
    transport: asyncio.Transport
    conversation: Conversation

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases.
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # A client whose machine died sends no end; without this its connection would stay for ever.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self.transport = transport
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        # A method and not an attribute set later: uvloop looks it up once, before the connection is made.
        self.conversation.receive(data)

    def eof_received(self) -> bool:
        self.conversation.quit()
        # The client may still read; the conversation closes the transport when all is answered, if it is not already.
        return not self.conversation.over

    def pause_writing(self) -> None:
        self.conversation.output_full()

    def resume_writing(self) -> None:
        self.conversation.output_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self.conversation.lost()
        self._server.gone(self)
