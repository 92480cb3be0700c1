"""What each path does, and the documents that go in and out: JSON that a person can read and write.

Replies are made from this replica's own knowledge, and only the leader changes anything for all.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeAlias

import msgspec

from oarlock.core.change import Change
from oarlock.network.address import InvalidAddress, parse_address
from oarlock.node.api import Operations, Status
from oarlock.types import Configuration, Index, Joining, Member, ReplicaId, Term

Id: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class BadRequest(Exception):
    """The request asks for nothing that makes sense. The message says why."""


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body. What is misspelt is refused: it would be taken for not asked for."""


class NewMember(_Request, frozen=True):
    """Who comes."""

    id: Id
    address: str
    incarnation: Id
    generation: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Of one that rejoins: for which time its directory was made."""


class Replacement(_Request, frozen=True):
    """Who leaves, and who comes in the same change."""

    id: Id
    by: NewMember


class Move(_Request, frozen=True):
    """Who listens elsewhere from now on."""

    id: Id
    address: str


class ChangeRequest(_Request, frozen=True):
    """The body of ``POST /members``."""

    add: tuple[NewMember, ...] = ()
    replace: tuple[Replacement, ...] = ()
    remove: tuple[Id, ...] = ()
    move: tuple[Move, ...] = ()
    learner: bool = False
    """Who is added never votes."""
    force: bool = False
    """Also when no majority of the voters has been heard lately."""

    def change(self) -> Change:
        """:raises BadRequest: it is empty, or an address is none"""
        if not (self.add or self.replace or self.remove or self.move):
            raise BadRequest("the change names nobody; say add, replace, remove or move")
        return Change(
            add=tuple(_member(one) for one in self.add),
            replace=tuple((ReplicaId(one.id), _member(one.by)) for one in self.replace),
            remove=tuple(ReplicaId(one) for one in self.remove),
            move=tuple((ReplicaId(one.id), _address(one.address)) for one in self.move),
            as_learners=self.learner,
        )


class TransferRequest(_Request, frozen=True):
    """The body of ``POST /transfer``."""

    to: Id | None = None
    """None: whoever is best."""


class SnapshotRequest(_Request, frozen=True):
    """The body of ``POST /snapshot``: there is nothing to choose."""


class MemberDocument(msgspec.Struct, frozen=True):
    """One member, as it stands in the configuration, and where its servers listen if that is known."""

    id: ReplicaId
    address: str
    incarnation: int
    generation: int
    redis: str
    http: str


class JoiningDocument(msgspec.Struct, frozen=True):
    """A learner that is to become a voter, and who leaves then (0 for nobody)."""

    id: ReplicaId
    replaces: ReplicaId


class MembersDocument(msgspec.Struct, frozen=True):
    """The answer of ``/members``: all that a new replica has to know of the cluster that it joins."""

    cluster_id: str
    cluster_name: str
    leader_id: ReplicaId
    leader_http: str
    members: tuple[MemberDocument, ...]
    voters: tuple[ReplicaId, ...]
    outgoing: tuple[ReplicaId, ...]
    learners: tuple[ReplicaId, ...]
    joining: tuple[JoiningDocument, ...]
    removed: tuple[ReplicaId, ...]

    @classmethod
    def of(cls, configuration: Configuration, status: Status) -> "MembersDocument":
        """What this replica knows."""
        servers = {one.replica_id: (one.redis_address, one.http_address) for one in status.members}
        return cls(
            status.cluster_id,
            status.cluster_name,
            status.leader_id,
            status.leader_http,
            tuple(
                MemberDocument(one.id, one.address, one.incarnation, one.generation, *servers.get(one.id, ("", "")))
                for one in configuration.members
            ),
            configuration.voters,
            configuration.outgoing,
            configuration.learners,
            tuple(JoiningDocument(one.id, one.replaces) for one in configuration.joining),
            configuration.removed,
        )

    @property
    def configuration(self) -> Configuration:
        """The configuration that the document was made of."""
        return Configuration(
            tuple(Member(one.id, one.address, one.incarnation, one.generation) for one in self.members),
            self.voters,
            self.outgoing,
            self.learners,
            tuple(Joining(one.id, one.replaces) for one in self.joining),
            self.removed,
        )


class TransferDocument(msgspec.Struct, frozen=True):
    """Who leads now."""

    leader_id: ReplicaId


class SnapshotDocument(msgspec.Struct, frozen=True):
    """Where the snapshot stands in the log."""

    index: Index
    term: Term


async def health(replica: Operations) -> tuple[int, dict[str, object]]:
    """Whether requests are served at once, for load balancers and orchestrators; never waits for others."""
    status = replica.status()
    return 200 if status.ready else 503, {
        "status": "ok" if status.ready else "unavailable",
        "replica_id": status.replica_id,
        "role": status.role,
        "term": status.term,
        "leader_id": status.leader_id,
        "applied_index": status.applied_index,
    }


async def status(replica: Operations) -> tuple[int, Status]:
    """All that this replica knows of itself and of the others."""
    return 200, replica.status()


async def members(replica: Operations) -> tuple[int, MembersDocument]:
    """Who belongs to the cluster."""
    return 200, MembersDocument.of(replica.configuration(), replica.status())


async def change_members(replica: Operations, request: ChangeRequest) -> tuple[int, MembersDocument]:
    """Change that."""
    configuration = await replica.change(request.change(), force=request.force)
    return 200, MembersDocument.of(configuration, replica.status())


async def transfer(replica: Operations, request: TransferRequest) -> tuple[int, TransferDocument]:
    """Hand leadership over."""
    target = ReplicaId(request.to) if request.to is not None else None
    return 200, TransferDocument(await replica.transfer(target))


async def snapshot(replica: Operations, request: SnapshotRequest) -> tuple[int, SnapshotDocument]:
    """Let this replica write a snapshot."""
    point = await replica.take_snapshot()
    return 200, SnapshotDocument(point.index, point.term)


def backup(replica: Operations) -> AsyncIterator[bytes]:
    """A snapshot file's bytes."""
    return replica.backup()


def _member(new: NewMember) -> Member:
    return Member(ReplicaId(new.id), _address(new.address), new.incarnation, new.generation)


def _address(text: str) -> str:
    try:
        return str(parse_address(text, to_be_dialled=True))
    except InvalidAddress as error:
        raise BadRequest(str(error)) from error


def decoded(body: bytes, kind: type[Any]) -> Any:
    """The body of a request. An empty one asks for what an empty object does.

    :raises BadRequest: it is no JSON, or not of this kind
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not what is asked for here: {error}") from error
