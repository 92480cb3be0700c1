"""``oarlock rejoin``: a replica whose data is lost or damaged comes back under its own number, with nothing."""

import asyncio
from pathlib import Path

import click

from oarlock.cli import options, parameters
from oarlock.cli.changing import show
from oarlock.cli.command import EXIT_CANNOT_START
from oarlock.cli.joining import how_to_start, invitation, join
from oarlock.cli.remote import ask
from oarlock.core.change import Change
from oarlock.errors import NotExecuted, StartupError
from oarlock.server.http.operations import ChangeRequest, MembersDocument, Replacement
from oarlock.storage.identity import (
    IDENTITY_NAME,
    decode_identity,
    holds_nothing,
    load_identity,
    new_incarnation,
    take_lock,
    waits_to_join,
)
from oarlock.storage.os_disk import OsDisk
from oarlock.types import Member, ReplicaId


@click.command(short_help="Bring a replica back whose data is damaged or lost.")
@options.data_dir
@options.replica_id("--id", "replica", "Its number, if no directory tells it any more.", required=False)
@click.option(
    "--raft",
    type=parameters.reachable,
    metavar="HOST:PORT",
    help="Where the other replicas reach it from now on.  [default: as before]",
)
@options.at
@click.option("--yes", is_flag=True, help="Do it; without this it only says what it would do.")
@options.as_json
def rejoin(data_dir: Path, replica: int | None, raft: str | None, at: str, yes: bool, as_json: bool) -> int:
    """Bring a replica back whose log is damaged, whose disk was lost, or which the others have refused.

    \b
    Example:
        oarlock rejoin --data-dir /var/lib/oarlock --at 10.0.0.1:8401 --yes
        oarlock serve --data-dir /var/lib/oarlock

    Moves the directory aside as DIR.damaged-N, makes a new one for the same number, and asks the cluster to take it as
    one that knows nothing: it stops being a voter, gets the data from the others, and votes again once it has caught
    up. The other replicas must be a majority without it. Safe to repeat if anything fails on the way; remove what was
    moved aside when all is well.
    """
    document = ask(at, "/members", MembersDocument)
    if not document.leader_id:
        raise NotExecuted(f"no leader is known at {at}, so nobody could take the replica back: nothing was done")
    member = _former(data_dir, replica, document)
    address = raft or member.address
    _see_that_it_could(document, member.id, address)
    aside = None if asyncio.run(_is_new(data_dir, member)) else _free_name(data_dir)
    if not yes:
        moved = f"{data_dir} would be moved to {aside}, " if aside else ""
        click.echo(
            f"{moved}{data_dir} would be initialised for replica {member.id} at {address} of cluster "
            f"{document.cluster_name}, and the cluster asked to take it as one that knows nothing. To do so, say --yes."
        )
        return EXIT_CANNOT_START
    if aside:
        asyncio.run(_move(str(data_dir.absolute()), str(aside)))
    try:
        document = join(
            at, data_dir, member.id, address, lambda new: ChangeRequest(replace=(Replacement(id=member.id, by=new),))
        )
    except NotExecuted as refusal:
        if not aside:
            raise
        raise NotExecuted(
            f"{refusal}. What {data_dir} held is in {aside}, and {data_dir} has been made anew: run the same again "
            "when the cluster can take the replica back"
        ) from refusal
    kept = f" What it had is in {aside}." if aside else ""
    show(
        document,
        f"Replica {member.id} belongs to the cluster again, and votes once it has caught up.{kept} "
        f"{how_to_start(data_dir)}",
        as_json=as_json,
    )
    return 0


def _see_that_it_could(document: MembersDocument, replica: ReplicaId, address: str) -> None:
    """Before anything is touched: would the cluster's own rules let it come back?

    :raises ChangeRefused: they would not
    :raises StartupError: the cluster has not formed yet
    """
    again = Change(replace=((replica, Member(replica, address, new_incarnation())),))
    invitation(document).identity_by(again, replica)


def _former(data_dir: Path, replica: int | None, document: MembersDocument) -> Member:
    """Which member the directory was, by its own word, by that of the one last moved aside, or by the operator's."""
    for directory in (data_dir, *reversed(_moved_aside(data_dir))):
        try:
            known = decode_identity((directory / IDENTITY_NAME).read_bytes(), str(directory / IDENTITY_NAME))
        except (OSError, StartupError):
            continue
        if known.cluster_id != document.cluster_id:
            raise StartupError(f"{directory} belongs to cluster {known.cluster_id}, not to {document.cluster_id}")
        if replica not in (None, known.replica):
            raise StartupError(f"{directory} is that of replica {known.replica}, not of replica {replica}")
        replica = known.replica
        break
    if replica is None:
        raise StartupError(f"nothing in {data_dir} tells which replica it was; say so with --id")
    member = document.configuration.member(ReplicaId(replica))
    if member is None:
        raise StartupError(f"the cluster has no replica {replica} any more; bring in a new one with `oarlock add`")
    return member


async def _is_new(data_dir: Path, member: Member) -> bool:
    """Whether an earlier attempt has made it already, or there is nothing to keep. One that another attempt has
    overtaken, elsewhere, is of no use any more."""
    disk, directory = OsDisk(), str(data_dir)
    if await holds_nothing(disk, directory):
        return True
    if not await waits_to_join(disk, directory):
        return False
    made_for = (await load_identity(disk, directory)).member
    return made_for.incarnation == member.incarnation or made_for.generation > member.generation


def _moved_aside(data_dir: Path) -> list[Path]:
    """In the order in which that was done."""
    found = data_dir.absolute().parent.glob(f"{data_dir.absolute().name}.damaged-*")
    numbered = [(int(number), path) for path in found if (number := path.name.rpartition("-")[2]).isdecimal()]
    return [path for _, path in sorted(numbered)]


def _free_name(data_dir: Path) -> Path:
    taken = _moved_aside(data_dir)
    number = int(taken[-1].name.rpartition("-")[2]) + 1 if taken else 1
    return data_dir.absolute().with_name(f"{data_dir.absolute().name}.damaged-{number}")


async def _move(directory: str, aside: str) -> None:
    """Give the directory another name, unless a process still uses it."""
    disk = OsDisk()
    lock = await take_lock(disk, directory, wait_s=0)
    try:
        await disk.rename(directory, aside)
        await disk.sync_directory(aside.rpartition("/")[0])
    except OSError as error:
        raise StartupError(
            f"{directory} cannot be moved to {aside} ({error.strerror}); move what is in it away yourself, and give "
            "the replica's number with --id"
        ) from error
    finally:
        lock.release()
