"""One client's conversation: requests in, replies out, in order. It knows no sockets, only an :class:`Output`.

Requests that arrive together are cut into groups: of reads, of writes with the reads among them, or of commands
answered on the spot. All groups stand in one queue in the order of their replies. Groups of reads go to the replica at
once, one behind the other, and so do groups with writes; but either sort waits until those of the other are answered,
so that a read sees the writes before it and none of those behind it.

Memory is bounded. While the client does not take its replies, nothing more is sent to the replica and no reply is
encoded; and when what has been read but not answered exceeds its bound, nothing more is read.
"""

import logging
from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final, Protocol

from oarlock.server.redis import commands, local, replies
from oarlock.server.redis.commands import Kind
from oarlock.server.redis.group import Group
from oarlock.server.redis.input import Input
from oarlock.server.redis.protocol import ARGUMENT_BYTES
from oarlock.server.redis.requests import Refused, Request, fits, size_in_log, unknown_command, wrong_arity
from oarlock.server.redis.service import MOST_HELD_BYTES, Service
from oarlock.server.redis.transactions import IMMEDIATE, Transaction, Watches, aborted

_log = logging.getLogger(__name__)

MAX_GROUP_COMMANDS: Final = 1024
MAX_GROUP_BYTES: Final = 512 * 1024
"""Of arguments; a single command may be larger and then stands alone."""
MAX_GROUPS_AT_REPLICA: Final = 16
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
"""What may have been read and not answered. More than the largest command, and enough for clients that send a very
long pipeline before they read the first reply."""

_COMMAND_OVERHEAD_BYTES: Final = 128
"""What a command costs in memory besides its arguments, about."""
_PLAIN: Final = {
    name: plain for plain in ((Kind.READ, b"GET", 2), (Kind.WRITE, b"SET", 3)) for name in (plain[1], plain[1].lower())
}
"""By name: kind, canonical name, and words of a request without options."""
_NOT_PLAIN: Final = (None, b"", 0)
_MAX_LONE_BYTES: Final = 4096
_POST, _HOST = b"POST", b"HOST:"


def _go_together(first: Kind, second: Kind) -> bool:
    """Whether commands of these kinds can be in one group."""
    if first is second:
        return first is not Kind.LONG_READ  # each holds much; only so many groups are at the replica
    return {first, second} == {Kind.READ, Kind.WRITE}


class Output(Protocol):
    """What a conversation wants of its transport; an :class:`asyncio.Transport` has it."""

    def write(self, data: bytes, /) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...


class Conversation:
    """What one client says and is told. The methods are for its transport; everything runs on the event loop."""

    def __init__(self, service: Service, output: Output, client_id: int) -> None:
        self.service = service
        self.client_id = client_id
        self.name = b""
        self.resp3 = False
        self.addresses: tuple[str, ...] = ("", "")
        """The client's and this end's."""
        self.since_s = service.now()
        self.transaction: Transaction | None = None
        self.watches = Watches()
        self._output = output
        self._input = Input()
        self._queue: deque[Group] = deque()
        self._unsent: deque[Group] = deque()
        """Groups of the queue that the replica has not got yet."""
        self._at_replica = 0
        self._writes_at_replica = False
        self._writing: Iterator[bytes] | None = None
        """The rest of the replies of the first group."""
        self._waiting_bytes = 0
        self.held_bytes = 0
        """Of what its client has sent and not been answered yet, as the service was told last."""
        self._flush_due = False
        self._output_full = False
        self._behind = False
        """More replies are due than a turn writes."""
        self._replica_full = False
        self._room = True
        """What has been read and not answered is within its bound."""
        self._reading = True
        self._quitting = False
        self._over = False

    # What the transport reports

    def receive(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._quitting or self._over:
            return
        requests = self._input.feed(data)
        alone = len(requests) == 1 and not self._queue and not self._input and self._input.error is None
        if alone and self._ask_at_once(requests[0]):
            return
        self._take(requests)
        self._dispatch()
        if self._queue and self._queue[0].answered:
            self._schedule_flush()
        self._adjust_reading()

    def output_full(self) -> None:
        """The transport holds enough; its client reads too slowly."""
        self._output_full = True

    def output_drained(self) -> None:
        """The transport has room again."""
        self._output_full = False
        self._flush()

    def turn_away(self, why: bytes) -> None:
        """Say why, take nothing, and close."""
        self._answer_locally(replies.error_line(why))
        self.quit()

    def quit(self) -> None:
        """Take nothing more, and close once everything that was asked is answered."""
        self._quitting = True
        self._input.drop()
        self._schedule_flush()

    @property
    def over(self) -> bool:
        """Whether everything is said."""
        return self._over

    def lost(self) -> None:
        """The connection is gone. What the replica has got it may still execute."""
        self._over = True
        self.service.held_bytes -= self.held_bytes
        self.held_bytes = 0
        self._input.drop()
        for group in self._queue:
            group.abandoned = True
        self._queue.clear()
        self._unsent.clear()
        self._writing = None

    # Requests to groups

    def _ask_at_once(self, request: Request) -> bool:
        """Pass a GET or SET on that came alone while nothing was due, as from clients without pipelines; False if it
        is none, or not now. The way over the queues would do the same at twice the price."""
        kind, name, words = _PLAIN.get(request[0], _NOT_PLAIN)
        if kind is None or len(request) != words or self.transaction is not None or not self._is_calm():
            return False
        size_bytes = sum(map(len, request))  # of all of it: what came last may have been only its end
        if size_bytes > _MAX_LONE_BYTES:
            return False
        service = self.service
        service.commands += 1
        request[0] = name
        group = Group(kind, self.resp3, self.answered, [tuple(request)], plain=True)
        group.size_bytes = size_bytes
        group.held_bytes = size_bytes + _COMMAND_OVERHEAD_BYTES
        self._waiting_bytes += group.held_bytes
        self._queue.append(group)
        self._send(group)
        if self._replica_full:
            self._adjust_reading()
        return True

    def _take(self, requests: list[Request]) -> None:
        """Queue a share of the requests."""
        if requests and not self._enqueue_alike(requests):
            requests = self._input.put_back(requests)
            self._enqueue(requests)
        self.service.commands += len(requests)
        error = self._input.error
        if error is not None and not self._quitting:
            self._answer_locally(replies.error_line(b"ERR Protocol error: " + error))
            self.quit()

    def _enqueue_alike(self, requests: list[Request]) -> bool:
        """Make one group of requests that are all a GET, or all a SET, as in most pipelines; False if they are not.

        Nothing here costs more than it must per command; :meth:`_enqueue` would do the same at twice the price.
        """
        name = requests[0][0]
        kind, _, _ = _PLAIN.get(name, _NOT_PLAIN)
        if kind is None or len(requests) > MAX_GROUP_COMMANDS or self.transaction is not None:
            return False
        items: list[Any]
        try:
            if kind is Kind.WRITE:
                items = [(b"SET", key, value) for verb, key, value in requests if verb == name]
            else:
                items = [(b"GET", key) for verb, key in requests if verb == name]
        except ValueError:
            return False
        if len(items) != len(requests):
            return False
        size_bytes = sum(map(len, chain.from_iterable(items)))
        if size_bytes > MAX_GROUP_BYTES and len(items) > 1:
            return False
        self._close_group(Group(kind, self.resp3, self.answered, items, plain=True), size_bytes)
        return True

    def _enqueue(self, requests: list[Request]) -> None:
        """Make groups of the requests: one of all that go together, as far as its bounds allow."""
        group, size_bytes, words = None, 0, 0
        for request in requests:
            kind, item = self.understood(request)
            if isinstance(item, Group):
                self._close_group(group, size_bytes, words)
                self._close_group(item, item.size_bytes)
                group, size_bytes, words = None, 0, 0
                continue
            length = len(item) if kind is Kind.LOCAL else size_in_log(item)
            if group is not None and (
                not _go_together(group.kind, kind)
                or len(group) >= MAX_GROUP_COMMANDS
                or size_bytes + length > MAX_GROUP_BYTES
            ):
                self._close_group(group, size_bytes, words)
                group, size_bytes, words = None, 0, 0
            if group is None:
                group = Group(kind, self.resp3, self.answered, [item], answered=kind is Kind.LOCAL)
            else:
                group.add(kind, item)
            size_bytes += length
            if kind is not Kind.LOCAL:
                words += len(item)
            if self._quitting:
                break
        self._close_group(group, size_bytes, words)

    def _close_group(self, group: Group | None, size_bytes: int, words: int = 0) -> None:
        """Queue a group. ``words``: of its commands together, as far as they may be more than a few each."""
        if group is None:
            return
        group.size_bytes = size_bytes
        group.held_bytes += size_bytes + _COMMAND_OVERHEAD_BYTES * len(group) + ARGUMENT_BYTES * words
        self._waiting_bytes += group.held_bytes
        self._queue.append(group)
        if group.kind is not Kind.LOCAL:
            self._unsent.append(group)

    def understood(self, request: Request) -> tuple[Kind, Any]:
        """The kind of a request and its canonical form; or, answered on the spot, the reply's bytes; or a group of its
        own."""
        name = request[0].upper()
        try:
            reply: replies.Reply | Group
            spec, handler = self._looked_up(name, request)
            if self.transaction is not None and name not in IMMEDIATE:
                reply = self.transaction.queue(request)
            elif spec is not None:
                return spec.kind, spec.canonical(request, self.service.wall_ms)
            else:
                assert handler is not None
                reply = handler(self, request)
                if isinstance(reply, Group):
                    return reply.kind, reply
        except Refused as refused:
            reply = refused.reply
        return Kind.LOCAL, replies.encode(reply, self.resp3)

    def _looked_up(self, name: bytes, request: Request) -> "tuple[commands.Spec | None, local.Handler | None]":
        """The command that the request names, of either sort, if it has the right number of arguments."""
        try:
            spec = commands.COMMANDS.get(name)
            if spec is not None:
                if not fits(spec.arity, request):
                    raise Refused(wrong_arity(name.lower()))
                return spec, None
            handler = local.local(name, request)
            if handler is not None:
                return None, handler
            if name in (_POST, _HOST):
                # A browser was made to send an HTTP request here. Its body must not be taken for commands.
                _log.warning("client %d speaks HTTP; closing its connection", self.client_id)
                self.quit()
            raise Refused(unknown_command(request))
        except Refused as refused:
            if name == b"EXEC":
                raise Refused(aborted(self, refused.reply)) from None
            if self.transaction is not None:
                self.transaction.spoil()
            raise

    def _answer_locally(self, reply: bytes) -> None:
        self._close_group(Group(Kind.LOCAL, self.resp3, self.answered, [reply], answered=True), len(reply))

    # Groups to the replica

    def _dispatch(self) -> None:
        unsent = self._unsent
        while unsent and not self._output_full and not self._behind and self._at_replica < MAX_GROUPS_AT_REPLICA:
            group = unsent[0]
            writes = group.kind is Kind.WRITE
            if self._at_replica and writes is not self._writes_at_replica:
                return
            if writes and self._replica_full:
                return
            unsent.popleft()
            group.seal()
            self._send(group)

    def _send(self, group: Group) -> None:
        """Give the replica a group that may go to it now."""
        self._at_replica += 1
        replica = self.service.replica
        if group.kind is Kind.WRITE:
            self._writes_at_replica = True
            if not replica.submit(group.items, group.size_bytes, group, group.placed):
                self._replica_full = True
                replica.when_writable(self._replica_writable)
        else:
            self._writes_at_replica = False
            replica.query(group.items, group)

    def _replica_writable(self) -> None:
        self._replica_full = False
        if not self._over:
            self._dispatch()
            self._adjust_reading()

    # Replies to the output

    def answered(self) -> None:
        """A group has its outcome."""
        self._at_replica -= 1
        if self._over:
            return
        if len(self._queue) == 1 and self._at_replica == 0 and self._queue[0].plain and self._is_calm():
            reply = self._queue[0].replies()
            if isinstance(reply, bytes):
                # Nothing to wait for: no other reply is due, and nothing will be asked of the replica from here.
                self._forget_first()
                self._output.write(reply)
                if self.held_bytes:
                    self._tell_what_is_held()
                return
        self._schedule_flush()

    def _is_calm(self) -> bool:
        """Nothing but answers is awaited."""
        return self._reading and not (self._flush_due or self._output_full or self._quitting)

    def _schedule_flush(self) -> None:
        # The next groups are submitted from there too: a sink must not call back into the replica.
        if not self._flush_due:
            self._flush_due = True
            self.service.replica.at_turn_end(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._over:
            return
        if self._room and self._input:
            self._take(self._input.next_share())
        queue = self._queue
        if queue and queue[0].answered and not self._output_full:
            try:
                chunk = self._next_chunk()
            except Exception:
                _log.exception("client %d: a reply cannot be encoded; closing its connection", self.client_id)
                self.lost()
                self._output.close()
                return
            if chunk:
                self._output.write(chunk)
        # A chunk a turn: encoding a million keys for a client that takes all at once would stop the replica.
        self._behind = bool(queue) and queue[0].answered
        if self._behind and not self._output_full:
            self._schedule_flush()
        self._dispatch()
        self._adjust_reading()
        if self._quitting and not self._queue:
            self._over = True
            if self._input.error is None:
                self._output.close()
            else:
                self.service.part(self._output)

    def _next_chunk(self) -> bytes:
        """Replies that are due, about :data:`~oarlock.server.redis.replies.CHUNK_BYTES`;
        none, perhaps, at the end of a long answer."""
        queue = self._queue
        parts: list[bytes] = []
        size_bytes = 0
        while queue and queue[0].answered and size_bytes < replies.CHUNK_BYTES:
            if self._writing is None:
                answer = queue[0].replies()
                if isinstance(answer, bytes):
                    parts.append(answer)
                    size_bytes += len(answer)
                    self._forget_first()
                    continue
                self._writing = answer
            part = next(self._writing, None)
            if part is None:
                self._writing = None
                self._forget_first()
            else:
                parts.append(part)
                size_bytes += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _forget_first(self) -> None:
        self._waiting_bytes -= self._queue.popleft().held_bytes

    # Back-pressure

    @property
    def awaits_replica(self) -> bool:
        """Whether something of it is being executed, or may be."""
        return self._at_replica > 0

    def _adjust_reading(self) -> None:
        if self._over:
            return
        self._tell_what_is_held()
        if self._over:
            return  # that was too much
        bound = MAX_WAITING_BYTES if self._room else MAX_WAITING_BYTES // 2
        self._room = self._waiting_bytes <= bound and not self._replica_full
        more = bool(self._input)
        if more and self._room:
            self._schedule_flush()
        # Input behind the end is read, and dropped: closing with input unread resets the connection, and a reset may
        # overtake the last replies.
        wanted = self._room and not more
        if wanted != self._reading and not self._output.is_closing():
            self._reading = wanted
            if wanted:
                self._output.resume_reading()
            else:
                self._output.pause_reading()

    def _tell_what_is_held(self) -> None:
        service = self.service
        held_bytes = self._waiting_bytes + self._input.held_bytes + self.watches.size_bytes
        if self.transaction is not None:
            held_bytes += self.transaction.held_bytes
        service.held_bytes += held_bytes - self.held_bytes
        self.held_bytes = held_bytes
        if service.held_bytes > MOST_HELD_BYTES:
            service.relieve()
