"""Data directories with keys in them, made as a replica would, and looked at while none runs."""

import asyncio
import struct
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from crc32c import crc32c

from oarlock.cli.offline import contents
from oarlock.core.membership import encode_configuration
from oarlock.kv import KeyValue
from oarlock.node.batch import encode_batch
from oarlock.node.snapshots import encode_node_state
from oarlock.state_machine import Position
from oarlock.storage.disk import Disk
from oarlock.storage.identity import Identity, initialise, load_identity
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader, SnapshotWriter
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.wal import DurableState, Wal
from oarlock.types import Boot, Configuration, Entry, EntryKind, Index, Member, ReplicaId, Slice, SnapshotPoint, Term

MEMBERS = {ReplicaId(n): f"127.0.0.1:{7400 + n}" for n in (1, 2, 3)}
FORMED = Configuration(tuple(Member(n, address, 100 + n) for n, address in MEMBERS.items()), tuple(MEMBERS))
SEGMENT_BYTES = 8 * 4096
TERM = Term(5)
T = TypeVar("T")


def now(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def entry(index: int) -> Entry:
    """The first one forms the cluster; every other one sets a key."""
    if index == 1:
        return Entry(Index(1), TERM, EntryKind.CONFIGURATION, 10, encode_configuration(FORMED))
    piece = Slice(ReplicaId(1 + index % 3), Boot(1), index, ((b"SET", b"k:%03d" % index, b"v%d" % index),))
    return Entry(Index(index), TERM, EntryKind.BATCH, 10 * index, encode_batch([piece]))


def keys_at(index: int) -> dict[bytes, bytes]:
    """What the state holds after the entry of this index."""
    return {b"k:%03d" % n: b"v%d" % n for n in range(2, index + 1)}


def state_at(index: int) -> KeyValue:
    machine = KeyValue()
    for n in range(2, index + 1):
        machine.apply([(b"SET", b"k:%03d" % n, b"v%d" % n)], Position(Index(n), 10 * n))
    return machine


def image(machine: KeyValue) -> list[bytes]:
    """All that a machine is: keys, versions, log time."""
    return list(machine.snapshot())


async def write_snapshot(disk: Disk, path: str, cluster_id: str, index: int) -> tuple[SnapshotHeader, int]:
    header = SnapshotHeader(
        cluster_id=cluster_id,
        cluster_name="orders",
        point=SnapshotPoint(Index(index), TERM, 10 * index, FORMED),
        node=encode_node_state({ReplicaId(1): (Boot(1), TERM, 7)}),
    )
    writer = await SnapshotWriter.create(disk, path, header)
    for piece in state_at(index).snapshot():
        await writer.add(piece)
    return header, await writer.finish()


async def a_replica(disk: Disk, directory: str, last: int, snapshots: tuple[int, ...] = ()) -> Identity:
    """A directory whose log ends with entry ``last``, and that has snapshots at these indexes."""
    identity = await initialise(
        disk, directory, replica=ReplicaId(1), members=MEMBERS, cluster_name="orders", incarnation=101
    )
    store = await SnapshotStore.open(disk, directory, identity.cluster_id)
    wal, _ = await Wal.open(disk, directory, identity, store, segment_bytes=SEGMENT_BYTES)
    for index in range(1, last + 1):
        await wal.append(TERM, ReplicaId(2), [entry(index)])
        if index in snapshots:
            path = store.path_for(SnapshotPoint(Index(index), TERM, 0, FORMED))
            await store.added(*await write_snapshot(disk, path, identity.cluster_id, index))
            wal.release(store.log_needed_after)
    await wal.close()
    return identity


async def started(disk: Disk, directory: str) -> tuple[Identity, DurableState, dict[bytes, bytes]]:
    """What a replica finds that starts there: who it is, its log, and the keys of its snapshot."""
    identity = await load_identity(disk, directory)
    store = await SnapshotStore.open(disk, directory, identity.cluster_id)
    wal, state = await Wal.open(disk, directory, identity, store, segment_bytes=SEGMENT_BYTES)
    await wal.close()
    machine = KeyValue()
    if state.snapshot is not None:
        machine = await machine_of(disk, state.snapshot_path)
    return identity, state, contents(machine)


async def machine_of(disk: Disk, path: str) -> KeyValue:
    machine = KeyValue()
    file = await SnapshotFile.open(disk, path)
    try:
        await machine.restore(file.pieces())
    finally:
        await file.close()
    return machine


def a_directory(path: Path, last: int = 40, snapshots: tuple[int, ...] = (10, 20)) -> Identity:
    return now(a_replica(OsDisk(), str(path), last, snapshots))


def a_backup(path: Path, index: int = 30, cluster_id: str = "0123456789abcdef") -> Path:
    now(write_snapshot(OsDisk(), str(path), cluster_id, index))
    return path


def files(root: Path) -> Mapping[str, tuple[bytes, int]]:
    """All that is below, to see whether anything has changed."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else (b"", 0)
        for path in sorted(root.rglob("*"))
    }


def with_version(data: bytes, version: int) -> bytes:
    """A file with a prologue, as a program of this format version would have begun it."""
    fields = struct.pack("<8sI", data[:8], version) + data[12:20]
    return fields + struct.pack("<I", crc32c(fields)) + data[24:]
