"""Opening a port, with patience: the process that had it a moment ago may not have let go of it yet."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from oarlock.errors import StartupError

WAIT_FOR_PORT_S: Final = 5.0
_RETRY_S: Final = 0.1
_BACKLOG: Final = 1024
"""Connections that may wait to be accepted. With asyncio's 100, thousands of clients that come back at one moment, as
after a failover, are dropped by the kernel and try again only after seconds."""


class Listening(Protocol):
    """A port that is listened on; an :class:`asyncio.Server` is one."""

    @property
    def sockets(self) -> Sequence[Any]: ...

    def close(self) -> None: ...


Listen: TypeAlias = Callable[[Callable[[], asyncio.Protocol], str, int], Awaitable[Listening]]
"""Like ``loop.create_server``: a factory of protocols, a host and a port."""


async def listen(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, opened: Listen | None = None
) -> Listening:
    """Listen on an address; wait a few seconds for it if it is in use.

    :raises StartupError: the address can't be had.
    """
    loop = asyncio.get_running_loop()
    opened = opened or partial(loop.create_server, backlog=_BACKLOG)
    deadline = loop.time() + WAIT_FOR_PORT_S
    while True:
        try:
            return await opened(factory, host, port)
        except OSError as error:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if error.errno != errno.EADDRINUSE:
                raise StartupError(f"cannot listen on {shown}: {error.strerror or error}") from error
            if loop.time() >= deadline:
                raise StartupError(
                    f"cannot listen on {shown}: another process has been using it for {WAIT_FOR_PORT_S:g} s; "
                    "stop that process or choose another port"
                ) from error
        await asyncio.sleep(_RETRY_S)
