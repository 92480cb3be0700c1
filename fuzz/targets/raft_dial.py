"""What comes back on a connection that a replica dialled: one greeting, and nothing ever after."""

from itertools import chain

from fuzz.pieces import controls, cut
from fuzz.target import Target
from fuzz.targets.raft_port import LIMITS, OWN, SEALED, STREAMS, Ear, Wire, frames, sealed, streams
from fuzz.virtual_loop import VirtualLoop
from oarlock.network.codec import decode_greeting, encode_greeting
from oarlock.network.connection import Ledger
from oarlock.network.frames import HEADER_BYTES, MalformedFrame, encode_frame
from oarlock.network.handshake import review
from oarlock.network.messages import Hello, Refusal
from oarlock.network.outbound import OutboundConnection
from oarlock.types import MAX_FRAME_BYTES, ReplicaId

PEER = ReplicaId(2)


class Owner:
    """Whom the link tells what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def own_hello(self) -> Hello:
        return OWN

    def answered(self, hello: Hello) -> Refusal | None:
        return review(OWN, hello, PEER)

    def outbound_up(self, hello: Hello) -> None:
        self.events.append("up")

    def outbound_down(self) -> None:
        self.events.append("down")

    def dial_refused(self) -> None:
        raise AssertionError("nobody refused a dial")

    def refused(self, refusal: Refusal) -> None:
        self.events.append("refused")


def outcome(stream: bytes) -> tuple[list[str], bool]:
    """The events that a stream should cause, and whether the link should be ended for it."""
    first = next(frames(stream, LIMITS.handshake_frame_bytes), b"")
    if first == b"" and not stream.startswith(encode_frame(b"")):
        return [], False  # not there yet
    try:
        greeting = decode_greeting(first or b"")
    except MalformedFrame:
        return [], True
    if isinstance(greeting, Refusal):
        return ["refused"], True
    if review(OWN, greeting, PEER) is not None:
        return [], True
    more = frames(stream[HEADER_BYTES + len(first or b"") :], MAX_FRAME_BYTES)
    return ["up"], next(chain(more, ["nothing"])) != "nothing"


def check_dial(data: bytes) -> None:
    """The one who answers is the peer, or the link ends with one line in the log; and then it stays silent."""
    stream, (how, mode) = controls(data, 2)
    if mode & SEALED:
        stream = sealed(stream)
    events, ended = outcome(stream)
    with VirtualLoop().running() as loop:
        owner, ear, ledger = Owner(), Ear(), Ledger()
        connection = OutboundConnection(PEER, owner, LIMITS, ear, ledger)
        wire = Wire(loop, connection)
        connection.connection_made(wire)  # type: ignore[arg-type]
        assert wire.written == encode_greeting(OWN)
        for piece in cut(stream, how):
            connection.data_received(piece)
        assert (owner.events, wire.closing, ear.heard) == (events, ended, int(ended))
        assert connection.usable == (events == ["up"] and not ended)
        loop.run()
        loop.pass_time(LIMITS.handshake_s + 1)
        wire.abort()
        loop.run()
        assert owner.events == (["up", "down"] if events == ["up"] else events)
        assert connection.over.done() and not ledger._open and not loop._timers, (
            "a connection that is gone is remembered"
        )


TARGETS = [
    Target(
        name="raft-dial", check=check_dial, controls=2, valid=streams,
        seeds=[stream + bytes((how, mode)) for mode in (0, 1) for how, stream in enumerate(STREAMS)],
    ),
]  # fmt: skip
