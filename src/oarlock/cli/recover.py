"""``oarlock recover``: the majority is gone for good, and one survivor becomes a new cluster."""

import asyncio
import shlex
import time
from pathlib import Path

import click
import msgspec

from oarlock.cli import options, parameters
from oarlock.cli.command import EXIT_CANNOT_START
from oarlock.cli.offline import (
    describe,
    initial_state,
    last_configuration,
    last_point,
    last_state,
)
from oarlock.cli.table import log_time
from oarlock.errors import StartupError
from oarlock.storage.at_rest import DirectoryAtRest, read_directory
from oarlock.storage.base import Footing
from oarlock.storage.disk import Disk
from oarlock.storage.identity import (
    IDENTITY_NAME,
    LOG_NAME,
    Identity,
    has_never_started,
    load_identity,
    new_identity,
    new_incarnation,
    take_lock,
)
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.successor import ASIDE_SUFFIX, finish_succession, is_unfinished, succeed
from oarlock.types import SnapshotPoint


class Survivor(msgspec.Struct, frozen=True):
    """What is left."""

    found: DirectoryAtRest
    footing: Footing
    point: SnapshotPoint
    """Its end."""

    @property
    def address(self) -> str:
        """Where the others reached it last."""
        member = self.point.configuration.member(self.found.identity.replica)
        return member.address if member is not None else self.found.identity.address


@click.command(short_help="Make one survivor a new cluster, after the majority was lost for good.")
@options.data_dir
@click.option(
    "--force-new-cluster", "force", is_flag=True, help="Say this: it is the only way, and loses what is lost."
)
@click.option(
    "--raft",
    type=parameters.reachable,
    metavar="HOST:PORT",
    help="Where other replicas will reach it.  [default: as before]",
)
@click.option("--yes", is_flag=True, help="Do it; without this it only says what it would do.")
def recover(data_dir: Path, force: bool, raft: str | None, yes: bool) -> int:
    """Make one survivor a new cluster of one, when the majority of the old cluster is gone for good.

    \b
    Example:
        oarlock recover --data-dir /var/lib/oarlock --force-new-cluster          # says what it would do
        oarlock recover --data-dir /var/lib/oarlock --force-new-cluster --yes
        oarlock serve --data-dir /var/lib/oarlock

    Never while a majority can still be brought back: this gives up what only the others had. Of several survivors take
    the one whose log ends last, in the later term or, in the same one, at the higher index. The new cluster has
    another id, so none of the old replicas gets into it; let it grow again with `oarlock add`. The old directory is
    kept as DIR.before-recovery. Safe to repeat if anything fails on the way.
    """
    if not force:
        raise click.UsageError("This makes a new cluster and may lose writes; say --force-new-cluster if you mean it.")
    directory = str(data_dir.absolute())
    try:
        if not yes:
            click.echo(asyncio.run(_plan(OsDisk(read_only=True), directory)))
            return EXIT_CANNOT_START
        identity, point = asyncio.run(recovered(OsDisk(), directory, raft))
    except OSError as error:
        raise StartupError(
            f"{data_dir} cannot be replaced ({error.strerror or error}); make room if the disk is full; if the "
            "directory cannot be renamed, copy it to one that can, and recover and serve that"
        ) from error
    start = f"oarlock serve --data-dir {shlex.quote(str(data_dir))}"
    click.echo(
        f"{data_dir} is {describe(identity)} now, a new cluster and its only replica. It begins with the state at "
        f"index {point.index:,} of term {point.term}, {log_time(point.time_ms)} after the beginning. What was there "
        f"before is kept in {data_dir}{ASIDE_SUFFIX}.\nStart it with: {start}"
    )
    return 0


async def survey(disk: Disk, directory: str, *, locked: bool = False) -> Survivor:
    """What is in the directory.

    :raises StartupError: something that a recovery would need cannot be read, or there is nothing to recover
    """
    found = await read_directory(disk, directory, locked=locked)
    footing = found.footing
    if found.damage is not None or footing is None:
        raise StartupError(
            f"{found.damage} (`oarlock inspect {shlex.quote(directory)}` shows what can be read, and `oarlock restore` "
            "begins a cluster with one of the snapshots alone, without the log)"
        )
    if await has_never_started(disk, directory):
        raise StartupError(f"{describe(found.identity)} has never started: there is nothing to recover in {directory}")
    return Survivor(found, footing, last_point(footing, last_configuration(found, footing)))


async def is_done(disk: Disk, directory: str) -> bool:
    """Whether a recovery has been carried out, and not been started from yet. One that was carried out long ago leaves
    a directory aside, too, and then something else may have been made in the old place."""
    if not (
        await disk.exists(directory + ASIDE_SUFFIX)
        and await disk.exists(f"{directory}/{IDENTITY_NAME}")
        and await has_never_started(disk, directory)
    ):
        return False
    identity = await load_identity(disk, directory)
    begins_with_a_state = bool((await SnapshotStore.look(disk, directory, identity.cluster_id)).all)
    return begins_with_a_state and len(identity.configuration.members) == 1


async def recovered(disk: Disk, directory: str, raft: str | None) -> tuple[Identity, SnapshotPoint]:
    """Put the new cluster in place of the old directory; who it is, and where it begins. What an earlier attempt has
    done stays.

    :raises StartupError: as of :func:`survey`, or the directory is in use
    :raises OSError: the disk failed, or is full
    """
    if await is_unfinished(disk, directory):
        await finish_succession(disk, directory)
    if not await is_done(disk, directory):
        await _recover(disk, directory, raft)
    identity = await load_identity(disk, directory)
    beginning = (await SnapshotStore.look(disk, directory, identity.cluster_id)).newest
    assert beginning is not None, "it was written before the identity"
    return identity, beginning.header.point


async def _recover(disk: Disk, directory: str, raft: str | None) -> None:
    lock = await take_lock(disk, directory, wait_s=0)
    try:
        survivor = await survey(disk, directory, locked=True)
        old, incarnation = survivor.found.identity, new_incarnation()
        identity = new_identity(
            old.replica,
            {old.replica: raft or survivor.address},
            old.cluster_name,
            incarnation,
            origin=f"{old.cluster_id} recovered by {incarnation}",
        )
        machine = await last_state(disk, survivor.found, survivor.footing)
        await succeed(disk, directory, identity, initial_state(machine, survivor.point))
    finally:
        lock.release()


async def _plan(disk: Disk, directory: str) -> str:
    if await is_unfinished(disk, directory) or await is_done(disk, directory):
        return "It has been done before, but perhaps for a last step. To see to that, say --yes."
    survivor = await survey(disk, directory)
    old = survivor.found.identity
    others = [one.id for one in survivor.point.configuration.members if one.id != old.replica]
    return (
        f"{_facts(survivor, directory)}\n\n"
        f"It would become a new cluster of that name, with another id, of which it is the only replica; and "
        f"{directory} would be kept as {directory}{ASIDE_SUFFIX}.\n"
        "- Lost would be every write that others acknowledged and this replica does not have.\n"
        f"- Appear may what nobody was promised: {_unknown(survivor)}\n"
        f"- The others ({', '.join(map(str, others)) or 'none'}) could never take part again with the directories that "
        "they have; nothing that they have and this one not can be brought in later.\n"
        "If a majority of the old cluster can be started again, do that instead. To go on, say --yes."
    )


def _facts(survivor: Survivor, directory: str) -> str:
    """How far it was."""
    found, point, snapshot = survivor.found, survivor.point, survivor.footing.snapshot
    written = max(((Path(directory) / LOG_NAME).glob("*.wal")), key=lambda one: one.stat().st_mtime)
    lines = [
        f"This is {describe(found.identity)}, at {survivor.address}:",
        f"- its log ends at index {point.index:,} of term {point.term}, {log_time(point.time_ms)} after the beginning",
        f"- written last at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(written.stat().st_mtime))}",
        f"- its current term is {found.log.term}",
        f"- its newest snapshot holds everything up to index {snapshot.header.point.index:,}"
        if snapshot is not None
        else "- it has no snapshot",
    ]
    if found.refusal:
        lines.append(f"- its cluster has refused it: {found.refusal}")
    lines += [f"- {damage}: it does not count" for damage in found.damaged_snapshots.values()]
    lines += [f"- {note}" for note in found.log.replay.notes] if found.log.replay is not None else []
    return "\n".join(lines)


def _unknown(survivor: Survivor) -> str:
    snapshot = survivor.footing.snapshot
    behind = survivor.point.index - (snapshot.header.point.index if snapshot is not None else 0)
    if not behind:
        return "nothing here, since the log ends with its snapshot."
    return f"of the last {behind:,} entries nobody knows here which were committed, and all of them would count."
