"""A network between simulated hosts: the Network seam over streams that behave like TCP's.

A stream delivers its bytes in order or ends. What a cut path holds up is delivered when the path is healed, as by
retransmission, unless the sender's kernel has given up by then. A process that is killed sends an end; a host without
power sends nothing, and its peers find out by their own timers. A dial is refused only where a host is up and nobody
listens.

On links between replicas whole frames can be lost, repeated or overtaken besides, although TCP does none of that: the
core promises to bear it, and some day a link may be something else. And bits of them can flip: middleboxes do that.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal, TypeAlias
from zlib import crc32

import msgspec

from oarlock.network.frames import HEADER_BYTES
from oarlock.network.transport import KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES, UNACKNOWLEDGED_MS
from oarlock.testing.simulation.loop import Process, VirtualLoop

Host: TypeAlias = str
Path: TypeAlias = tuple[Host, Host]
"""From a host to another. Paths back are other paths."""

UNACKNOWLEDGED_S = UNACKNOWLEDGED_MS / 1000
KEEPALIVE_S = KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES
DIAL_AGAIN_S = 1.0
"""A dial that is not answered is repeated after so long."""
RETRANSMISSION_S = 0.2
"""How long after a path is healed the last of what waited for it arrives, at the most."""
READ_BYTES = 256 * 1024
WINDOW_BYTES = 128 * 1024
"""Bytes that two kernels hold between a sender and a receiver that does not read."""
HIGH_WATER_BYTES = 64 * 1024

_Item: TypeAlias = bytes | Literal["end", "reset"]


class Conditions(msgspec.Struct):
    """How one path behaves at present."""

    cut: int = 0
    """How many faults cut it at the moment."""
    extra_s: float = 0.0
    """Delay beyond the usual."""
    loss: float = 0.0
    repetition: float = 0.0
    overtaking: float = 0.0
    spoiling: float = 0.0
    """Chances of a frame between replicas to be lost, to come twice, to be overtaken by others, and to have a bit
    flipped."""
    troubles: list[tuple[str, float]] = msgspec.field(default_factory=list)
    """What faults bring at the moment. Of one kind of trouble the strongest counts, and delays add up."""

    def bring(self, kind: str, strength: float) -> None:
        """A fault begins."""
        self.troubles.append((kind, strength))
        self._settle(kind)

    def take_back(self, kind: str, strength: float) -> None:
        """It ends; those that last still have their effect, in whatever order they began."""
        self.troubles.remove((kind, strength))
        self._settle(kind)

    def _settle(self, kind: str) -> None:
        strengths = [strength for other, strength in self.troubles if other == kind]
        setattr(self, kind, sum(strengths) if kind == "extra_s" else max(strengths, default=0.0))


class Wires:
    """All hosts, paths and streams."""

    def __init__(self, loop: VirtualLoop, random: Random, latency_s: tuple[float, float] = (50e-6, 600e-6)) -> None:
        self.loop = loop
        self.random = random
        self.latency_s = latency_s
        self.bitten: dict[str, int] = {}
        """How often each kind of trouble hit something."""
        self.on_frames: Callable[[Path, bytes], None] = lambda path, data: None
        """Hears of what leaves one replica for another, behind the handshake."""
        self._conditions: dict[Path, Conditions] = {}
        self._listeners: dict[tuple[Host, int], _Listener] = {}
        self._ends: list[End] = []
        self._off: dict[Host, bool] = {}
        self._sources = 1

    # What faults do

    def conditions(self, path: Path) -> Conditions:
        """How the path behaves; to be changed in place."""
        return self._conditions.setdefault(path, Conditions())

    def cut(self, paths: Sequence[Path]) -> None:
        """Let nothing arrive over these paths."""
        for path in paths:
            self.conditions(path).cut += 1

    def heal(self, paths: Sequence[Path]) -> None:
        """Take one cut back; what waited for it arrives soon."""
        for path in paths:
            self.conditions(path).cut -= 1
        for end in self._ends:
            if end.stalled and not self._is_blocked(end.path):
                self._deliver_stalled(end)

    def power(self, host: Host, on: bool) -> None:
        """Switch a host on or off. Its processes have been killed before, without a word."""
        self._off[host] = not on
        if on:
            for end in self._ends:
                if end.stalled and not self._is_blocked(end.path):
                    self._deliver_stalled(end)

    def abandon(self, process: Process, silently: bool) -> None:
        """The process is no more. Its host ends its streams, or, ``silently``, has no power to."""
        for place in [place for place, listener in self._listeners.items() if listener.process is process]:
            del self._listeners[place]
        for end in [end for end in self._ends if end.process is process]:
            end.die()
            if silently:
                self.loop.after(KEEPALIVE_S, end.peer.lose, TimeoutError(errno.ETIMEDOUT, "the other host is gone"))
            else:
                self.carry(end, "end" if self.random.random() < 0.5 else "reset")

    def bite(self, what: str) -> None:
        """Count a trouble that hit something."""
        self.bitten[what] = self.bitten.get(what, 0) + 1

    # Streams

    def new_source(self) -> int:
        """The number of a source of events."""
        self._sources += 1
        return self._sources

    def carry(self, end: End, item: _Item) -> None:
        """Take something from an end to its peer."""
        random, now = self.random, self.loop.now
        if end.frames and end.writes > 1 and isinstance(item, bytes):
            self.on_frames(end.path, item)
        conditions = self._conditions.get(end.path)
        delay_s = random.uniform(*self.latency_s)
        in_order = True
        if conditions is not None:
            delay_s += conditions.extra_s * random.uniform(0.5, 1)
            if conditions.extra_s:
                self.bite("delayed")
            if end.frames and end.writes > 1 and isinstance(item, bytes):
                if random.random() < conditions.loss:
                    self.bite("lost")
                    end.peer.consumed(item)
                    return
                if random.random() < conditions.repetition:
                    self.bite("repeated")
                    end.unread_bytes += len(item)
                    self.loop.after(delay_s + random.uniform(0, 0.05), self._arrive, end, item)
                if random.random() < conditions.overtaking:
                    self.bite("overtaken")
                    delay_s += random.uniform(0, 0.05)
                    in_order = False
                if conditions.spoiling and random.random() < conditions.spoiling:
                    self.bite("spoilt")
                    item = _with_a_bit_flipped(item, random)
        when = now + delay_s
        if in_order:
            when = end.last_arrival = max(when, end.last_arrival)
        self.loop.at(when, self._arrive, end, item)

    def _is_blocked(self, path: Path) -> bool:
        if self._off.get(path[1]):
            return True
        conditions = self._conditions.get(path)
        return conditions is not None and conditions.cut > 0

    def _arrive(self, end: End, item: _Item) -> None:
        if not end.stalled and not self._is_blocked(end.path):
            self._deliver(end, item)
            return
        end.stalled.append(item)
        if len(end.stalled) == 1:
            self.bite("held up")
            self._stall(end)

    def _stall(self, end: End) -> None:
        end.stalls += 1
        self.loop.after(UNACKNOWLEDGED_S, self._give_up, end, end.stalls)

    def _give_up(self, end: End, stall: int) -> None:
        """The sender's kernel has waited long enough."""
        if end.stalled and end.stalls == stall and self._is_blocked(end.path):
            end.stalled.clear()
            end.lose(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            # The other side has nothing to send, as a rule, and learns by asking whether it is still there.
            self.loop.after(KEEPALIVE_S, end.peer.lose, ConnectionResetError(errno.ECONNRESET, "reset"))

    def _deliver_stalled(self, end: End) -> None:
        end.last_arrival = max(end.last_arrival, self.loop.now + self.random.uniform(0, RETRANSMISSION_S))
        self.loop.at(end.last_arrival, self._retransmitted, end)

    def _retransmitted(self, end: End) -> None:
        """What was held up arrives; whatever has come after it until now waited, since a stream is in order."""
        if not end.stalled:
            return
        if self._is_blocked(end.path):
            self._stall(end)
            return
        items, end.stalled = end.stalled, []
        for item in items:
            self._deliver(end, item)

    def _deliver(self, end: End, item: _Item) -> None:
        receiver = end.peer
        if isinstance(item, bytes):
            self.loop.trace.note(self.loop.now, receiver.source, crc32(item))
            if not receiver.open:
                if not end.dead:  # a host answers bytes for nobody
                    self.loop.after(self.random.uniform(*self.latency_s), end.lose, _reset())
                return
            receiver.take(item)
        elif item == "end":
            receiver.take_end()
        else:
            receiver.lose(_reset())

    # The seam

    async def dial(
        self, process: Process, host: Host, place: tuple[Host, int], factory: Callable[[], asyncio.Protocol]
    ) -> asyncio.Transport:
        """Connect a process on a host to a place."""
        source = self.new_source()
        while True:
            await self.loop.sleep_in(process, source, self.random.uniform(*self.latency_s))
            blocked = self._is_blocked((host, place[0])) or self._is_blocked((place[0], host))
            if blocked or self._off.get(place[0]):
                self.bite("held up")
                await self.loop.sleep_in(process, source, DIAL_AGAIN_S)
                continue
            break
        listener = self._listeners.get(place)
        if listener is None or not listener.process.alive:
            await self.loop.sleep_in(process, source, self.random.uniform(*self.latency_s))
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        here = End(self, process, (host, place[0]), ((host, 40_000 + source % 20_000), place), listener.frames)
        there = End(self, listener.process, (place[0], host), (place, here.names[0]), listener.frames)
        here.peer, there.peer = there, here
        self._ends += [here, there]
        there.process.post(there.source, there.accept, listener.factory)
        try:
            await self.loop.sleep_in(process, source, self.random.uniform(*self.latency_s))
        except asyncio.CancelledError:
            here.open = True
            here.abort()
            raise
        here.begin(factory())
        return here

    def listen(
        self, process: Process, place: tuple[Host, int], factory: Callable[[], asyncio.Protocol], frames: bool
    ) -> _Listener:
        """Listen with a process."""
        if place in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = self._listeners[place] = _Listener(self, process, place, factory, frames)
        return listener

    def stop_listening(self, listener: _Listener) -> None:
        if self._listeners.get(listener.place) is listener:
            del self._listeners[listener.place]

    def forget(self, end: End) -> None:
        """Both ends are over."""
        if end in self._ends and end.peer in self._ends:
            self._ends.remove(end)
            self._ends.remove(end.peer)


class _Listener:
    """An open port: a Listener of the Network seam, and enough of an :class:`asyncio.Server` for a server."""

    def __init__(
        self,
        wires: Wires,
        process: Process,
        place: tuple[Host, int],
        factory: Callable[[], asyncio.Protocol],
        frames: bool,
    ) -> None:
        self.process = process
        self.place = place
        self.factory = factory
        self.frames = frames
        self.addresses = [f"{place[0]}:{place[1]}"]
        self._wires = wires

    @property
    def sockets(self) -> Sequence[Any]:
        return [self]

    def getsockname(self) -> tuple[Host, int]:
        return self.place

    def close(self) -> None:
        self._wires.stop_listening(self)


class HostNetwork:
    """The network as a process on one host sees it: :class:`~oarlock.network.transport.Network`."""

    def __init__(self, wires: Wires, process: Process, host: Host) -> None:
        self._wires = wires
        self._process = process
        self._host = host

    async def dial(self, host: str, port: int, protocol_factory: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        return await self._wires.dial(self._process, self._host, (host, port), protocol_factory)

    async def listen(self, host: str, port: int, protocol_factory: Callable[[], asyncio.Protocol]) -> _Listener:
        return self._wires.listen(self._process, (host, port), protocol_factory, frames=True)

    async def listen_for_clients(
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> _Listener:
        """Like ``loop.create_server``."""
        return self._wires.listen(self._process, (host, port), protocol_factory, frames=False)


class End(asyncio.Transport):
    """One end of a stream."""

    peer: End

    def __init__(
        self, wires: Wires, process: Process, path: Path, names: tuple[tuple[Host, int], tuple[Host, int]], frames: bool
    ) -> None:
        super().__init__()
        self.process = process
        self.path = path
        self.names = names
        self.frames = frames
        """Each write is a whole frame, which may be lost or repeated as one."""
        self.source = wires.new_source()
        self.open = True
        """Its host has it: bytes for it are taken."""
        self.dead = False
        """Its process is gone, or has been told that it is lost."""
        self.writes = 0
        self.unread_bytes = 0
        """Written here and not read at the other end."""
        self.last_arrival = 0.0
        self.stalled: list[_Item] = []
        self.stalls = 0
        self._wires = wires
        self._protocol: asyncio.Protocol | None = None
        self._inbox: list[bytes] = []
        self._ended_by_peer = False
        self._end_told = False
        self._readable_posted = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._error: Exception | None = None
        self._high = HIGH_WATER_BYTES
        self._writing_paused = False

    # What its process does

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": self.names[0], "peername": self.names[1]}.get(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        return max(0, self.unread_bytes - WINDOW_BYTES)

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._inbox or self._ended_by_peer:
            self._post_readable()

    def can_write_eof(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self._reading

    def write(self, data: Any) -> None:
        if self._closing or not data:
            return
        item = bytes(data)
        self.writes += 1
        self.unread_bytes += len(item)
        self._wires.carry(self, item)
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.get_write_buffer_size():
                self._finish()

    def abort(self) -> None:
        if not self._lost:
            self._closing = True
            self._finish()

    def _finish(self) -> None:
        self._wires.carry(self, "reset" if self._inbox else "end")  # as a host does that has bytes nobody will read
        self._lose(None)

    # What happens to it

    def accept(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Its process takes it from those that wait to be accepted."""
        self.begin(factory())

    def begin(self, protocol: asyncio.Protocol) -> None:
        """From here on it has a protocol."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._lost:  # it broke before anybody had it
            asyncio.get_running_loop().call_soon(protocol.connection_lost, self._error)
        elif self._inbox or self._ended_by_peer:
            self._post_readable()

    def take(self, data: bytes) -> None:
        """Bytes have reached its host."""
        self._inbox.append(data)
        if self._protocol is not None:
            self._post_readable()

    def take_end(self) -> None:
        """The other side will send no more."""
        self._ended_by_peer = True
        if self._protocol is not None and self.open:
            self._post_readable()

    def consumed(self, data: bytes) -> None:
        """What its peer sent has left the kernels."""
        sender = self.peer
        sender.unread_bytes -= len(data)
        if sender._writing_paused or (sender._closing and not sender._lost):
            sender.process.post(sender.source, sender._drained)

    def lose(self, error: Exception) -> None:
        """The stream is broken."""
        if self.open and not self.dead:
            self.dead = True
            self.process.post(self.source, self._lose, error)

    def die(self) -> None:
        """Its process is gone."""
        self.open, self.dead = False, True
        if not self.peer.open:
            self._wires.forget(self)

    # In its process

    def _post_readable(self) -> None:
        if not self._readable_posted and self._reading:
            self._readable_posted = True
            self.process.post(self.source, self._readable)

    def _readable(self) -> None:
        self._readable_posted = False
        if self._closing or not self._reading or self._protocol is None:
            return
        if self._inbox:
            data = self._inbox[0] if len(self._inbox) == 1 else b"".join(self._inbox)
            self._inbox.clear()
            most = READ_BYTES
            if self._wires.random.random() < 0.02:
                most = self._wires.random.randint(1, len(data))  # a stream has no borders
            if len(data) > most:
                self._inbox.append(data[most:])
                data = data[:most]
                self._post_readable()
            self.consumed(data)
            self._protocol.data_received(data)
        elif self._ended_by_peer:
            if not self._end_told:
                self._end_told = True
                if not self._protocol.eof_received():
                    self.close()
            return
        if self._ended_by_peer and not self._inbox:
            self._post_readable()

    def _drained(self) -> None:
        if self._lost or self.get_write_buffer_size() > self._high // 4:
            return
        if self._writing_paused:
            self._writing_paused = False
            assert self._protocol is not None
            self._protocol.resume_writing()
        if self._closing and not self.get_write_buffer_size():
            self._finish()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._error = error
        self.open, self.dead = False, True
        if not self.peer.open:
            self._wires.forget(self)
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)


def _with_a_bit_flipped(data: bytes, random: Random) -> bytes:
    # Often in the header, small as it is: damage there is the worst.
    bit = random.randrange(8 * (min(HEADER_BYTES, len(data)) if random.random() < 0.3 else len(data)))
    spoilt = bytearray(data)
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
