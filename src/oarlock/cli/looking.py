"""What `oarlock inspect` tells of a data directory or a snapshot, as a program reads it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from oarlock.cli.offline import contents, last_configuration, last_state, read_snapshot
from oarlock.core.membership import decode_configuration
from oarlock.errors import CorruptSnapshot, OarlockError
from oarlock.kv import KeyValue
from oarlock.node.batch import decode_batch
from oarlock.storage.at_rest import DirectoryAtRest, SegmentAtRest, read_directory
from oarlock.storage.disk import Disk
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader
from oarlock.types import Boot, Configuration, Entry, EntryKind, Index, ReplicaId, Term

SHOWN_BYTES = 60
"""Of a value."""


class SnapshotDocument(msgspec.Struct):
    """A snapshot or a backup. What its header does not tell because it is damaged is None."""

    path: str
    cluster_id: str | None = None
    cluster_name: str | None = None
    index: Index | None = None
    term: Term | None = None
    time_ms: int | None = None
    size_bytes: int | None = None
    configuration: Configuration | None = None
    damage: str | None = None
    keys: dict[str, str] | None = None
    """If they were asked for: the beginnings of their values."""


class SegmentDocument(msgspec.Struct):
    """A file of the log. The first two are None if its header is damaged."""

    path: str
    boot: Boot | None
    first_index: Index | None
    size_bytes: int
    needed: bool
    """Whether the log consists of it and others; what is not needed goes with the next start."""
    damage: str | None


class EntryDocument(msgspec.Struct):
    """An entry of the log."""

    index: Index
    term: Term
    kind: int
    time_ms: int
    size_bytes: int
    what: str


class DirectoryDocument(msgspec.Struct):
    """A data directory."""

    path: str
    cluster_id: str
    cluster_name: str
    replica: ReplicaId
    incarnation: int
    refusal: str
    """Why its cluster will have it no more, or empty."""
    boot: Boot
    term: Term
    vote: ReplicaId
    configuration: Configuration
    """In force at the end of the log."""
    first_index: Index
    last_index: Index
    """Of the entries that can be read; one less than the first if there are none."""
    segments: list[SegmentDocument]
    snapshots: list[SnapshotDocument]
    entries: list[EntryDocument]
    """All, or the last ones."""
    notes: list[str]
    damage: list[str]
    """A sentence each."""
    would_start: bool
    """Whether a replica would start from it: not every damage is in its way."""
    keys: dict[str, str] | None = None
    """If they were asked for, after all of these entries."""


def by_name(value: Any) -> Any:
    """A document for JSON, in which also what travels without the names of its fields has them."""
    if isinstance(value, msgspec.Struct):
        return {name: by_name(getattr(value, name)) for name in value.__struct_fields__}
    return [by_name(one) for one in value] if isinstance(value, list | tuple) else value


async def look_at_snapshot(disk: Disk, path: str, *, keys: bool) -> SnapshotDocument:
    """All of the file is read.

    :raises CorruptSnapshot: its header is damaged
    :raises StartupError: it was written by a newer program
    """
    file = await SnapshotFile.open(disk, path)
    found = _snapshot(path, file.header, file.size_bytes)
    try:
        await file.verify()
    except CorruptSnapshot as damage:
        found.damage = str(damage)
    finally:
        await file.close()
    if keys and found.damage is None:
        found.keys = _keys((await read_snapshot(disk, path))[1])
    return found


async def look_at_directory(disk: Disk, path: str, *, keys: bool, entries: int | None) -> DirectoryDocument:
    """Of the entries the last so many are told of, or all.

    :raises OarlockError: as of :func:`oarlock.storage.at_rest.read_directory`; or with ``keys``, if an entry cannot be
        understood
    """
    found = await read_directory(disk, path)
    identity, log, footing = found.identity, found.log, found.footing
    replayed = log.replay.entries if log.replay is not None else []
    there: Sequence[Entry] = footing.entries if footing is not None else replayed
    before = footing.base.index if footing is not None else there[0].index - 1 if there else 0
    return DirectoryDocument(
        path=path,
        cluster_id=identity.cluster_id,
        cluster_name=identity.cluster_name,
        replica=identity.replica,
        incarnation=identity.incarnation,
        refusal=found.refusal,
        boot=log.boot,
        term=log.term,
        vote=log.vote,
        configuration=last_configuration(found, footing) if footing is not None else identity.configuration,
        first_index=Index(before + 1),
        last_index=Index(before + len(there)),
        segments=[_segment(one) for one in log.segments],
        snapshots=[_snapshot(one.path, one.header, one.size_bytes) for one in found.snapshots]
        + [SnapshotDocument(path, damage=str(damage)) for path, damage in found.damaged_snapshots.items()],
        entries=[_entry(one) for one in (there if entries is None else there[-entries:])],
        notes=log.replay.notes if log.replay is not None else [],
        damage=_damage(found),
        would_start=found.damage is None and not found.refusal,
        keys=_keys(await last_state(disk, found, footing)) if keys and footing is not None else None,
    )


def _damage(found: DirectoryAtRest) -> list[str]:
    """Once each; the reason why a replica would not start comes first."""
    everything = (found.damage, *(one.damage for one in found.log.segments), *found.damaged_snapshots.values())
    return list(dict.fromkeys(str(one) for one in everything if one is not None))


def _snapshot(path: str, header: SnapshotHeader, size_bytes: int) -> SnapshotDocument:
    point = header.point
    return SnapshotDocument(
        path,
        header.cluster_id,
        header.cluster_name,
        point.index,
        point.term,
        point.time_ms,
        size_bytes,
        point.configuration,
    )


def _segment(segment: SegmentAtRest) -> SegmentDocument:
    header = segment.header
    return SegmentDocument(
        path=segment.path,
        boot=header.boot if header is not None else None,
        first_index=header.first_index if header is not None else None,
        size_bytes=segment.size_bytes,
        needed=segment.counts,
        damage=str(segment.damage) if segment.damage is not None else None,
    )


def _entry(entry: Entry) -> EntryDocument:
    try:
        what = _what(entry)
    except OarlockError as error:
        what = str(error)
    return EntryDocument(entry.index, entry.term, entry.kind, entry.time_ms, len(entry.payload), what)


def _what(entry: Entry) -> str:
    match entry.kind:
        case EntryKind.SENTINEL:
            return "the beginning of a term"
        case EntryKind.CLOCK:
            return "a time"
        case EntryKind.CONFIGURATION:
            return "; ".join(describe_members(decode_configuration(entry)))
        case EntryKind.BATCH:
            slices = decode_batch(entry.payload)
            origins = ", ".join(f"replica {piece.origin}" for piece in slices)
            return f"{sum(len(piece.commands) for piece in slices):,} commands that came to {origins}"
        case _:
            return f"of kind {entry.kind}, which this version does not know"


def describe_members(configuration: Configuration) -> list[str]:
    """A configuration in two lines."""
    roles = {
        "voters": configuration.voters,
        "leaving": tuple(one for one in configuration.outgoing if one not in configuration.voters),
        "learners": configuration.learners,
        "joining": tuple(one.id for one in configuration.joining),
        "left for good": configuration.removed,
    }
    formed = "" if configuration.formed else " (not formed yet)"
    return [
        "members: " + ", ".join(f"{one.id} at {one.address}" for one in configuration.members),
        "; ".join(f"{role}: {', '.join(map(str, ids))}" for role, ids in roles.items() if ids) + formed,
    ]


def _keys(machine: KeyValue) -> dict[str, str]:
    return {_text(key): _abbreviated(value) for key, value in sorted(contents(machine).items())}


def _abbreviated(value: bytes) -> str:
    shown = _text(value[:SHOWN_BYTES])
    return shown if len(value) <= SHOWN_BYTES else f"{shown}… ({len(value):,} bytes)"


def _text(data: bytes) -> str:
    """UTF-8 as it is, but nothing that a terminal would take for a command; all else escaped."""
    text = data.decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
