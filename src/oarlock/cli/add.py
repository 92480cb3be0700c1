"""``oarlock add``: a new replica joins a cluster that runs."""

from pathlib import Path

import click

from oarlock.cli import options
from oarlock.cli.changing import show
from oarlock.cli.joining import how_to_start, join
from oarlock.server.http.operations import ChangeRequest
from oarlock.types import ReplicaId


@click.command(short_help="Let a new replica join the cluster (run it on the new machine).")
@options.data_dir
@options.replica_id("--id", "replica", "The new replica's number, never used before in this cluster.")
@options.raft
@options.at
@click.option("--learner", is_flag=True, help="It holds the data, and never votes.")
@options.as_json
def add(data_dir: Path, replica: int, raft: str, at: str, learner: bool, as_json: bool) -> None:
    """Let a new replica join a cluster that runs. Run it on the new machine, and then start the replica.

    \b
    Example, for a fourth replica:
        oarlock add --data-dir /var/lib/oarlock --id 4 --raft 10.0.0.4:7401 --at 10.0.0.1:8401
        oarlock serve --data-dir /var/lib/oarlock

    Initialises the directory and asks the cluster to take it in. The replica first learns what the others know, and
    votes by itself once it has caught up; until then nobody waits for it. Safe to repeat if anything fails on the way.
    """
    document = join(at, data_dir, ReplicaId(replica), raft, lambda new: ChangeRequest(add=(new,), learner=learner))
    becomes = "and never votes" if learner else "and votes once it has caught up"
    show(document, f"Replica {replica} belongs to the cluster, {becomes}. {how_to_start(data_dir)}", as_json=as_json)
