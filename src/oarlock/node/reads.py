"""Linearizable reads at this replica, wherever the leader is.

All queries that arrive in a turn make one :class:`Round`. On the leader a round takes a token of the core; on a
follower it becomes one request to the leader, which takes a token for it and answers with an index. Once confirmed
the round waits until that index is applied here, and is answered from this replica's own state. A round that is
refused has read nothing: it is tried again with the next leader until its deadline.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from oarlock.errors import AuthorityTimedOut, NotExecuted, Unavailable
from oarlock.node.sink import Sink, tell
from oarlock.types import Boot, Index, ReplicaId

NEVER = float("inf")
RETRY_S = 0.02
"""Pause after a refusal, so that a leader that is being replaced is not asked in a tight loop."""
RESEND_S = 0.25
"""A request to the leader that is not answered in this time may be lost: ask again, under a fresh number. The answer to
the first is as good, should it still come, or a leader slower than this would never be heard."""


class QueryGroup:
    """Queries that came together, and where their answers go."""

    __slots__ = ("deadline", "queries", "sink")

    def __init__(self, queries: Sequence[Any], sink: Sink, deadline: float) -> None:
        self.queries = queries
        self.sink: Sink | None = sink
        """None once it has failed: nobody waits for an answer."""
        self.deadline = deadline


class Round(msgspec.Struct):
    """Query groups that are confirmed together."""

    groups: list[QueryGroup]
    deadline: float
    """The latest of its groups': each group is answered by its own."""
    not_before: float = -NEVER
    time_ms: int = 0
    """The leader's log time when it was confirmed."""


class RemoteRound(NamedTuple):
    """A follower's request: what a leader's core hands back when the token is decided."""

    peer: ReplicaId
    boot: Boot
    number: int


class Reads:
    """All reads that are open at this replica."""

    def __init__(self) -> None:
        self._arrived: list[QueryGroup] = []
        self._asked_groups = 0
        """How many the last round held that was asked for."""
        self._waiting: deque[Round] = deque()
        """Rounds that need a leader to ask."""
        self._asked: Round | None = None
        """The round that a remote leader was asked to confirm,"""
        self._asked_from = 0
        """the number of the first request for it, and when to send another."""
        self._resend_at = NEVER
        self._with_core: list[Round] = []
        self._confirmed: list[tuple[Index, int, Round]] = []
        """A heap by index: rounds that wait for it to be applied."""
        self._number = 0
        self.open_groups = 0
        """Groups that somebody waits for; bounded by the node."""

    def __bool__(self) -> bool:
        return bool(self._arrived or self._waiting or self._asked or self._with_core or self._confirmed)

    def add(self, group: QueryGroup) -> None:
        """Take a group of queries. It joins those that arrived in the same turn."""
        self._arrived.append(group)
        self.open_groups += 1

    @property
    def few_arrived(self) -> bool:
        """Whether there are some to ask for, but fewer than were asked for last, and none that have waited before."""
        return not self._waiting and 0 < len(self._arrived) < self._asked_groups

    def form_round(self) -> None:
        """Make one round of all that arrived since the last."""
        if self._arrived:
            groups, self._arrived = self._arrived, []
            self._waiting.append(Round(groups, max(group.deadline for group in groups)))

    def next_for_core(self, now: float) -> Round | None:
        """A round for this replica's own core, which leads; the caller passes it to ``verify_authority``."""
        round_ = self._next(now)
        if round_ is not None:
            self._asked_groups = len(round_.groups)
            self._with_core.append(round_)
        return round_

    def next_request(self, now: float) -> int | None:
        """The number of a fresh request to the leader. One round is under way at a time; what arrives meanwhile
        shares the next, so a busy follower asks once per round trip and not once per read."""
        if self._asked is not None:
            return self._ask(now) if self._resend_at <= now else None
        round_ = self._next(now)
        if round_ is None:
            return None
        while self._waiting and self._waiting[0].not_before <= now:
            other = self._waiting.popleft()
            round_ = Round(round_.groups + other.groups, max(round_.deadline, other.deadline))
        self._asked_groups = len(round_.groups)
        self._asked, self._asked_from = round_, self._number + 1
        return self._ask(now)

    @property
    def is_asking(self) -> bool:
        """Whether a request to the leader is under way, and what comes meanwhile waits for its answer."""
        return self._asked is not None

    def request_answered(self, number: int, index: Index | None, now: float, time_ms: int = 0) -> None:
        """The leader confirmed the request, or refused it. A late answer to a number given up is ignored."""
        asked = self._asked
        if asked is None or number < self._asked_from:
            return
        self._asked = None
        if index is None:
            self._try_again(asked, now)
        else:
            self._await(asked, index, time_ms)

    def core_confirmed(self, round_: Round, index: Index, time_ms: int = 0) -> None:
        """This replica's own leadership confirmed the round."""
        self._with_core = [other for other in self._with_core if other is not round_]
        self._await(round_, index, time_ms)

    def core_refused(self, round_: Round, now: float) -> None:
        """The leadership ended, or the round waited too long: nothing was read."""
        self._with_core = [other for other in self._with_core if other is not round_]
        self._try_again(round_, now)

    def leader_lost(self, now: float) -> None:
        """The leader changed, or the link to it did: requests on their way may be lost. Ask again."""
        if self._asked is not None:
            self._waiting.append(self._asked)
            self._asked = None
        for round_ in self._waiting:
            round_.not_before = now  # the pause was for a leader that is gone

    def take_applied(self, applied: Index) -> Round | None:
        """A round that may be answered from the present state."""
        if not self._confirmed or self._confirmed[0][0] > applied:
            return None
        round_ = heapq.heappop(self._confirmed)[2]
        round_.groups = [group for group in round_.groups if group.sink is not None]
        self.open_groups -= len(round_.groups)
        return round_

    def expire(self, now: float, leader_known: bool) -> None:
        """Fail groups whose deadline has passed, and forget rounds that hold no others."""
        self.form_round()
        error: NotExecuted = AuthorityTimedOut() if leader_known else Unavailable("no leader is known to read from")
        for round_ in self._all_rounds():
            for group in round_.groups:
                if group.deadline <= now:
                    self._fail(group, error)
        if self._asked is not None and self._asked.deadline <= now:
            self._asked = None
        self._waiting = deque(round_ for round_ in self._waiting if round_.deadline > now)
        if any(round_.deadline <= now for _, _, round_ in self._confirmed):
            self._confirmed = [item for item in self._confirmed if item[2].deadline > now]
            heapq.heapify(self._confirmed)

    def fail_all(self, error: NotExecuted) -> None:
        """This replica stops. Nothing was read."""
        self.form_round()
        rounds = self._all_rounds()
        self._waiting.clear()
        self._asked = None
        self._with_core.clear()
        self._confirmed.clear()
        for round_ in rounds:
            for group in round_.groups:
                self._fail(group, error)

    def _all_rounds(self) -> list[Round]:
        return [
            *self._waiting,
            *([self._asked] if self._asked is not None else []),
            *self._with_core,
            *(round_ for _, _, round_ in self._confirmed),
        ]

    def _next(self, now: float) -> Round | None:
        if self._waiting and self._waiting[0].not_before <= now:
            return self._waiting.popleft()
        return None

    def _ask(self, now: float) -> int:
        self._number += 1
        self._resend_at = now + RESEND_S
        return self._number

    def _await(self, round_: Round, index: Index, time_ms: int) -> None:
        self._number += 1
        round_.time_ms = time_ms
        heapq.heappush(self._confirmed, (index, self._number, round_))

    def _try_again(self, round_: Round, now: float) -> None:
        round_.not_before = now + RETRY_S
        self._waiting.append(round_)

    def _fail(self, group: QueryGroup, error: NotExecuted) -> None:
        if group.sink is not None:
            self.open_groups -= 1
            sink, group.sink = group.sink, None
            tell(sink.failed, error)
