"""Oarlock: replicated state machines for Python, on Raft, with linearizable reads that never touch the log.

await oarlock.initialise("data/1", 1, {1: "10.0.0.1:7401", 2: "10.0.0.2:7401", 3: "10.0.0.3:7401"})
node = await oarlock.Node.open("data/1", MyStateMachine())
await node.propose(b"command")     # durable on a majority, applied here
await node.read(query)             # linearizable, nothing is written

To a cluster that has formed, others are added while it runs:

member = await oarlock.join("data/4", 4, "10.0.0.4:7401", invitation)    # there; node.invitation() is from any of them
await leader.change(oarlock.Change(add=(member,)))
"""

import os
from collections.abc import Mapping

from oarlock.core import raft as _raft
from oarlock.core.change import Change
from oarlock.core.config import Config
from oarlock.errors import (
    AuthorityTimedOut,
    ChangeRefused,
    CommandTooLarge,
    NotExecuted,
    NotLeader,
    OarlockError,
    OutcomeUnknown,
    Overloaded,
    ReplicaFailed,
    ShuttingDown,
    StartupError,
    TermElapsed,
    Unavailable,
)
from oarlock.node.api import Status
from oarlock.node.invitation import Invitation
from oarlock.node.node import Node
from oarlock.state_machine import Position, SnapshottingStateMachine, StateMachine, TimedStateMachine
from oarlock.storage import identity as _identity
from oarlock.storage.os_disk import OsDisk
from oarlock.types import Command, Member, ReplicaId

__version__ = "0.1.0"

__compiled__ = not str(_raft.__file__).endswith(".py")
"""Whether what every request passes runs as an extension (hatch_build.py) or is interpreted. All else is the same."""


async def initialise(
    directory: str | os.PathLike[str], replica: int, members: Mapping[int, str], cluster_name: str = "oarlock"
) -> None:
    """Make ``directory`` the data directory of a new replica: once in its life, with the same members everywhere.

    ``members`` maps every replica's id (1 or greater) to the ``host:port`` where it listens for the others.

    :raises StartupError: if the directory is not empty, or ``replica`` is not among the members. Nothing changed.
    """
    await _identity.initialise(
        OsDisk(),
        os.fspath(directory),
        replica=ReplicaId(replica),
        members={ReplicaId(member): address for member, address in members.items()},
        cluster_name=cluster_name,
        incarnation=_identity.new_incarnation(),
    )


async def join(directory: str | os.PathLike[str], replica: int, address: str, invitation: bytes) -> Member:
    """Make ``directory`` the data directory of a new replica of a cluster that has formed: once in its life.

    ``address`` is the ``host:port`` where it will listen for the others; ``invitation`` is what
    :meth:`oarlock.Node.invitation` gave at any replica. The new one takes part once a leader has been asked to
    ``change(Change(add=(member,)))`` with the result, or ``Change(replace=((old, member),))``; it may be opened before.

    :raises StartupError: the directory is not empty, or the cluster could not take in such a replica. Nothing changed.
    """
    member = Member(ReplicaId(replica), address, _identity.new_incarnation())
    identity = Invitation.decode(invitation).identity(member)
    await _identity.write_identity(OsDisk(), os.fspath(directory), identity)
    return identity.member


__all__ = [
    "AuthorityTimedOut",
    "Change",
    "ChangeRefused",
    "Command",
    "CommandTooLarge",
    "Config",
    "Member",
    "Node",
    "NotExecuted",
    "NotLeader",
    "OarlockError",
    "OutcomeUnknown",
    "Overloaded",
    "Position",
    "ReplicaFailed",
    "ShuttingDown",
    "SnapshottingStateMachine",
    "StartupError",
    "StateMachine",
    "Status",
    "TermElapsed",
    "TimedStateMachine",
    "Unavailable",
    "initialise",
    "join",
]
