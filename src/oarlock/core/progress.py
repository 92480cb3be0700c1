"""What a leader knows of one follower: how far its log matches, what is on its way, which beats it echoed."""

from collections import deque

from oarlock.core.invariants import BEATS_GROW, MATCH_IS_MONOTONIC
from oarlock.types import Beat, Index

LATENCY_KEPT = 0.9
"""Of the average so far, when another echo comes."""


class Progress:
    """A follower starts by being *probed*: one message at a time, until one is accepted and shows where the logs
    agree. From then on it is *pipelined*: entries are sent as they come, within a window. Where its next entry is not
    in the leader's log any more, it is *behind*: it is told to fetch a snapshot instead, until it has one."""

    def __init__(self, next_index: Index, now: float) -> None:
        self.match = Index(0)
        """Highest index known to be durable at the follower and equal to ours."""
        self.next = next_index
        """Index of the next entry to send; everything from match to here is on its way, or guessed."""
        self.probing = True
        self.probe_sent = False
        """While probing: a message is out, and the next waits for its answer or for a heartbeat."""
        self.snapshot_told = Index(0)
        """The snapshot that it was told last to fetch; from then on heartbeats repeat it."""
        self.fetching = Index(0)
        """The first that it was told since it is behind: it may be fetching that still."""
        self._inflight: deque[tuple[Index, int]] = deque()
        self._inflight_bytes = 0

        self.echoed = Beat(0)
        """Highest beat it has echoed in this term."""
        self.echoed_at = now
        """When its last echo arrived; on winning, a grace as if it had just done so."""
        self.beat_latency_s: float | None = None
        """Moving average of what it takes to echo a beat; None before the first."""
        self._timed: tuple[Beat, float] | None = None
        """A beat that was sent, and when: one at a time is timed."""
        self.commit_sent = Index(0)
        """Highest commit index it was sent."""
        self.awaited = Index(0)
        """It has a client that waits for this index to be committed."""
        self.gone = False
        """Its process is known to be gone, and it has not been heard since."""

    def echo(self, beat: Beat, newest: Beat, now: float) -> None:
        """It handled a message of ours that carried ``beat``."""
        BEATS_GROW.require(beat, newest)
        self.echoed = max(self.echoed, beat)
        self.echoed_at = now
        self.gone = False
        if self._timed is not None and beat >= self._timed[0]:
            took_s = now - self._timed[1]
            self.beat_latency_s = took_s + LATENCY_KEPT * ((self.beat_latency_s or took_s) - took_s)
            self._timed = None

    def beat_sent(self, beat: Beat, now: float) -> None:
        """It is being sent a message that carries ``beat``, perhaps not for the first time."""
        if self._timed is None and beat > self.echoed:
            self._timed = (beat, now)

    def remoteness(self, now: float) -> tuple[bool, bool, float]:
        """By what those that a read round goes to first are sorted: who is gone comes last, and before him who has not
        acknowledged anything in this term. Else it is how long an echo takes, or is owed already."""
        usual_s = self.beat_latency_s or 0.0
        takes_s = usual_s if self._timed is None else max(usual_s, now - self._timed[1])
        return self.gone, self.match == 0, takes_s

    def link_is_new(self) -> None:
        """What was on its way before may be lost, and how long its echo takes says nothing."""
        self._timed = None

    def behind(self, base_index: Index) -> bool:
        """Whether a log with this base cannot serve it: it lacks the entries, or the term of the one before them."""
        return self.next <= base_index

    def window_open(self, max_messages: int, max_bytes: int) -> bool:
        """Whether more entries may be sent now."""
        if self.probing:
            return not self.probe_sent
        return len(self._inflight) < max_messages and self._inflight_bytes < max_bytes

    def sent(self, last_index: Index, size_bytes: int) -> None:
        """Entries up to ``last_index`` are on their way."""
        if self.probing:
            self.probe_sent = True
            return
        self.next = Index(last_index + 1)
        self._inflight.append((last_index, size_bytes))
        self._inflight_bytes += size_bytes

    def acknowledged(self, match: Index) -> bool:
        """It holds everything up to ``match``, durably. True if that is news. Delayed repeats change nothing."""
        before = self.match
        self.match = max(self.match, match)
        self.next = max(self.next, Index(self.match + 1))
        MATCH_IS_MONOTONIC.require(before, self.match, self.next)
        while self._inflight and self._inflight[0][0] <= self.match:
            self._inflight_bytes -= self._inflight.popleft()[1]
        if self.probing and match >= self.next - 1:
            self.probing = False
        return self.match > before

    def rejected_is_stale(self, prev_index: Index) -> bool:
        """Whether a rejection at ``prev_index`` answers a message that no longer matters: it matched since, or
        another was sent while probing. Following it would take ``next`` below ``match`` or back and forth."""
        return prev_index <= self.match or (self.probing and prev_index != self.next - 1)

    def probe_from(self, next_index: Index) -> None:
        """Go back to probing, from ``next_index`` but never at or below what is known to match."""
        self.next = max(next_index, Index(self.match + 1))
        self.probing = True
        self.probe_sent = False
        self.snapshot_told = self.fetching = Index(0)
        self._inflight.clear()
        self._inflight_bytes = 0

    def reset(self, next_index: Index) -> None:
        """It has come back with a new boot: forget what its former life acknowledged, and ask. Until it answers it is
        being probed, and so not handed the leadership (``transfer.py``)."""
        self.match = Index(0)
        self.commit_sent = Index(0)
        self.probe_from(next_index)
