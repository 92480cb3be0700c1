"""``oarlock backup``: the state of a running cluster in one file, checked."""

import asyncio
import hashlib
import os
from pathlib import Path

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.progress import Progress
from oarlock.cli.remote import streamed
from oarlock.cli.table import size
from oarlock.errors import NotExecuted, StartupError
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader
from oarlock.storage.whole_file import TEMPORARY_SUFFIX

PIECE_S = 60.0
"""How long the next piece may take; the first waits until the replica knows every write that was acknowledged."""


class Kept(msgspec.Struct, frozen=True):
    """What was saved where."""

    file: str
    cluster_id: str
    cluster_name: str
    index: int
    size_bytes: int
    sha256: str


@click.command(short_help="Save the state of the running cluster in a file.")
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", required=True, help="The file."
)  # fmt: skip
@options.at
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@options.as_json
def backup(target: Path, at: str, force: bool, as_json: bool) -> None:
    """Save the state of the running cluster in a file, with every write that was acknowledged before.

    \b
    Example:
        oarlock backup --to /backups/today.oarlock --at 10.0.0.2:8401

    Any replica will do; a follower costs the clients least. The file is written under a temporary name, read again and
    checked, and named FILE only then: what has that name is whole.
    """
    if target.exists() and not force:
        raise StartupError(f"{target} exists; name another file, or say --force to replace it")
    # Of this process alone: another backup may be on its way to the same name.
    draft = target.with_name(f"{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        size_bytes, checksum = _receive(at, draft)
        header = asyncio.run(_verified(draft, at))
        os.replace(draft, target)
        asyncio.run(OsDisk().sync_directory(str(target.absolute().parent)))
    except OSError as error:
        raise NotExecuted(f"{target} cannot be written ({error.strerror or error}); nothing was kept") from error
    finally:
        draft.unlink(missing_ok=True)
    kept = Kept(str(target), header.cluster_id, header.cluster_name, header.point.index, size_bytes, checksum)
    click.echo(
        msgspec.json.encode(kept).decode()
        if as_json
        else f"The state of cluster {kept.cluster_name} ({kept.cluster_id}) at index {kept.index:,} is in {target}: "
        f"{size(size_bytes)}, sha256 {checksum}."
    )


def _receive(at: str, draft: Path) -> tuple[int, str]:
    """Write what the replica sends, durably; its size and checksum."""
    checksum, size_bytes = hashlib.sha256(), 0
    with streamed(at, "/backup", timeout_s=PIECE_S) as pieces, draft.open("wb") as file:
        for piece in Progress("Received").through(pieces):
            file.write(piece)
            checksum.update(piece)
            size_bytes += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return size_bytes, checksum.hexdigest()


async def _verified(draft: Path, at: str) -> SnapshotHeader:
    try:
        file = await SnapshotFile.open(OsDisk(), str(draft))
        try:
            async for _ in Progress("Checked", file.size_bytes).through_async(file.pieces()):
                pass
        finally:
            await file.close()
    except StartupError as error:
        raise NotExecuted(f"what {at} sent is no whole backup ({error}); nothing was kept") from error
    return file.header
