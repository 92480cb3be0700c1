"""``oarlock snapshot``: one replica writes a snapshot now."""

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.remote import tell
from oarlock.server.http.operations import SnapshotDocument, SnapshotRequest

SNAPSHOT_S = 600.0
"""How long a large state may take."""


@click.command(short_help="Let one replica write a snapshot now.")
@options.at
@options.as_json
def snapshot(at: str, as_json: bool) -> None:
    """Let the replica at --at write a snapshot of its state now, and forget the log before it when it can.

    \b
    Example:
        oarlock snapshot --at 10.0.0.2:8401

    Replicas do so by themselves from time to time. This is not a backup: `oarlock backup` is.
    """
    document = tell(at, "/snapshot", SnapshotRequest(), SnapshotDocument, timeout_s=SNAPSHOT_S)
    click.echo(
        msgspec.json.encode(document).decode()
        if as_json
        else f"The replica at {at} has a snapshot of the state at index {document.index:,}."
    )
