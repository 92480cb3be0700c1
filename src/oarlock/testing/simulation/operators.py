"""What operators do to a cluster: snapshots, hand-overs, and replicas that come, go and are replaced.

An operator asks once, whoever seems to lead, and does not ask again: what became of it the cluster must know itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

from oarlock.core.change import Change, changed, final
from oarlock.errors import ChangeRefused, OarlockError
from oarlock.node.node import Node
from oarlock.storage.identity import joining_identity
from oarlock.testing.simulation.host import RAFT_PORT, Host, address
from oarlock.types import Configuration, Member, ReplicaId

if TYPE_CHECKING:
    from oarlock.testing.simulation.cluster import Cluster

MOST_HOSTS = 9
LEAST_VOTERS = 3
"""Nobody is removed from fewer: with one bad disk the rest would be too few."""


def snapshot(cluster: Cluster, random: Random) -> bool:
    """Somebody takes a snapshot now."""
    return _ask(cluster, _any(cluster, random), "a snapshot", lambda node: node.take_snapshot())


def transfer(cluster: Cluster, random: Random) -> bool:
    """The leader hands over, to somebody or to whom it likes."""
    target = random.choice([None, *(ReplicaId(host.id) for host in cluster.hosts)])
    return _ask(cluster, cluster.leader(), f"a hand-over to {target or 'anybody'}", lambda node: node.transfer(target))


def add(cluster: Cluster, random: Random) -> bool:
    """A new replica joins."""
    leader = cluster.leader()
    if leader is None or len(cluster.hosts) >= MOST_HOSTS or not _formed(leader):
        return False
    as_learner = random.random() < 0.2
    return _join(cluster, leader, None, lambda member: Change(add=(member,), as_learners=as_learner), "added")


def replace(cluster: Cluster, random: Random) -> bool:
    """A new replica joins, and another leaves as soon as it can."""
    leader = cluster.leader()
    if leader is None or len(cluster.hosts) >= MOST_HOSTS or not _formed(leader):
        return False
    old = _voter(leader, random)
    cluster.departed.append(old)
    return _join(cluster, leader, None, lambda member: Change(replace=((old, member),)), f"to replace replica {old}")


def remove(cluster: Cluster, random: Random) -> bool:
    """A replica leaves for good."""
    leader = cluster.leader()
    if leader is None or not _formed(leader) or len(_configuration(leader).voters) <= LEAST_VOTERS:
        return False
    replica = _voter(leader, random)
    cluster.departed.append(replica)
    return _ask(
        cluster, leader, f"replica {replica} to be removed", lambda node: node.change(Change(remove=(replica,)))
    )


def rejoin(cluster: Cluster, random: Random) -> bool:
    """A replica has lost its disk, and comes back under its id: the one whose disk is of no use already, if there is
    one."""
    leader = cluster.leader()
    if leader is None or not _formed(leader) or len(_configuration(leader).voters) < LEAST_VOTERS:
        return False
    host = random.choice(cluster.bad_disks() or cluster.members())
    if host is leader:
        return False
    return _join(cluster, leader, host, lambda member: Change(replace=((member.id, member),)), "to join again")


def _join(cluster: Cluster, leader: Host, host: Host | None, change: Callable[[Member], Change], what: str) -> bool:
    """Initialise the host, or a new one, for the cluster, start it, and have it taken in."""
    assert leader.node is not None
    id = ReplicaId(host.id if host is not None else len(cluster.hosts) + 1)
    member = Member(id, f"{address(id)}:{RAFT_PORT}", leader.random.randrange(1, 1 << 62))
    wanted = change(member)
    try:
        configuration = changed(final(_configuration(leader)), wanted)
    except ChangeRefused:
        return False
    if member.id not in configuration.learners:
        return False
    known = leader.node._identity
    identity = joining_identity(
        member.id, cluster_id=known.cluster_id, cluster_name=known.cluster_name, configuration=configuration
    )
    if host is not None:
        cluster.wipe(host)
    else:
        host = cluster.add_host()
    host.join(identity)
    made_for = change(identity.member)
    return _ask(cluster, leader, f"replica {host.id} {what}", lambda node: node.change(made_for))


def _ask(cluster: Cluster, host: Host | None, what: str, request: Callable[[Node], Awaitable[Any]]) -> bool:
    if host is None or host.node is None or host.process is None:
        return False
    cluster.tell(f"an operator asks replica {host.id} for {what}")
    host.process.start(_told(cluster, what, request, host.node))
    return True


async def _told(cluster: Cluster, what: str, request: Callable[[Node], Awaitable[Any]], node: Node) -> None:
    try:
        await request(node)
    except OarlockError as error:
        cluster.tell(f"an operator asked for {what}: {error}")
    else:
        cluster.tell(f"an operator asked for {what}: done")


def _configuration(host: Host) -> Configuration:
    assert host.node is not None
    return host.node.configuration()


def _formed(host: Host) -> bool:
    return _configuration(host).formed


def _any(cluster: Cluster, random: Random) -> Host | None:
    running = [host for host in cluster.hosts if host.node is not None and not host.paused]
    return random.choice(running) if running else None


def _voter(leader: Host, random: Random) -> ReplicaId:
    return random.choice(_configuration(leader).voters)
