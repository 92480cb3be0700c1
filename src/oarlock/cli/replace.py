"""``oarlock replace``: a new replica takes the place of another."""

from pathlib import Path

import click

from oarlock.cli import options
from oarlock.cli.changing import show
from oarlock.cli.joining import how_to_start, join
from oarlock.errors import StartupError
from oarlock.server.http.operations import ChangeRequest, Replacement
from oarlock.types import ReplicaId


@click.command(short_help="Let a new replica take another's place (run it on the new machine).")
@options.data_dir
@options.replica_id("--id", "old", "Who leaves.")
@options.replica_id("--by", "new", "The new replica's number, never used before in this cluster.")
@options.raft
@options.at
@options.as_json
def replace(data_dir: Path, old: int, new: int, raft: str, at: str, as_json: bool) -> None:
    """Let a new replica take the place of another, which may be running or lost. Run it on the new machine.

    \b
    Example, for a machine that is gone for good:
        oarlock replace --data-dir /var/lib/oarlock --id 3 --by 4 --raft 10.0.0.4:7401 --at 10.0.0.1:8401
        oarlock serve --data-dir /var/lib/oarlock

    The old replica stays a member until the new one has caught up: in that moment one leaves and the other votes.
    Safe to repeat if anything fails on the way. To bring a replica back under its own number, see `oarlock rejoin`.
    """
    if old == new:
        raise StartupError("a replica that comes back under its own number is brought in with `oarlock rejoin`")
    document = join(
        at,
        data_dir,
        ReplicaId(new),
        raft,
        lambda member: ChangeRequest(replace=(Replacement(id=old, by=member),)),
    )
    show(
        document,
        f"Replica {new} belongs to the cluster, and takes the place of replica {old} once it has caught up. "
        f"{how_to_start(data_dir)}",
        as_json=as_json,
    )
