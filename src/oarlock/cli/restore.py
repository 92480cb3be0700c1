"""``oarlock restore``: a new cluster that begins with the state in a backup."""

import asyncio
import shlex
from pathlib import Path

import click

from oarlock.cli import options
from oarlock.cli.offline import checksum_of, initial_state, read_snapshot
from oarlock.cli.table import log_time
from oarlock.errors import StartupError
from oarlock.storage.disk import Disk
from oarlock.storage.identity import Identity, holds_nothing, new_identity, new_incarnation, write_identity
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.snapshot import SnapshotHeader
from oarlock.types import ReplicaId


@click.command(short_help="Initialise the replicas of a new cluster with the state in a backup.")
@click.argument("backup", metavar="BACKUP", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.data_dir
@options.replica_id("--id", "replica", "This replica's number.")
@options.members
@click.option("--cluster", "name", help="The new cluster's name, the same everywhere.  [default: the backup's]")
def restore(backup: Path, data_dir: Path, replica: int, members: dict[ReplicaId, str], name: str | None) -> None:
    """Initialise a replica of a new cluster whose state begins with a backup's.

    \b
    Example, for the first of three:
        oarlock restore monday.oarlock --data-dir /var/lib/oarlock --id 1 \\
            --members 1=10.0.0.1:7401,2=10.0.0.2:7401,3=10.0.0.3:7401
        oarlock serve --data-dir /var/lib/oarlock

    To be done for each initial replica with a copy of the same file, and the same name and members. It is another
    cluster than the one that the backup is of: neither the old replicas nor any that were made from another backup
    can get into it. All of the backup is read and checked before anything is written. Data goes on from where it was,
    lifetimes of keys included; no time passes for them between the backup and the first start.
    """
    try:
        identity, header, keys = asyncio.run(
            restored(OsDisk(), str(backup), str(data_dir.absolute()), ReplicaId(replica), members, name)
        )
    except OSError as error:
        raise StartupError(f"{data_dir} cannot be initialised ({error.strerror or error})") from error
    point = header.point
    click.echo(
        f"Replica {replica} of {len(members)} of the new cluster {identity.cluster_name} ({identity.cluster_id}) is "
        f"initialised in {data_dir}, with {keys:,} keys: the state of cluster {header.cluster_name} "
        f"({header.cluster_id}) at index {point.index:,} of term {point.term}, {log_time(point.time_ms)} after it "
        f"began.\nThe cluster forms when all of its initial replicas run, each restored from this same file.\n"
        f"Start it with: oarlock serve --data-dir {shlex.quote(str(data_dir))}"
    )


async def restored(
    disk: Disk, backup: str, directory: str, replica: ReplicaId, members: dict[ReplicaId, str], name: str | None
) -> tuple[Identity, SnapshotHeader, int]:
    """Make the directory; who it is now, the backup's header, and how many keys there are.

    A crash leaves a directory that counts as new, or one that is complete.

    :raises StartupError: the backup is damaged or a newer program's, or the directory is not empty or in use
    :raises OSError: the disk failed, or is full
    """
    if not await holds_nothing(disk, directory):
        raise StartupError(f"{directory} is not empty; a backup is restored into a new directory")
    header, machine = await read_snapshot(disk, backup)
    origin = f"sha256:{await checksum_of(disk, backup)}"
    identity = new_identity(replica, members, name or header.cluster_name, new_incarnation(), origin)
    await write_identity(disk, directory, identity, initial_state(machine, header.point))
    return identity, header, len(machine)
