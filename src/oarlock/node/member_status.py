"""What a replica can tell of the members: who they are for its configuration, and how they do if it leads."""

from collections.abc import Mapping

from oarlock.core.roles import Leader, Role
from oarlock.node.api import MemberRole, MemberStatus
from oarlock.types import NO_REPLICA, Configuration, Index, Member, ReplicaId


def member_statuses(
    configuration: Configuration,
    role: Role,
    base_index: Index,
    servers: Mapping[ReplicaId, tuple[str, str]],
    now: float,
) -> tuple[MemberStatus, ...]:
    """All members in the order of their ids. ``base_index``: where the log begins. ``servers``: where each speaks Redis
    and HTTP, if that is known."""
    members = sorted(configuration.members, key=lambda member: member.id)
    return tuple(
        _status(member, configuration, role, base_index, servers.get(member.id, ("", "")), now) for member in members
    )


def _status(
    member: Member, configuration: Configuration, role: Role, base_index: Index, servers: tuple[str, str], now: float
) -> MemberStatus:
    progress = role.progress.get(member.id) if isinstance(role, Leader) else None
    leads = isinstance(role, Leader) and progress is None
    joining = next((one for one in configuration.joining if one.id == member.id), None)
    return MemberStatus(
        replica_id=member.id,
        address=member.address,
        role=_role(member.id, configuration),
        replaces=joining.replaces if joining else NO_REPLICA,
        redis_address=servers[0],
        http_address=servers[1],
        match_index=progress.match if progress else None,
        last_contact_s=now - progress.echoed_at if progress else 0.0 if leads else None,
        beat_latency_s=progress.beat_latency_s if progress else None,
        installing=progress.behind(base_index) if progress else None,
    )


def _role(replica: ReplicaId, configuration: Configuration) -> MemberRole:
    if replica in configuration.voters:
        return "voter"
    if replica in configuration.outgoing:
        return "leaving"
    return "joining" if any(one.id == replica for one in configuration.joining) else "learner"
