"""The outbound link to one peer: dial, pass the handshake, carry our messages, and dial again when it ends."""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from oarlock.network.address import Address, InvalidAddress, parse_address
from oarlock.network.codec import decode_greeting, encode_greeting, encode_messages
from oarlock.network.complaints import Complaints
from oarlock.network.connection import Connection, Ledger
from oarlock.network.handshake import negotiate
from oarlock.network.limits import Limits
from oarlock.network.messages import PROTOCOL_VERSION, Hello, PeerMessage, Refusal, spoken
from oarlock.network.transport import Network
from oarlock.types import ReplicaId

_NUDGE = encode_messages([])


class OutboundOwner(Protocol):
    """Whom an outbound link tells what happens."""

    def own_hello(self) -> Hello: ...

    def answered(self, hello: Hello) -> Refusal | None:
        """Our Hello was answered. None: from now on the link is up; a Refusal ends it."""
        ...

    def outbound_up(self, hello: Hello) -> None: ...

    def outbound_down(self) -> None:
        """A link that was up is gone."""
        ...

    def dial_refused(self) -> None:
        """No process listens at the peer's address. No outbound connection is open."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """The peer lives and does not want us."""
        ...


class OutboundConnection(Connection):
    """A connection that we dialled. After the handshake it carries frames from us to the peer only."""

    def __init__(
        self, peer: ReplicaId, owner: OutboundOwner, limits: Limits, complaints: Complaints, ledger: Ledger
    ) -> None:
        super().__init__(f"replica {peer}", limits, complaints, ledger)
        self.handle = self._greet
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.version = 0
        """Of the protocol, as negotiated; 0 before the handshake has passed."""
        self._owner = owner
        self._announced = False

    def send(self, messages: Sequence[PeerMessage], required: bool) -> bool:
        """Send the messages in one frame and one write, unless the link is down or too much waits in it."""
        if not self.usable or self._transport is None:
            return False
        # Measured before encoding: a peer that takes nothing should not cost us the work either.
        waiting_bytes = self.waiting_bytes
        if waiting_bytes >= self._limits.buffered_bytes:
            if required:
                self.fail(f"{waiting_bytes} bytes wait to be sent; the link is closed to start afresh")
            return False
        if self.version < PROTOCOL_VERSION:
            messages = spoken(messages, self.version)
        self._transport.write(encode_messages(messages))
        return True

    @property
    def waiting_bytes(self) -> int:
        """How much of what was sent has not left yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def nudge(self) -> None:
        """Send something, so that a machine on which the process has ended answers with a reset."""
        if self.usable and self._transport is not None and self.waiting_bytes == 0:
            self._transport.write(_NUDGE)

    def begun(self) -> None:
        self.write(encode_greeting(self._owner.own_hello()))

    def ended(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if self._announced:
            self._owner.outbound_down()

    def _greet(self, body: memoryview) -> None:
        greeting = decode_greeting(body)
        if isinstance(greeting, Refusal):
            self.fail(f"it refuses us ({greeting.code}): {greeting.text}", again=False)
            self._owner.refused(greeting)
            return
        refusal = self._owner.answered(greeting)
        if refusal is not None:
            self.fail(f"{self.peer_name()} is not the peer that was dialled ({refusal.code}): {refusal.text}")
            return
        self.version = negotiate(self._owner.own_hello(), greeting) or 0
        self.prove()
        self.handle = self._surplus
        self._announced = True
        self._owner.outbound_up(greeting)

    def _surplus(self, body: memoryview) -> None:
        self.fail("it sent a message on a link that carries ours only; the connection is closed")


class Outbound:
    """Keeps one outbound link to a peer, until it is stopped."""

    def __init__(
        self,
        peer: ReplicaId,
        address: str,
        network: Network,
        rng: random.Random,
        owner: OutboundOwner,
        limits: Limits,
        complaints: Complaints,
        ledger: Ledger,
    ) -> None:
        self._peer = peer
        self._subject = f"replica {peer}"
        self._address = parse_address(address)
        self._elsewhere: Address | None = None
        self._network = network
        self._rng = rng
        self._owner = owner
        self._limits = limits
        self._complaints = complaints
        self._ledger = ledger
        self._connection: OutboundConnection | None = None
        self._dialling: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause: asyncio.Future[None] | None = None
        self._backoff_s = limits.first_backoff_s
        self._hurry = False
        self._second_began = float("-inf")
        self._hurried = 0

    @property
    def connection(self) -> OutboundConnection | None:
        """The connection of the link, if it is up."""
        return self._connection if self._connection is not None and self._connection.usable else None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_report)

    def move(self, address: str) -> None:
        """From here on dial another address. A link or a dial to the old one ends."""
        self._address = parse_address(address)
        self._complaints.forget(self._subject)
        if self._connection is not None:
            self._connection.abort()
        if self._dialling is not None:
            self._dialling.reschedule(asyncio.get_running_loop().time())
        self.find_out()

    def try_elsewhere(self, address: str) -> None:
        """From here on dial this address, too, whenever the peer was not found at its own; none if it is empty."""
        try:
            self._elsewhere = parse_address(address) if address else None
        except InvalidAddress:
            self._elsewhere = None

    def stop(self) -> None:
        """Dial no more. A link that is up stays, so that what was sent can leave."""
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None and not self._connection.proven:
            self._connection.abort()

    def flush(self) -> None:
        """End the link, once what was sent has left."""
        if self._connection is not None:
            self._connection.flush(self._limits.flush_s)

    @property
    def idle(self) -> bool:
        """Whether nothing is left of what :meth:`stop` stopped."""
        return self._task is None or self._task.done()

    async def stopped(self) -> None:
        """Wait until nothing is left of what :meth:`stop` stopped."""
        if self._task is not None:
            with suppress(asyncio.CancelledError, Exception):  # an exception has been reported already
                await self._task

    def send(self, messages: Sequence[PeerMessage], required: bool) -> bool:
        """See :meth:`oarlock.network.links.Links.send`."""
        return self._connection is not None and self._connection.send(messages, required)

    def find_out(self) -> None:
        """Learn soon whether the peer's process lives: through an open link, else by dialling without back-off."""
        connection = self.connection
        if connection is not None:
            connection.nudge()
            return
        self._hurry = True
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    def drop(self) -> None:
        """End the link if it is up; it is dialled again."""
        connection = self.connection
        if connection is not None:
            connection.abort()

    async def _run(self) -> None:
        found = True
        while True:
            self._hurry = False
            address = self._address if found or self._elsewhere is None else self._elsewhere
            self._connection = connection = OutboundConnection(
                self._peer, self._owner, self._limits, self._complaints, self._ledger
            )
            if await self._dial(connection, address):
                await connection.over
                if connection.proven:
                    self._backoff_s = self._limits.first_backoff_s
                    self._complaints.forget(self._subject)
                    self._hurry = True
            found = connection.proven or address is not self._address
            await self._wait()

    async def _dial(self, connection: OutboundConnection, address: Address) -> bool:
        try:
            async with asyncio.timeout(self._limits.handshake_s) as self._dialling:
                await self._network.dial(address.host, address.port, lambda: connection)
        except OSError as error:  # a timeout is one too
            connection.abort()
            if address is self._address:  # else it has moved meanwhile, or was tried elsewhere: nothing was learnt
                self._failed(error)
            return False
        finally:
            self._dialling = None
        return True

    def _failed(self, error: OSError) -> None:
        """Say why the peer cannot be reached, but not again for every dial."""
        nobody_listens = isinstance(error, ConnectionRefusedError)
        # A peer that does not run, or not yet, is the ordinary case at a start: nothing to be alarmed about.
        level = logging.INFO if nobody_listens else logging.WARNING
        reason = error.strerror or str(error) or "no answer"
        self._complaints.say(self._subject, f"cannot connect to {self._address}: {reason}", level, again=False)
        if nobody_listens:
            self._owner.dial_refused()

    async def _wait(self) -> None:
        """Sit out the back-off, unless there is reason to hurry and we did not hurry too often lately."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._second_began >= 1:
            self._second_began = loop.time()
            self._hurried = 0
        may_hurry = self._hurried < self._limits.dials_at_once
        if not (self._hurry and may_hurry):
            # Jitter keeps replicas that lost each other at the same moment from dialling in step.
            delay_s = self._backoff_s * self._rng.uniform(0.5, 1)
            self._backoff_s = min(2 * self._backoff_s, self._limits.longest_backoff_s)
            pause: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(delay_s, _end, pause)
            if may_hurry:
                self._pause = pause
            try:
                await pause
            finally:
                timer.cancel()
                self._pause = None
        if self._hurry:
            self._hurried += 1


def _report(task: asyncio.Task[None]) -> None:
    # An exception in here is a bug, of ours or of an event's receiver; it must not wait for a garbage collection.
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler(
            {"message": "a link's dialling has failed", "exception": error, "task": task}
        )


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
