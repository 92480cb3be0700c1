"""Oarlock: replicated state machines for Python, on Raft, with linearizable reads that never touch the log.

await oarlock.initialise("data/1", 1, {1: "10.0.0.1:7401", 2: "10.0.0.2:7401", 3: "10.0.0.3:7401"})
node = await oarlock.Node.open("data/1", MyStateMachine())
await node.propose(b"command")     # durable on a majority, applied here
await node.read(query)             # linearizable, nothing is written
"""

import secrets
from collections.abc import Mapping

from oarlock.core.config import Config
from oarlock.errors import (
    AuthorityTimedOut,
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
from oarlock.node.node import Node
from oarlock.state_machine import Position, StateMachine
from oarlock.storage import identity as _identity
from oarlock.storage.os_disk import OsDisk
from oarlock.types import Command, ReplicaId

__version__ = "0.1.0"


async def initialise(directory: str, replica: int, members: Mapping[int, str], cluster_name: str = "oarlock") -> None:
    """Make ``directory`` the data directory of a new replica: once in its life, with the same members everywhere.

    ``members`` maps every replica's id (1 or greater) to the ``host:port`` where it listens for the others.

    :raises StartupError: if the directory is not empty, or ``replica`` is not among the members. Nothing changed.
    """
    await _identity.initialise(
        OsDisk(),
        directory,
        replica=ReplicaId(replica),
        members={ReplicaId(member): address for member, address in members.items()},
        cluster_name=cluster_name,
        incarnation=secrets.randbits(62) + 1,
    )


__all__ = [
    "AuthorityTimedOut",
    "Command",
    "CommandTooLarge",
    "Config",
    "Node",
    "NotExecuted",
    "NotLeader",
    "OarlockError",
    "OutcomeUnknown",
    "Overloaded",
    "Position",
    "ReplicaFailed",
    "ShuttingDown",
    "StartupError",
    "StateMachine",
    "Status",
    "TermElapsed",
    "Unavailable",
    "initialise",
]
