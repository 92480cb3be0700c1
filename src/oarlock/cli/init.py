"""``oarlock init``: gives a data directory its identity, once and on purpose."""

import asyncio
import shlex
from pathlib import Path

import click

from oarlock.cli import options
from oarlock.errors import StartupError
from oarlock.storage.identity import initialise, new_incarnation
from oarlock.storage.os_disk import OsDisk
from oarlock.types import ReplicaId


@click.command(short_help="Initialise the data directory of one replica.")
@options.data_dir
@options.replica_id("--id", "replica", "This replica's number.")
@options.members
@click.option(
    "--cluster", "name", default="oarlock", show_default=True, help="The cluster's name, the same everywhere."
)
def init(data_dir: Path, replica: int, members: dict[ReplicaId, str], name: str) -> None:
    """Initialise the data directory of one replica. Done once for each, before its first `oarlock serve`.

    \b
    Example, for the first of three:
        oarlock init --data-dir /var/lib/oarlock --id 1 \\
            --members 1=10.0.0.1:7401,2=10.0.0.2:7401,3=10.0.0.3:7401

    The same name and members make the same cluster. A cluster forms when all of its initial replicas run; from then
    on a majority is enough. A directory that is not empty is refused: a replica that has lost its data must not come
    back under its old number as if it had never had any.
    """
    try:
        identity = asyncio.run(
            initialise(
                OsDisk(),
                str(data_dir),
                replica=ReplicaId(replica),
                members=members,
                cluster_name=name,
                incarnation=new_incarnation(),
            )
        )
    except OSError as error:
        raise StartupError(f"{data_dir} cannot be initialised ({error.strerror}); name another directory") from error
    click.echo(
        f"Replica {replica} of {len(members)} of cluster {name} ({identity.cluster_id}) is initialised in {data_dir}.\n"
        f"Start it with: oarlock serve --data-dir {shlex.quote(str(data_dir))}"
    )
