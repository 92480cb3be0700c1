"""A data directory on a memory disk, in the words that the scenarios are told in."""

import asyncio
from collections.abc import Callable
from random import Random

from oarlock.storage.disk import SECTOR_BYTES, Disk
from oarlock.storage.identity import Identity, initialise, load_identity
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.wal import DurableState, Wal
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Entry, EntryKind, Index, ReplicaId, Term

DIRECTORY = "/data"
WAL = "/data/wal"
MEMBERS = {ReplicaId(1): "a:7001", ReplicaId(2): "b:7001", ReplicaId(3): "c:7001"}
SEGMENT_BYTES = 8 * SECTOR_BYTES


def entry(index: int, term: int = 1, payload: bytes | None = None) -> Entry:
    payload = b"command %d" % index if payload is None else payload
    return Entry(Index(index), Term(term), EntryKind.BATCH, index * 10, payload)


def entries(first: int, last: int, term: int = 1, payload: bytes | None = None) -> list[Entry]:
    return [entry(index, term, payload) for index in range(first, last + 1)]


def large(random: Random, sectors: int) -> bytes:
    """Bytes that fill so many sectors, none of them blank."""
    return random.randbytes(sectors * SECTOR_BYTES)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (any condition will do)
            await asyncio.sleep(0)


async def new_replica(disk: MemoryDisk, replica: int = 1, incarnation: int = 4711) -> Identity:
    return await initialise(
        disk,
        DIRECTORY,
        replica=ReplicaId(replica),
        members=MEMBERS,
        cluster_name="test",
        incarnation=incarnation,
    )


async def start(disk: MemoryDisk, segment_bytes: int = SEGMENT_BYTES) -> tuple[Wal, DurableState]:
    return await open_log(disk, DIRECTORY, await load_identity(disk, DIRECTORY), segment_bytes)


async def open_log(disk: Disk, directory: str, identity: Identity, segment_bytes: int) -> tuple[Wal, DurableState]:
    snapshots = await SnapshotStore.open(disk, directory, identity.cluster_id)
    return await Wal.open(disk, directory, identity, snapshots, segment_bytes=segment_bytes)


async def append(wal: Wal, term: int, vote: int, *new: Entry) -> None:
    await wal.append(Term(term), ReplicaId(vote), new)


def known(state: DurableState) -> tuple[int, int, list[Entry]]:
    """All that a restart must bring back."""
    return state.term, state.vote, state.entries


def newest_segment(disk: MemoryDisk) -> str:
    return [path for path in disk.paths() if path.endswith(".wal")][-1]


def used_bytes(disk: MemoryDisk, path: str) -> int:
    """Up to the end of the last sector that holds anything."""
    return -(-len(disk.contents(path).rstrip(b"\0")) // SECTOR_BYTES) * SECTOR_BYTES
