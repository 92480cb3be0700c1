"""``oarlock inspect``: what is in a data directory, or in a backup, while no replica runs on it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from oarlock.cli import options
from oarlock.cli.command import EXIT_FAILED
from oarlock.cli.looking import (
    DirectoryDocument,
    SegmentDocument,
    SnapshotDocument,
    by_name,
    describe_members,
    look_at_directory,
    look_at_snapshot,
)
from oarlock.cli.table import log_time, number, size, table
from oarlock.errors import CorruptSnapshot
from oarlock.storage.os_disk import OsDisk

LAST_ENTRIES = 5


@click.command(short_help="Look into a data directory or a backup.")
@click.argument("path", metavar="PATH", type=click.Path(exists=True, path_type=Path))
@options.as_json
@click.option("--keys", is_flag=True, help="Show all keys, too, and the beginnings of their values.")
@click.option("--entries", is_flag=True, help=f"Show all entries of the log, and not only the last {LAST_ENTRIES}.")
def inspect(path: Path, as_json: bool, keys: bool, entries: bool) -> int:
    """Look into a data directory whose replica is not running, or into a backup or a snapshot. Changes nothing.

    \b
    Example:
        oarlock inspect /var/lib/oarlock
        oarlock inspect /backups/monday.oarlock --keys

    What is damaged is told of with file and offset, and how far the rest can be read. The last entries of a log may
    never have been committed: only a majority of the replicas knows that, and no directory alone. Exit status: 0 all is
    whole, 1 something is damaged, 2 it cannot be looked at: nothing of Oarlock's, a newer version's, or a replica
    runs on it.
    """
    disk = OsDisk(read_only=True)
    document: DirectoryDocument | SnapshotDocument
    if path.is_dir():
        last = None if entries else LAST_ENTRIES
        document = asyncio.run(look_at_directory(disk, str(path.absolute()), keys=keys, entries=last))
        lines = _of_directory(document)
    else:
        try:
            document = asyncio.run(look_at_snapshot(disk, str(path.absolute()), keys=keys))
        except CorruptSnapshot as damage:  # so much that nothing can be told of it
            click.echo(f"{damage}.", err=True)
            return EXIT_FAILED
        lines = _of_snapshot(document)
    click.echo(msgspec.json.encode(by_name(document)).decode() if as_json else "\n".join(lines))
    return EXIT_FAILED if document.damage else 0


def _of_snapshot(found: SnapshotDocument) -> Iterator[str]:
    assert found.configuration is not None and found.time_ms is not None
    yield (
        f"{found.path}: a snapshot of cluster {found.cluster_name} ({found.cluster_id}), "
        f"{size(found.size_bytes or 0)}, {'damaged' if found.damage else 'whole'}."
    )
    yield (
        f"It holds everything up to index {number(found.index)} of term {found.term}, {log_time(found.time_ms)} after "
        "its cluster began."
    )
    yield from describe_members(found.configuration)
    if found.damage is not None:
        yield f"\n{found.damage}."
    if found.keys is not None:
        yield from _keys(found.keys)


def _of_directory(found: DirectoryDocument) -> Iterator[str]:
    yield (
        f"{found.path}: replica {found.replica} of cluster {found.cluster_name} ({found.cluster_id}), incarnation "
        f"{found.incarnation}."
    )
    if found.refusal:
        yield f"Its cluster has refused it: {found.refusal}."
    vote = f"voted for replica {found.vote}" if found.vote else "no vote in it"
    yield f"Boot {found.boot}, term {found.term}, {vote}."
    yield from describe_members(found.configuration)
    yield ""
    yield from _log(found)
    yield ""
    yield from _snapshots(found.snapshots)
    yield from (f"{note}." for note in found.notes)
    if found.damage:
        yield "\nDamage:"
        yield from (f"- {one}." for one in found.damage)
    if found.keys is not None:
        held = max((one.index for one in found.snapshots if one.index is not None), default=0)
        yield (
            f"\nWith all of the log, in which nobody knows here what is committed behind index {held:,}"
            f"{'' if found.would_start else ', as far as it can be read'}:"
        )
        yield from _keys(found.keys)


def _log(found: DirectoryDocument) -> Iterator[str]:
    there = "The log" if found.would_start else "What can be read of the log"
    if found.entries:
        last = found.entries[-1]
        yield (
            f"{there} goes from index {found.first_index:,} to {last.index:,} of term {last.term}, "
            f"{log_time(last.time_ms)} after the cluster began."
        )
    else:
        yield f"{there} holds no entries."
    yield table(
        ("boot", "from index", "size", "state", "segment"),
        [
            (number(one.boot), number(one.first_index), size(one.size_bytes), _state(one), one.path)
            for one in found.segments
        ],
        left=("state", "segment"),
    )
    if found.entries:
        rest = found.last_index - found.first_index + 1 - len(found.entries)
        yield f"\nIts last entries ({rest:,} more with --entries):" if rest else "\nIts entries:"
        yield table(
            ("index", "term", "log time", "bytes", "what"),
            [
                (f"{one.index:,}", str(one.term), log_time(one.time_ms), f"{one.size_bytes:,}", one.what)
                for one in found.entries
            ],
            left=("what",),
        )


def _state(segment: SegmentDocument) -> str:
    if segment.damage is not None:
        return "damaged"
    return "whole" if segment.needed else "not needed"


def _snapshots(found: list[SnapshotDocument]) -> Iterator[str]:
    if not found:
        yield "There is no snapshot."
        return
    yield table(
        ("index", "term", "size", "state", "snapshot"),
        [
            (
                number(one.index),
                number(one.term),
                size(one.size_bytes or 0),
                "damaged" if one.damage else "whole",
                one.path,
            )
            for one in found
        ],
        left=("state", "snapshot"),
    )


def _keys(keys: dict[str, str]) -> Iterator[str]:
    yield f"{len(keys):,} keys:"
    yield from (f"{key} = {value}" for key, value in keys.items())
