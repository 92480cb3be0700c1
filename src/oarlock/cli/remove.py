"""``oarlock remove``: members leave a cluster for good."""

import click

from oarlock.cli import options
from oarlock.cli.changing import change, show
from oarlock.server.http.operations import ChangeRequest


@click.command(short_help="Let a replica leave the cluster for good.")
@click.option(
    "--id", "replicas", metavar="ID", type=click.IntRange(min=1), multiple=True, required=True,
    help="Who leaves. Given more than once, all leave in one change.",
)  # fmt: skip
@options.at
@options.force
@options.as_json
def remove(replicas: tuple[int, ...], at: str, force: bool, as_json: bool) -> None:
    """Let a replica leave the cluster for good: its number is never given to another.

    \b
    Example:
        oarlock remove --id 3 --at 10.0.0.1:8401

    Safe to repeat. A leader that is removed hands its leadership over. Stop the replica's process afterwards; its
    directory is of no more use.

    The cluster refuses what would leave it without a majority of voters that it hears. --force does it all the same:
    then nothing can be written until enough of the voters are back.
    """
    document = change(at, ChangeRequest(remove=replicas, force=force))
    left = " and ".join(f"replica {replica}" for replica in sorted(replicas))
    show(document, f"Without {left} the cluster has these members.", as_json=as_json)
