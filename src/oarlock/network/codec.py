"""What the bodies of frames mean: one Hello or Refusal in the handshake, lists of messages ever after.

One body holds everything for a peer of one turn, so that a turn costs one encoding call, one checksum and one write.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from oarlock.network.frames import MalformedFrame, encode_frame
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.types import MAX_FRAME_BYTES

__all__ = ["MalformedFrame", "decode_greeting", "decode_messages", "encode_greeting", "encode_messages"]

Greeting: TypeAlias = Hello | Refusal

_encoder = msgspec.msgpack.Encoder()
_greetings: msgspec.msgpack.Decoder[Greeting] = msgspec.msgpack.Decoder(Greeting)
_messages: msgspec.msgpack.Decoder[list[PeerMessage]] = msgspec.msgpack.Decoder(list[PeerMessage])


def encode_greeting(greeting: Greeting) -> bytes:
    """The frame of a handshake message."""
    return encode_frame(_encoder.encode(greeting))


def decode_greeting(body: bytes | memoryview) -> Greeting:
    """The handshake message in the body of a frame. Raises MalformedFrame."""
    try:
        return _greetings.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(f"not a handshake: {error}") from None


def encode_messages(messages: Sequence[PeerMessage]) -> bytes:
    """The messages in one frame; only if it would exceed ``MAX_FRAME_BYTES``, in several, in order."""
    body = _encoder.encode(messages)
    if len(body) <= MAX_FRAME_BYTES:
        return encode_frame(body)
    # Entries and slices are bounded well below a frame, so a single message always fits.
    assert len(messages) > 1, f"a message of {len(body)} bytes exceeds the frame limit"
    middle = len(messages) // 2
    return encode_messages(messages[:middle]) + encode_messages(messages[middle:])


def decode_messages(body: bytes | memoryview) -> list[PeerMessage]:
    """The messages in the body of a frame. Raises MalformedFrame."""
    try:
        return _messages.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(f"not a list of messages: {error}") from None
