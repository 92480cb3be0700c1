"""The snapshot file: what was written is read back, or the file is refused by name."""

import asyncio
import errno
from random import Random

import msgspec
import pytest

from oarlock.errors import CorruptSnapshot, StartupError
from oarlock.storage import snapshot, whole_file
from oarlock.storage.disk import is_lack_of_space
from oarlock.storage.snapshot import SnapshotFile, SnapshotWriter
from oarlock.testing.memory_disk import MemoryDisk
from tests.storage.replica import until
from tests.storage.snapshots import PIECES, SNAPSHOTS, header_at, open_store, pieces_of, take

PATH = f"{SNAPSHOTS}/0000000000000007.snapshot"


async def a_snapshot(pieces: list[bytes] = PIECES) -> MemoryDisk:
    disk = MemoryDisk(Random(1))
    await take(disk, await open_store(disk), header_at(7), pieces)
    return disk


def with_contents(data: bytes) -> MemoryDisk:
    disk = MemoryDisk(Random(1))
    asyncio.run(disk.make_directory(SNAPSHOTS))
    asyncio.run(disk.open(PATH, create=True))
    disk.overwrite(PATH, 0, data)
    return disk


async def test_a_snapshot_reads_back() -> None:
    random = Random(1)
    for pieces in ([], PIECES, [random.randbytes(size) for size in (1, 65_536, 3_000_000, 0, 1024 * 1024, 70)]):
        disk = await a_snapshot(pieces)
        assert await pieces_of(disk, PATH) == pieces
        file = await SnapshotFile.open(disk, PATH)
        await file.verify()
        assert file.header == header_at(7)
        assert file.size_bytes == len(disk.contents(PATH))
        assert await file.read_at(10, 1 << 30) == disk.contents(PATH)[10:]
        await file.close()


async def test_a_snapshot_has_its_name_once_it_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_file, "SYNC_BYTES", 2 * 1024 * 1024)
    disk = await a_snapshot([bytes(1024 * 1024)] * 5)
    assert [one for one in disk.operations if one.name not in ("exists", "close", "list")] == [
        ("create", f"{PATH}.tmp"),
        *[("write", f"{PATH}.tmp"), ("write", f"{PATH}.tmp"), ("sync", f"{PATH}.tmp")] * 2,
        ("write", f"{PATH}.tmp"),
        ("write", f"{PATH}.tmp"),
        ("sync", f"{PATH}.tmp"),
        ("rename", PATH),
        ("sync_directory", SNAPSHOTS),
    ], "synced in steps, so that the log's sync never waits long"


def test_a_snapshot_cut_short_anywhere_is_refused_by_name() -> None:
    whole = asyncio.run(a_snapshot()).contents(PATH)
    for length in range(len(whole)):
        with pytest.raises(CorruptSnapshot, match=f"^{PATH} is damaged at offset [0-9]+: "):
            asyncio.run(pieces_of(with_contents(whole[:length]), PATH))
    with pytest.raises(CorruptSnapshot, match=f"^{PATH} is damaged at offset {len(whole)}: something follows its end"):
        asyncio.run(pieces_of(with_contents(whole + b"\0"), PATH))


@pytest.mark.parametrize("flips", [(1,), pytest.param((0x80, 0xFF), marks=pytest.mark.long)])
def test_a_snapshot_with_any_byte_altered_is_refused_by_name(flips: tuple[int, ...]) -> None:
    whole = asyncio.run(a_snapshot()).contents(PATH)
    for at in range(len(whole)):
        for flip in flips:
            altered = bytearray(whole)
            altered[at] ^= flip
            with pytest.raises(CorruptSnapshot, match=f"^{PATH} is damaged at offset [0-9]+: "):
                asyncio.run(pieces_of(with_contents(bytes(altered)), PATH))


async def test_a_piece_in_another_place_or_of_another_snapshot_is_damage() -> None:
    pieces = [b"1" * 100, b"2" * 100, b"3" * 100]
    disk = await a_snapshot(pieces)
    whole = disk.contents(PATH)
    first, second = (whole.index(piece) - 8 for piece in pieces[:2])
    disk.overwrite(PATH, first, whole[second : second + 108])
    with pytest.raises(CorruptSnapshot, match=f"offset {first}: "):
        await pieces_of(disk, PATH)

    other = MemoryDisk(Random(1))
    stored = await take(other, await open_store(other), header_at(8), pieces)
    disk.overwrite(PATH, first, other.contents(stored.path)[first : first + 108])
    with pytest.raises(CorruptSnapshot, match=f"offset {first}: "):
        await pieces_of(disk, PATH)


async def test_a_missing_piece_is_damage() -> None:
    """The file is whole as far as checksums tell, but for what its end says."""
    disk = await a_snapshot([b"one"])
    forged = await SnapshotWriter.create(disk, PATH, header_at(7))
    forged._payload_bytes = 5
    await forged.add(b"one")
    await forged.finish()
    with pytest.raises(CorruptSnapshot, match="not those that its end promises"):
        await pieces_of(disk, PATH)


async def test_a_snapshot_of_another_cluster_is_refused() -> None:
    disk = await a_snapshot()
    with pytest.raises(StartupError, match=f"^{PATH} is a snapshot of cluster c1, and this replica is of cluster c2"):
        await SnapshotFile.open(disk, PATH, "c2")
    with pytest.raises(StartupError, match="the files of two clusters are mixed up"):
        await open_store(disk, "c2")


async def test_a_newer_snapshot_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(snapshot, "FORMAT_VERSION", 2)
        disk = await a_snapshot()
    with pytest.raises(StartupError, match=f"^{PATH} was written by a newer Oarlock") as refusal:
        await open_store(disk)
    assert not isinstance(refusal.value, CorruptSnapshot), "it is not damaged, and an older one is no way out"


async def test_a_header_whose_checksum_is_right_and_whose_text_is_not_is_damage() -> None:
    body = msgspec.msgpack.encode({"cluster_id": 5})
    disk = await a_snapshot()
    disk.overwrite(PATH, 0, snapshot.with_prologue(b"oarsnapl", 1, body))
    with pytest.raises(CorruptSnapshot, match="offset 0: "):
        await pieces_of(disk, PATH)


@pytest.mark.parametrize("room", range(0, 3_200_000, 400_000))
async def test_scenario_39_a_full_disk_leaves_nothing_of_a_snapshot_and_says_so(room: int) -> None:
    disk = MemoryDisk(Random(1))
    store = await open_store(disk)
    disk.capacity_bytes = room
    with pytest.raises(OSError, match="there is no room for all of the file") as error:
        await take(disk, store, header_at(7), [b"x" * 100_000] * 32)
    assert is_lack_of_space(error.value)
    assert (disk.paths(), store.all) == ([], ())
    disk.capacity_bytes = None
    await take(disk, store, header_at(7), [b"x" * 100_000] * 32)


@pytest.mark.parametrize("operation", ["create", "write", "sync"])
async def test_any_other_error_leaves_nothing_of_a_snapshot_either(operation: str) -> None:
    disk = MemoryDisk(Random(1))
    store = await open_store(disk)
    disk.fail_next(operation, errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as error:
        await take(disk, store, header_at(7))
    assert not is_lack_of_space(error.value)
    assert not store.all
    assert not (await open_store(disk)).all


async def test_a_snapshot_that_is_given_up_is_gone() -> None:
    disk = MemoryDisk(Random(1))
    store = await open_store(disk)
    writer = await SnapshotWriter.create(disk, store.path_for(header_at(7).point), header_at(7))
    await writer.add(b"x" * 2_000_000)
    assert disk.paths()
    await writer.abort()
    await writer.abort()
    assert not disk.paths()


async def test_a_cancelled_snapshot_is_gone() -> None:
    disk = MemoryDisk(Random(1))
    store = await open_store(disk)
    disk.stall_next("write", ".tmp")
    taking = asyncio.create_task(take(disk, store, header_at(7)))
    await until(lambda: bool(disk.paths()))
    for _ in range(10):
        await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert not disk.paths()
