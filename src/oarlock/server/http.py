"""HTTP in front of a replica: for now ``/health``, for load balancers and orchestrators.

uvicorn speaks the protocol and is imported only when a server is started, since Redis alone does not need it.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec

from oarlock.node.api import Replica
from oarlock.server.listening import listen

if TYPE_CHECKING:
    import uvicorn

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_CONNECTIONS: Final = 64
"""At one time; more are closed at once. Whoever asks for health needs one for a moment."""

_JSON: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class Application:
    """The ASGI application. It answers from this replica's own knowledge and never waits for others."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "only HTTP is configured"
        status, body = self._answer(scope["method"], scope["path"])
        content = msgspec.json.encode(body)
        headers = [*_JSON, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _answer(self, method: str, path: str) -> tuple[int, dict[str, object]]:
        if path != "/health" or method not in ("GET", "HEAD"):
            return 404, {"error": "not found"}
        status = self._replica.status()
        return 200 if status.ready else 503, {
            "status": "ok" if status.ready else "unavailable",
            "replica_id": status.replica_id,
            "role": status.role,
            "term": status.term,
            "leader_id": status.leader_id,
            "applied_index": status.applied_index,
        }


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class HttpServer:
    """Serves :class:`Application` from inside the running event loop, and leaves signals to the program."""

    def __init__(self, replica: Replica) -> None:
        self._application = Application(replica)
        self._server: uvicorn.Server | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Accept connections; port 0 takes any that is free.

        :raises StartupError: the address can't be had, also after waiting a few seconds for it.
        """
        import uvicorn

        config = uvicorn.Config(
            self._application,
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
