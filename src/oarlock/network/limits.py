"""Bounds of time and memory of a replica's links, in one place with their relations checked."""

import msgspec

from oarlock.types import MAX_FRAME_BYTES


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of all links of a replica. The defaults suit a data centre; tests tighten them."""

    handshake_s: float = 5.0
    """How long connecting may take, and then the handshake."""
    handshake_frame_bytes: int = 64 * 1024
    """Largest body accepted from one who has not passed the handshake."""
    strangers: int = 64
    """Accepted connections that have not passed the handshake; one more ends the oldest."""
    guests: int = 8
    """Peers that our configuration does not name; one more is turned away."""
    guest_look_s: float = 10.0
    """How often guests are looked at: one without a link at two looks in a row is one no more."""
    buffered_bytes: int = 2 * MAX_FRAME_BYTES
    """Bytes that may wait in one link before further frames are dropped. One frame may exceed it."""
    first_backoff_s: float = 0.05
    longest_backoff_s: float = 1.0
    dials_at_once: int = 8
    """Dials without back-off per peer and second. A process that ends takes two to find out; a middlebox that resets
    every connection must not make us spin."""
    bind_s: float = 5.0
    """How long to wait for the listening port while another process (our predecessor, ending) has it."""
    flush_s: float = 1.0
    """How long closing waits for what was sent to leave."""

    def __post_init__(self) -> None:
        if not 0 < self.first_backoff_s <= self.longest_backoff_s:
            raise ValueError("the first back-off must be above 0 and not exceed the longest")
        if not 0 < self.handshake_frame_bytes <= MAX_FRAME_BYTES:
            raise ValueError("the handshake's frame limit must not exceed the protocol's")
        counts = self.strangers, self.guests, self.buffered_bytes, self.dials_at_once
        if min(self.handshake_s, self.guest_look_s, *counts) <= 0:
            raise ValueError("limits of time, count and memory must be above 0")
