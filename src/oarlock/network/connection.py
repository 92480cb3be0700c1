"""One connection: frames in, the deadline of its handshake, and the ways it ends. Which side dialled is not known here.

A connection is *unproven* until :meth:`Connection.prove`: small frames, little time. It ends in one of three ways:
:meth:`Connection.abort` at once, :meth:`Connection.close` once what was written has left, or by the other side.
However it ends, nothing that arrives later is handled, and :meth:`Connection.ended` is called exactly once.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from oarlock.network.complaints import Complaints
from oarlock.network.frames import FrameDecoder, MalformedFrame
from oarlock.network.limits import Limits
from oarlock.types import MAX_FRAME_BYTES


class Ledger:
    """All open connections of a replica, so that closing can wait for them."""

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}
        self._empty: asyncio.Future[None] | None = None

    def enter(self, connection: "Connection") -> None:
        self._open[connection] = None

    def leave(self, connection: "Connection") -> None:
        del self._open[connection]
        if not self._open and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def drain(self, timeout_s: float) -> None:
        """Close every connection and wait for their ends, aborting what has not ended in ``timeout_s`` seconds."""
        loop = asyncio.get_running_loop()
        for end in (Connection.close, Connection.abort):
            for connection in list(self._open):
                end(connection)
            if self._open:
                self._empty = loop.create_future()
                timer = loop.call_later(timeout_s, _resolve, self._empty)
                await self._empty
                timer.cancel()


class Connection(asyncio.Protocol):
    """Base of both kinds. A subclass sets ``handle`` to what takes the next body."""

    def __init__(self, subject: str, limits: Limits, complaints: Complaints, ledger: Ledger) -> None:
        self.subject = subject
        """Whom complaints are about."""
        self.proven = False
        self.handle: Callable[[memoryview], None]
        self._limits = limits
        self._complaints = complaints
        self._ledger = ledger
        self._decoder = FrameDecoder(limits.handshake_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._over = False

    # What subclasses add.

    def begun(self) -> None:
        """The connection is open."""

    def ended(self) -> None:
        """The connection is gone."""

    # What subclasses and owners use.

    @property
    def usable(self) -> bool:
        """Whether the handshake has passed and neither side has ended the connection, as far as is known."""
        return self.proven and not self._over and self._transport is not None and not self._transport.is_closing()

    def write(self, frame: bytes) -> None:
        """Send; nothing happens if the connection is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def prove(self) -> None:
        """The handshake has passed: from here on full frames, and no deadline."""
        self.proven = True
        self._decoder.limit_bytes = MAX_FRAME_BYTES
        self._end_deadline()

    def fail(self, why: str, *, again: bool = True) -> None:
        """End it at once for what the other side did, with one line in the log (see :meth:`Complaints.say`)."""
        if not self._over:
            self._complaints.say(self.subject, why, again=again)
            self.abort()

    def abort(self) -> None:
        """End it at once; what was written may be lost."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it once everything written has left. The owner bounds how long that may take."""
        self._over = True
        if self._transport is not None:
            self._transport.close()

    def flush(self, within_s: float) -> None:
        """:meth:`close`, with a bound on how long that may take."""
        if self.usable:
            self.close()
            self._deadline = asyncio.get_running_loop().call_later(within_s, self.abort)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not inherit from it
        self._ledger.enter(self)
        if self._over:
            self._transport.abort()
            return
        self._deadline = asyncio.get_running_loop().call_later(self._limits.handshake_s, self._late)
        self.begun()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._decoder.feed(data):
                if self._over:
                    return
                self.handle(body)
        except MalformedFrame as error:
            self.fail(f"{error}; the connection is closed")

    def eof_received(self) -> None:
        # Neither side ever half-closes, and waiting to flush towards one who left could take for ever.
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._end_deadline()
        self._ledger.leave(self)
        self.ended()

    def peer_name(self) -> str:
        """Where the other side is, for the log."""
        name: Any = self._transport.get_extra_info("peername") if self._transport is not None else None
        return f"{name[0]} port {name[1]}" if isinstance(name, tuple) and len(name) >= 2 else "unknown address"

    def peer_host(self) -> str:
        """The same without the port, which is another for each connection that somebody dials."""
        return self.peer_name().partition(" port ")[0]

    def _late(self) -> None:
        if self._over:  # closing, but what was written does not leave
            self.abort()
        else:
            self.fail(f"no handshake within {self._limits.handshake_s:g} s; the connection is closed")

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
