"""What the commands that change the members have in common: asking the leader, and saying what became of it."""

import click
import msgspec

from oarlock.cli.members import as_text
from oarlock.cli.remote import tell_leader
from oarlock.server.http.operations import ChangeRequest, MembersDocument

FORCE_WARNING = (
    "--force: the cluster does not ask whether it hears a majority of the voters that are left. If it does not, "
    "nothing can be written until enough of them are back, and this change cannot be taken back before."
)


def change(at: str, request: ChangeRequest) -> MembersDocument:
    """Ask the leader for it; who belongs to the cluster then. Raises as ``tell_leader`` does."""
    if request.force:
        click.echo(FORCE_WARNING, err=True)
    return tell_leader(at, "/members", request, MembersDocument)


def show(document: MembersDocument, sentence: str, *, as_json: bool) -> None:
    """Say what was done, and who belongs to the cluster now."""
    click.echo(msgspec.json.encode(document).decode() if as_json else f"{sentence}\n{as_text(document)}")
