"""``oarlock members``: who belongs to a cluster, and how."""

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.remote import ask
from oarlock.cli.table import table
from oarlock.server.http.operations import MembersDocument
from oarlock.types import ReplicaId


@click.command(short_help="Who belongs to the cluster.")
@options.at
@options.as_json
def members(at: str, as_json: bool) -> None:
    """List the members of the cluster: its configuration, as the replica at --at knows it.

    \b
    Example:
        oarlock members --at 10.0.0.1:8401
    """
    document = ask(at, "/members", MembersDocument)
    click.echo(msgspec.json.encode(document).decode() if as_json else as_text(document))


def as_text(document: MembersDocument) -> str:
    """The members as a table, and who has left."""
    rows = [
        (str(one.id), membership(document, one.id), one.address, one.redis or "-", one.http or "-")
        for one in sorted(document.members, key=lambda one: one.id)
    ]
    lines = [
        f"Cluster {document.cluster_name} ({document.cluster_id})",
        table(("id", "membership", "raft", "redis", "http"), rows, left=("membership", "raft", "redis", "http")),
    ]
    if document.removed:
        lines.append("Left for good: " + ", ".join(map(str, document.removed)))
    return "\n".join(lines)


def membership(document: MembersDocument, replica: ReplicaId) -> str:
    """What the member is for the cluster."""
    if replica in document.voters:
        return "voter"
    if replica in document.outgoing:
        return "leaving"
    for one in document.joining:
        if one.id == replica:
            return f"joining, replaces {one.replaces}" if one.replaces else "joining"
    return "learner"
