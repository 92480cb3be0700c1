"""The ASGI application: which path takes what, how a body is read, and what an error looks like.

An error is ``{"error": a sentence, "executed": false or null}``: false says that nothing was done, null that nobody
knows. One that only the leader can help with names it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec

from oarlock.errors import ChangeRefused, NotExecuted, NotLeader, OarlockError, OutcomeUnknown
from oarlock.node.api import Operations
from oarlock.server.http import operations
from oarlock.server.http.operations import BadRequest, ChangeRequest, SnapshotRequest, TransferRequest, decoded

log = logging.getLogger("oarlock")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BODY_BYTES: Final = 64 * 1024
BODY_S: Final = 10.0
"""A body that is not there after this is not waited for."""
STALLED_S: Final = 30.0
"""A client that takes nothing of its backup for so long has lost it: it keeps an image of the state alive."""

GETS: Final[dict[str, Callable[[Operations], Awaitable[tuple[int, Any]]]]] = {
    "/health": operations.health,
    "/status": operations.status,
    "/members": operations.members,
}
POSTS: Final[dict[str, tuple[type[Any], Callable[[Operations, Any], Awaitable[tuple[int, Any]]]]]] = {
    "/members": (ChangeRequest, operations.change_members),
    "/transfer": (TransferRequest, operations.transfer),
    "/snapshot": (SnapshotRequest, operations.snapshot),
}
STREAMS: Final[dict[str, Callable[[Operations], AsyncIterator[bytes]]]] = {"/backup": operations.backup}


class _Refused(Exception):
    """The request is turned away with this status before anything is done."""

    def __init__(self, status: int, sentence: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class _Gone(Exception):
    """The client left before it had said what it wants."""


class Application:
    """Serves one replica. ``address``, ``host:port``, is where it listens."""

    def __init__(self, replica: Operations, address: str) -> None:
        self._replica = replica
        self._origin = f"http://{address}".encode()
        self._streaming = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "only HTTP is configured"
        method, path = scope["method"], scope["path"]
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            if method == "GET" and path in STREAMS:
                await self._stream(STREAMS[path](self._replica), receive, send)
                return
            if method in ("GET", "HEAD") and path in GETS:
                status, body = await GETS[path](self._replica)
            elif method == "POST" and path in POSTS:
                kind, operation = POSTS[path]
                self._check_intent(scope)
                status, body = await operation(self._replica, decoded(await _body(receive), kind))
            else:
                raise _not_here(path)
        except _Gone:
            return
        except _Refused as refused:
            status, body, headers = refused.status, _error(refused, executed=False), refused.headers
        except Exception as error:
            status, body = self._failure(error)
        await _reply(send, status, msgspec.json.encode(body), headers, with_content=method != "HEAD")

    def _check_intent(self, scope: Scope) -> None:
        """A web page that somebody here looks at can make their browser post to any address, also behind a firewall.

        It cannot set this content type without asking first, which is answered with 405; and a browser says whose page
        it was. A page from a name that its owner has pointed at this machine passes neither for ours.
        """
        headers = dict(scope["headers"])
        if headers.get(b"origin", self._origin) != self._origin:
            raise _Refused(403, "a web page from elsewhere may change nothing here")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise _Refused(415, "say what is asked for as JSON, with content-type: application/json")

    async def _stream(self, pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
        """Send the pieces as they come. A client must see it when they end too soon: then the connection is broken off
        without the last chunk that HTTP ends a body with."""
        if self._streaming:
            raise _Refused(503, "a backup is being sent already; ask again when it is done")
        self._streaming = True
        gone = asyncio.ensure_future(_until_gone(receive))  # what is sent to nobody raises nothing
        try:
            piece = await anext(pieces, None)  # what fails at once is an error like any other
            headers = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            try:
                while piece is not None:
                    await _send_piece(send, piece, more=True)
                    if gone.done():
                        return
                    piece = await anext(pieces, None)
                await _send_piece(send, b"", more=False)
            except Exception as error:
                log.warning("a backup was broken off: %s", str(error) or "its client takes nothing")
        finally:
            gone.cancel()
            self._streaming = False
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    def _failure(self, error: Exception) -> tuple[int, dict[str, object]]:
        match error:
            case BadRequest():
                return 400, _error(error, executed=False)
            case ChangeRefused():
                return 409, _error(error, executed=False)
            case NotLeader():
                status = self._replica.status()
                leader = {"leader_id": status.leader_id, "leader_http": status.leader_http}
                return 421, {**_error(error, executed=False), **leader}
            case NotExecuted():
                return 503, _error(error, executed=False)
            case OutcomeUnknown():
                return 504, _error(error, executed=None)
            case OarlockError() | OSError():
                return 500, _error(error, executed=None)
        log.error("an operation failed by an error of the program", exc_info=error)
        return 500, _error(f"an error of the program: {error!r}", executed=None)


def _not_here(path: str) -> _Refused:
    allowed = ["GET", "HEAD"] if path in GETS else ["GET"] if path in STREAMS else []
    allowed += ["POST"] if path in POSTS else []
    if not allowed:
        return _Refused(404, "not found")
    methods = ", ".join(allowed)
    return _Refused(405, f"{path} takes {methods}", ((b"allow", methods.encode()),))


def _error(sentence: object, *, executed: bool | None) -> dict[str, object]:
    return {"error": str(sentence), "executed": executed}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                piece: bytes = message.get("body", b"")
                body += piece
                if len(body) > MOST_BODY_BYTES:
                    raise _Refused(413, f"a body may have {MOST_BODY_BYTES} bytes")
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        raise _Refused(408, f"the body did not come within {BODY_S:g} s") from None


async def _reply(
    send: Send, status: int, content: bytes, headers: tuple[tuple[bytes, bytes], ...], *, with_content: bool
) -> None:
    about = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(content)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
    await send({"type": "http.response.body", "body": content if with_content else b""})


async def _send_piece(send: Send, piece: bytes, *, more: bool) -> None:
    async with asyncio.timeout(STALLED_S):
        await send({"type": "http.response.body", "body": piece, "more_body": more})
