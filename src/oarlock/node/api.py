"""What servers see of a node: groups of commands and queries go in, outcomes come back through sinks.

A group is the unit of the hot path: a connection that received a pipeline of a hundred SETs hands over one group
of a hundred commands with one sink, so that nothing here costs per command. What operators ask for
(:class:`Operations`) is rare, and waits for itself.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from oarlock.core.change import Change
from oarlock.node.sink import PlacedQuery, Sink
from oarlock.types import Boot, Command, Configuration, Index, ReplicaId, SnapshotPoint, Term

MemberRole: TypeAlias = Literal["voter", "learner", "joining", "leaving"]


class MemberStatus(msgspec.Struct, frozen=True):
    """One member of the cluster, as a replica sees it."""

    replica_id: ReplicaId
    address: str
    """Where its raft port listens, ``host:port``."""
    role: MemberRole
    """``joining``: a learner that is to become a voter; ``leaving``: votes only until the change under way is done."""
    replaces: ReplicaId
    """Who leaves when it becomes a voter; 0 for nobody."""
    redis_address: str
    """As it said in its last handshake; empty while unknown."""
    http_address: str
    match_index: Index | None
    """How far its log is known to equal the leader's, durably. This and what follows is None except on the leader."""
    last_contact_s: float | None
    """How long ago it last answered; 0 for the leader itself."""
    beat_latency_s: float | None
    """How long it takes to answer a beat: None also while unknown."""
    installing: bool | None
    """Whether it is being sent a snapshot."""


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
    cluster_name: str
    incarnation: int
    ready: bool
    """A leader is known, and this replica has applied an entry of its term: requests are served at once."""
    leader_http: str
    """Where the leader speaks HTTP, ``host:port``; empty while unknown."""
    members: tuple[MemberStatus, ...]
    joint: bool
    """A change of the voters is under way: two majorities have to agree."""
    configuration_index: Index
    """Of the entry that holds the configuration in force; 0 for the one that the cluster began with."""
    durable_index: Index
    log_bytes: int
    """About how much the log has grown by what was applied since the last snapshot."""
    snapshot_index: Index
    """Of the newest snapshot; 0 while there is none."""
    snapshot_bytes: int
    disk_latency_s: float
    """Moving average of what a write of the log takes."""


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


class Operations(Protocol):
    """What operators ask of a running replica. Everything is called on its event loop."""

    def status(self) -> Status: ...

    def configuration(self) -> Configuration:
        """The configuration in force at this replica, committed or not."""
        ...

    async def change(self, change: Change, *, force: bool = False, timeout_s: float = 5) -> Configuration:
        """Change the members; the configuration that resulted.

        Returns when the change is committed; one of the voters, when its final configuration is. A replica that is
        added is a learner then, and is promoted by itself. ``force`` skips the refusal of what would leave no
        majority of voters that have been heard lately.

        :raises NotLeader: another replica leads, or none is known
        :raises ChangeRefused: it contradicts the configuration, or would cost the cluster its majority
        :raises NotExecuted: (another subclass) it was not begun
        :raises OutcomeUnknown: it was begun, and may still come to its end
        """
        ...

    async def transfer(self, target: ReplicaId | None, timeout_s: float = 5) -> ReplicaId:
        """Hand leadership over to ``target``, or to the best voter; the new leader.

        :raises NotLeader: another replica leads, or none is known
        :raises Unavailable: nobody could take over; this replica leads on
        :raises OutcomeUnknown: nobody has taken over in time, but may still
        """
        ...

    async def take_snapshot(self) -> SnapshotPoint:
        """Write a snapshot of what is applied now; where it stands.

        :raises NotExecuted: (a subclass) there is none: no room on the disk, the replica stops, its machine gives none
        """
        ...

    def backup(self) -> AsyncIterator[bytes]:
        """The bytes of a snapshot file, of a state that holds every write which was acknowledged before the call."""
        ...
