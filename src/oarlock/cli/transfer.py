"""``oarlock transfer``: leadership goes to another replica."""

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.remote import tell_leader
from oarlock.server.http.operations import TransferDocument, TransferRequest


@click.command(short_help="Hand leadership over.")
@options.replica_id("--to", "target", "Who is to lead.  [default: whoever is best]", required=False)
@options.at
@options.as_json
def transfer(target: int | None, at: str, as_json: bool) -> None:
    """Hand the leadership over to another voter. Clients hardly notice: their commands wait for the new leader.

    \b
    Example:
        oarlock transfer --to 2 --at 10.0.0.1:8401
    """
    document = tell_leader(at, "/transfer", TransferRequest(to=target), TransferDocument)
    click.echo(msgspec.json.encode(document).decode() if as_json else f"Replica {document.leader_id} leads.")
