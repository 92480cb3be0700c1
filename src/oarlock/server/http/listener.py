"""The listener: uvicorn speaks HTTP, inside the event loop that runs already.

uvicorn is imported only when a server is started, since Redis alone does not need it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from oarlock.network.address import format_address
from oarlock.node.api import Operations
from oarlock.server.http.application import Application
from oarlock.server.listening import listen

if TYPE_CHECKING:
    import uvicorn

MOST_CONNECTIONS: Final = 64
"""At one time; more are closed at once. Whoever asks for health needs one for a moment."""


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """Serves :class:`Application` from inside the running event loop, and leaves signals to the program."""

    def __init__(self, replica: Operations) -> None:
        self._replica = replica
        self._server: uvicorn.Server | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Accept connections; port 0 takes any that is free.

        :raises StartupError: the address can't be had, also after waiting a few seconds for it.
        """
        import uvicorn

        config = uvicorn.Config(
            Application(self._replica, format_address(host, port)),
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            if len(server.server_state.connections) >= MOST_CONNECTIONS:
                return _TurnedAway()
            protocol: Callable[..., asyncio.Protocol] = config.http_protocol_class
            return protocol(config=config, server_state=server.server_state, app_state={}, _loop=loop)

        # The steps of uvicorn's own serve(), but for its signal handlers and for leaving the process when a port is
        # in use.
        server.lifespan = config.lifespan_class(config)
        server.servers = [cast(asyncio.Server, await listen(connection, host, port))]
        server.started = True
        self._server = server
        self._ticking = asyncio.create_task(server.main_loop())

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None, "not started"
        port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Accept nothing more, let answers that are under way go out for a second, and close everything."""
        server, ticking = self._server, self._ticking
        if server is None or ticking is None:
            return
        self._server = self._ticking = None
        server.should_exit = True
        await ticking
        await server.shutdown()
