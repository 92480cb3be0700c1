"""What servers see of a node: groups of commands and queries go in, outcomes come back through sinks.

A group is the unit of the hot path: a connection that received a pipeline of a hundred SETs hands over one group
of a hundred commands with one sink, so that nothing here costs per command.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from oarlock.errors import OarlockError
from oarlock.types import Boot, Command, Index, ReplicaId, Term

log = logging.getLogger("oarlock")

PlacedQuery: TypeAlias = tuple[int, Any]
"""A query among the commands of a group, and how many of them stand before it."""


class Sink(Protocol):
    """Where the outcome of one group goes. Exactly one method is called, exactly once, on the event loop."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the outcome any more: then the group is not handed over to another leader."""
        ...

    def resolved(self, results: Sequence[Any]) -> None:
        """The group was applied (or read); one result for each command (or query), in order."""
        ...

    def failed(self, error: OarlockError) -> None:
        """A :class:`~oarlock.errors.NotExecuted`, or an :class:`~oarlock.errors.OutcomeUnknown`."""
        ...


def tell(receiver: Callable[[Any], None], outcome: Any) -> None:
    """Give a sink its outcome. What goes wrong in there concerns one client, and must not stop the replica."""
    try:
        receiver(outcome)
    except Exception:
        log.exception("the receiver of an outcome failed; its client may have got no answer")


class Status(msgspec.Struct, frozen=True):
    """A snapshot of what a replica knows of itself and its cluster."""

    replica_id: ReplicaId
    role: str
    """``leader``, ``follower``, ``candidate`` or ``learner``."""
    term: Term
    leader_id: ReplicaId
    """0 while no leader is known."""
    leader_redis: str
    """Where the leader speaks Redis, ``host:port``; empty while unknown."""
    commit_index: Index
    applied_index: Index
    last_index: Index
    voters: tuple[ReplicaId, ...]
    boot: Boot
    cluster_id: str
    ready: bool
    """A leader is known, and this replica has applied an entry of its term: requests are served at once."""


class Replica(Protocol):
    """A running replica, as the servers use it. Everything is called on its event loop."""

    def submit(
        self, commands: Sequence[Command], size_bytes: int, sink: Sink, placed: Sequence[PlacedQuery] = ()
    ) -> bool:
        """Replicate the group; ``size_bytes`` is about the sum of its commands' sizes.

        The group stays together: its commands are applied in order with nothing between them. ``placed`` queries, in
        their order, are answered at their place as the group is applied, at once: none may be one that is answered in
        steps. The sink gets the results of commands and queries in one sequence, each at its place.
        A group holds up to 1 MiB, or one command of up to ``MAX_COMMAND_BYTES``. Never calls the sink before it
        returns.
        Returns False when the replica holds more than it likes: the caller should stop reading from its client
        until the callback given to :meth:`when_writable` is called. The group is taken in either case.
        """
        ...

    def query(self, queries: Sequence[Any], sink: Sink) -> None:
        """Answer the group of queries linearizably. Never calls the sink before it returns."""
        ...

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once, soon, when there is room again."""
        ...

    def at_turn_end(self, callback: Callable[[], None]) -> None:
        """Call back once at the end of the present (or next) turn: the place to write out collected replies.

        What asks again from in there is called at the end of the next turn: so long work is done bit by bit.
        """
        ...

    def status(self) -> Status: ...
