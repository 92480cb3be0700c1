"""``oarlock move``: a member listens at another address."""

import click

from oarlock.cli import options
from oarlock.cli.changing import change, show
from oarlock.server.http.operations import ChangeRequest, Move


@click.command(short_help="Give a replica another raft address.")
@options.replica_id("--id", "replica", "Whose address changes.")
@options.raft
@options.at
@options.force
@options.as_json
def move(replica: int, raft: str, at: str, force: bool, as_json: bool) -> None:
    """Tell the cluster that a replica is reached at another address: its data stays where it is, or has been moved.

    \b
    Example:
        oarlock move --id 2 --raft 10.0.0.12:7401 --at 10.0.0.1:8401
        (stop replica 2, take its directory along, and start it there, with --raft 10.0.0.12:7401)

    The cluster refuses to move a voter without which it hears no majority, since with a wrong address it would stand
    still. --force does it all the same.

    Never let two processes run on copies of one directory.
    """
    document = change(at, ChangeRequest(move=(Move(id=replica, address=raft),), force=force))
    show(document, f"Replica {replica} is reached at {raft} from now on.", as_json=as_json)
