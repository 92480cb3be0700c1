"""``oarlock status``: how each replica of a cluster does, and whether one leads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.command import EXIT_FAILED
from oarlock.cli.remote import Unreachable, ask
from oarlock.cli.table import milliseconds, number, seconds, table
from oarlock.errors import OarlockError
from oarlock.node.api import MemberStatus, Status
from oarlock.types import NO_REPLICA, ReplicaId

EACH_S: Final = 2.0
"""For each of the other replicas; they are asked at the same time."""
_HEADINGS: Final = (
    "id", "role", "term", "applied", "lag", "last contact", "disk", "beat", "snapshot", "address"
)  # fmt: skip


class Seen(msgspec.Struct, frozen=True):
    """One member: what the others say of it, and what it says itself if it could be asked."""

    member: MemberStatus
    status: Status | None
    error: str
    """Why it could not be asked."""


@click.command(short_help="How each replica does, and which leads.")
@options.at
@options.as_json
def status(at: str, as_json: bool) -> int:
    """Show how each replica of the cluster does, and which leads.

    \b
    Example:
        oarlock status --at 10.0.0.1:8401

    Asks the replica at --at who the members are, and then each of them. `lag` is how many committed entries a replica
    has yet to apply, `last contact` how long ago the leader heard it, `disk` what a write of its log takes, `beat` how
    long it takes to answer the leader, `snapshot` up to where its newest snapshot goes.

    Exit status: 0 if a leader is known, 1 if none is or nobody could be asked.
    """
    first = ask(at, "/status", Status)
    seen = look(first)
    leader = leader_of(seen)
    click.echo(_json(first, leader, seen) if as_json else _text(first, leader, seen))
    return 0 if leader else EXIT_FAILED


def look(first: Status) -> list[Seen]:
    """Ask all members, but for the one that has answered already."""
    with ThreadPoolExecutor(max_workers=max(len(first.members), 1)) as threads:
        return list(threads.map(lambda member: _look_at(member, first), first.members))


def _look_at(member: MemberStatus, first: Status) -> Seen:
    if member.replica_id == first.replica_id:
        return Seen(member, first, "")
    if not member.http_address:
        return Seen(member, None, f"replica {first.replica_id} has never heard where it speaks HTTP")
    try:
        status = ask(member.http_address, "/status", Status, timeout_s=EACH_S)
        if (status.cluster_id, status.replica_id) != (first.cluster_id, member.replica_id):
            raise Unreachable(
                f"replica {status.replica_id} answers at {member.http_address}, which may only mean replica "
                f"{member.replica_id} on its own machine"
            )
    except OarlockError as error:
        return Seen(member, None, str(error))
    return Seen(member, status, "")


def leader_of(seen: Sequence[Seen]) -> ReplicaId:
    """Who leads, for those who know of the latest term; 0 for nobody."""
    said = [one.status for one in seen if one.status is not None and one.status.leader_id]
    return max(said, key=lambda status: status.term).leader_id if said else NO_REPLICA


def _text(first: Status, leader: ReplicaId, seen: Sequence[Seen]) -> str:
    known = {one.member.replica_id: one.status for one in seen}
    leading = known.get(leader)
    term = max(status.term for status in known.values() if status is not None) if any(known.values()) else first.term
    state = f"replica {leader} leads in term {term}" if leader else f"no leader is known in term {term}"
    under_way = ", and a change of its members is under way" if first.joint else ""
    lines = [
        f"Cluster {first.cluster_name} ({first.cluster_id}): {state}{under_way}.",
        table(_HEADINGS, [_row(one, leading) for one in seen], left=("role", "address")),
    ]
    lines += [f"Replica {one.member.replica_id} could not be asked: {one.error}." for one in seen if one.status is None]
    return "\n".join(lines)


def _row(one: Seen, leading: Status | None) -> tuple[str, ...]:
    member, status = one.member, one.status
    for_leader = next((m for m in leading.members if m.replica_id == member.replica_id), None) if leading else None
    applied = status.applied_index if status else None
    reached = applied if applied is not None else for_leader.match_index if for_leader else None
    lag = max(leading.commit_index - reached, 0) if leading and reached is not None else None
    return (
        str(member.replica_id),
        role_of(member, status),
        number(status.term if status else None),
        number(applied),
        number(lag),
        seconds(for_leader.last_contact_s if for_leader else None),
        milliseconds(status.disk_latency_s if status else None),
        milliseconds(for_leader.beat_latency_s if for_leader else None),
        number(status.snapshot_index or None if status else None),
        member.address,
    )


def role_of(member: MemberStatus, status: Status | None) -> str:
    """In one word, if one is enough."""
    if status is None:
        return "unreachable"
    if member.role in ("joining", "learner"):
        return member.role
    return f"{status.role}, leaving" if member.role == "leaving" else status.role


def _json(first: Status, leader: ReplicaId, seen: Sequence[Seen]) -> str:
    about: dict[str, Any] = {
        "cluster_id": first.cluster_id,
        "cluster_name": first.cluster_name,
        "leader_id": leader,
        "members": [
            {
                "id": one.member.replica_id,
                "role": role_of(one.member, one.status),
                "status": one.status,
                "error": one.error or None,
            }
            for one in seen
        ],
    }
    return msgspec.json.encode(about).decode()
