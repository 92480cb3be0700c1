"""The state of the key-value machine without a replica: made from what lies on a disk, and given to a new cluster."""

import hashlib
from collections.abc import Generator
from typing import cast

from oarlock.cli.progress import Progress
from oarlock.core.membership import decode_configuration
from oarlock.errors import StartupError
from oarlock.kv import KeyValue
from oarlock.kv.queries import drained
from oarlock.node.applier import Applier
from oarlock.node.snapshots import encode_node_state
from oarlock.node.writes import Writes
from oarlock.state_machine import Position
from oarlock.storage.at_rest import DirectoryAtRest
from oarlock.storage.base import Footing
from oarlock.storage.disk import Disk
from oarlock.storage.identity import Identity, InitialState
from oarlock.storage.snapshot import CHUNK_BYTES, SnapshotFile, SnapshotHeader
from oarlock.types import Boot, Configuration, EntryKind, Index, SnapshotPoint


async def read_snapshot(disk: Disk, path: str) -> tuple[SnapshotHeader, KeyValue]:
    """The header of a snapshot, and the state in it. All of it has been read and is whole.

    :raises CorruptSnapshot: it is damaged
    :raises StartupError: it was written by a newer program, or is no key-value machine's
    """
    machine = KeyValue()
    file = await SnapshotFile.open(disk, path)
    try:
        await machine.restore(Progress("Read", file.size_bytes).through_async(file.pieces()))
    except ValueError as error:
        raise StartupError(f"{path} cannot be understood by this version: {error}") from error
    finally:
        await file.close()
    return file.header, machine


async def checksum_of(disk: Disk, path: str) -> str:
    """The SHA-256 of a file."""
    checksum = hashlib.sha256()
    file = await disk.open(path)
    try:
        for offset in range(0, await file.size(), CHUNK_BYTES):
            checksum.update(await file.read_at(offset, CHUNK_BYTES))
    finally:
        await file.close()
    return checksum.hexdigest()


async def last_state(disk: Disk, found: DirectoryAtRest, footing: Footing) -> KeyValue:
    """The state after all entries that are there, committed or not: nobody knows that of the last ones.

    :raises StartupError: as of :func:`read_snapshot`
    :raises ReplicaFailed: an entry cannot be understood by this version
    """
    machine, restored = KeyValue(), Index(0)
    if footing.snapshot is not None:
        header, machine = await read_snapshot(disk, footing.snapshot.path)
        restored = header.point.index
    applier = Applier(machine, Writes(found.identity.replica, Boot(0)))  # nobody waits for any of them
    applier.apply([entry for entry in footing.entries if entry.index > restored])
    return machine


def last_point(footing: Footing, configuration: Configuration) -> SnapshotPoint:
    """Where that state stands."""
    last = footing.entries[-1] if footing.entries else footing.base
    return SnapshotPoint(last.index, last.term, last.time_ms, configuration)


def last_configuration(found: DirectoryAtRest, footing: Footing) -> Configuration:
    """The configuration in force at the end of the log."""
    configuration = found.identity.configuration
    if footing.snapshot is not None:
        configuration = footing.snapshot.header.point.configuration
    for entry in footing.entries:
        if entry.kind == EntryKind.CONFIGURATION:
            configuration = decode_configuration(entry)
    return configuration


def initial_state(machine: KeyValue, point: SnapshotPoint) -> InitialState:
    """What a new cluster begins with. It knows of no replica's last slice (``origins``): they tell a replica which of
    its own undecided commands a snapshot holds, and no replica of the new cluster has brought any yet."""
    return InitialState(point, encode_node_state({}), Progress("Written").through(machine.snapshot()))


def contents(machine: KeyValue) -> dict[bytes, bytes]:
    """All keys with their values."""
    at = Position(Index(0), 0)  # which decides neither
    (found,) = machine.query([(b"KEYS", b"*")], at)
    keys: list[bytes] = cast("list[bytes]", drained(found)) if isinstance(found, Generator) else found
    (values,) = machine.query([(b"MGET", *keys)], at)
    return dict(zip(keys, values, strict=True))


def describe(identity: Identity) -> str:
    """Which replica it is, in words."""
    return f"replica {identity.replica} of cluster {identity.cluster_name} ({identity.cluster_id})"
