"""What the commands that bring a replica in have in common: they make its directory, and ask the cluster to take it.

In this order, since the cluster must know the directory's incarnation. Whatever fails can be tried again: an attempt
that finds the directory made uses the incarnation in it, and the cluster takes what it has already as done.
"""

import asyncio
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from oarlock.cli.changing import change
from oarlock.cli.remote import ask
from oarlock.errors import StartupError
from oarlock.node.invitation import Invitation
from oarlock.server.http.operations import ChangeRequest, MembersDocument, NewMember
from oarlock.storage.identity import IDENTITY_NAME, Identity, load_identity, new_incarnation, write_identity
from oarlock.storage.os_disk import OsDisk
from oarlock.types import ReplicaId

Wanted: TypeAlias = Callable[[NewMember], ChangeRequest]
"""What the cluster is asked for, once the new member's incarnation is known."""


def join(at: str, data_dir: Path, replica: ReplicaId, raft: str, wanted: Wanted) -> MembersDocument:
    """Initialise ``data_dir`` for the cluster, unless that is done, and ask the cluster to take its replica in.

    :raises StartupError: the directory is another's, or the cluster can take in nobody yet
    :raises OarlockError: as of ``tell_leader``
    """
    document = ask(at, "/members", MembersDocument)
    try:
        new = asyncio.run(_prepared(str(data_dir), document, replica, raft, wanted))
    except OSError as error:
        raise StartupError(f"{data_dir} cannot be initialised ({error.strerror}); name another directory") from error
    return change(at, wanted(new))


def invitation(document: MembersDocument) -> Invitation:
    """To the cluster that the document is of."""
    return Invitation(document.cluster_id, document.cluster_name, document.configuration)


def how_to_start(data_dir: Path) -> str:
    """What to do next."""
    return f"Start it with: oarlock serve --data-dir {shlex.quote(str(data_dir))}"


async def _prepared(
    directory: str, document: MembersDocument, replica: ReplicaId, raft: str, wanted: Wanted
) -> NewMember:
    disk = OsDisk()
    if await disk.exists(f"{directory}/{IDENTITY_NAME}"):
        known = await load_identity(disk, directory)
        if (known.cluster_id, known.replica, known.address) != (document.cluster_id, replica, raft):
            raise StartupError(
                f"{directory} is that of replica {known.replica} at {known.address} of cluster {known.cluster_id}: "
                "name another directory, or say the same number and address as then"
            )
        return _of(known)
    new = NewMember(id=replica, address=raft, incarnation=new_incarnation())
    identity = invitation(document).identity_by(wanted(new).change(), replica)
    await write_identity(disk, directory, identity)
    return _of(identity)


def _of(identity: Identity) -> NewMember:
    """The member that a directory was made for."""
    member = identity.member
    return NewMember(
        id=member.id, address=member.address, incarnation=identity.incarnation, generation=member.generation
    )
