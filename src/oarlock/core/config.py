"""Timing and limits of a core, in one place, with their relations checked."""

import msgspec

from oarlock.types import MAX_ENTRY_BYTES


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and bytes. The defaults suit machines in one region; every relation between them is checked.

    :raises ValueError: if two values contradict each other.
    :raises TypeError: if a number of bytes, messages or entries is no whole one.
    """

    heartbeat_s: float = 0.1
    election_min_s: float = 1.0
    """Shortest election timeout; also how long a follower sticks to a leader it has heard from, and how long a
    leader leads without echoes from a majority (check-quorum)."""
    election_max_s: float = 2.0

    failover_delay_s: float = 0.03
    """A follower whose leader's process is gone starts its pre-vote after a random delay of at most this."""
    failover_retry_min_s: float = 0.05
    failover_retry_max_s: float = 0.1
    """A refused pre-vote of such a follower is tried again after a random time between these two ..."""
    failover_retries: int = 6
    """... at most so many times; then normal election timeouts rule."""

    round_widen_s: float = 0.01
    """A read round goes to just enough voters for a majority, and after this long to the rest."""

    commit_news_s: float = 0.005
    """The commit index travels with entries and beats. Alone it goes at once only to a replica whose client waits for
    it, and to the others after this long: under load that saves a message, and its turn, per entry and follower."""

    max_append_bytes: int = 1024 * 1024
    """Payload bytes of one AppendEntries; a single larger entry goes alone."""
    max_inflight_messages: int = 128
    max_inflight_bytes: int = 2 * MAX_ENTRY_BYTES
    """Window of AppendEntries with entries that a follower has not acknowledged yet."""
    max_turn_bytes: int = 4 * 1024 * 1024
    """Payload bytes sent to one follower in one turn, so that one far behind does not make turns long."""
    max_uncommitted_bytes: int = 4 * MAX_ENTRY_BYTES
    """Payload bytes that a leader appends beyond its commit index before it refuses proposals."""
    promotion_max_behind: int = 16
    """Entries that a joining learner may lack when it is made a voter: under load the last few are always under way."""
    max_reads: int = 4096
    """Read tokens waiting at a leader. One token covers all reads of a turn, so this is a large number."""
    max_apply_bytes: int = 256 * 1024
    """Payload bytes of committed entries handed out in one Ready, so that a turn stays short."""

    def __post_init__(self) -> None:
        for name, kind in self.__annotations__.items():
            if kind is int and not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} is a whole number, not {getattr(self, name)!r}")
        if not 0 < self.heartbeat_s * 3 <= self.election_min_s:
            raise ValueError("the shortest election timeout must be at least three heartbeats")
        if not self.election_min_s < self.election_max_s:
            raise ValueError("election timeouts must span a range, or candidates will keep colliding")
        if not 0 < self.failover_retry_min_s < self.failover_retry_max_s < self.election_min_s:
            raise ValueError("failover retries must be quicker than an election timeout")
        if self.max_inflight_bytes < MAX_ENTRY_BYTES or self.max_uncommitted_bytes < MAX_ENTRY_BYTES:
            raise ValueError("every window must hold at least one entry of the largest size")
