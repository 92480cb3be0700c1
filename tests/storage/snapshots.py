"""Snapshots in the words that the scenarios are told in."""

from collections.abc import Sequence

from oarlock.storage.disk import Disk
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader, SnapshotWriter
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Configuration, Index, Member, ReplicaId, SnapshotPoint, Term
from tests.storage.replica import DIRECTORY, MEMBERS

SNAPSHOTS = "/data/snapshots"
CLUSTER = "c1"
PIECES = [b"first", b"", b"x" * 300, b"last"]


def header_at(index: int, term: int = 1, cluster_id: str = CLUSTER) -> SnapshotHeader:
    """Of a snapshot whose configuration tells which one it is."""
    members = tuple(Member(id, address, index) for id, address in MEMBERS.items())
    configuration = Configuration(members, tuple(MEMBERS), removed=(ReplicaId(100 + index),))
    point = SnapshotPoint(Index(index), Term(term), index * 10, configuration)
    return SnapshotHeader(cluster_id=cluster_id, cluster_name="test", point=point, node=b"node")


async def open_store(disk: MemoryDisk, cluster_id: str = CLUSTER) -> SnapshotStore:
    return await SnapshotStore.open(disk, DIRECTORY, cluster_id)


async def take(
    disk: Disk, store: SnapshotStore, header: SnapshotHeader, pieces: Sequence[bytes] = PIECES
) -> StoredSnapshot:
    """Take a snapshot as a node does."""
    writer = await SnapshotWriter.create(disk, store.path_for(header.point), header)
    for piece in pieces:
        await writer.add(piece)
    return await store.added(header, await writer.finish())


async def pieces_of(disk: Disk, path: str) -> list[bytes]:
    file = await SnapshotFile.open(disk, path)
    try:
        return [piece async for piece in file.pieces()]
    finally:
        await file.close()


def indexes(store: SnapshotStore) -> list[int]:
    return [one.header.point.index for one in store.all]
