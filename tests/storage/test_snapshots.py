"""The store of snapshots: which are kept, which count, and how one arrives."""

import errno
from random import Random

import pytest

from oarlock.errors import CorruptSnapshot, StartupError
from oarlock.storage.snapshots import Receiving, SnapshotStore
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Index, Term
from tests.storage.snapshots import CLUSTER, PIECES, SNAPSHOTS, header_at, indexes, open_store, pieces_of, take


async def a_store(*taken: int) -> tuple[MemoryDisk, SnapshotStore]:
    disk = MemoryDisk(Random(1))
    store = await open_store(disk)
    for index in taken:
        await take(disk, store, header_at(index))
    return disk, store


async def test_the_newest_two_are_kept() -> None:
    disk, store = await a_store()
    assert (store.newest, store.log_needed_after) == (None, 0)
    for taken, kept, needed in ((5, [5], 0), (9, [9, 5], 5), (100, [100, 9], 9), (101, [101, 100], 100)):
        stored = await take(disk, store, header_at(taken))
        assert store.newest == stored
        assert (indexes(store), store.log_needed_after) == (kept, needed)
        assert disk.paths() == [store.path_for(one.header.point) for one in reversed(store.all)]
        again = await open_store(disk)
        assert again.all == store.all


async def test_an_older_one_goes_only_when_the_newer_one_is_durable() -> None:
    disk, store = await a_store(1, 2)
    disk.operations.clear()
    await take(disk, store, header_at(3))
    done = [one.name for one in disk.operations]
    assert done.index("sync") < done.index("rename") < done.index("sync_directory") < done.index("remove")


async def test_a_pinned_one_stays_as_long_as_somebody_needs_it() -> None:
    disk, store = await a_store(1, 2)
    store.pin(Index(1))
    store.pin(Index(1))
    await take(disk, store, header_at(3))
    assert (indexes(store), store.log_needed_after) == ([3, 2, 1], 2)
    store.unpin(Index(1))
    await store.forget_old()
    assert indexes(store) == [3, 2, 1]
    store.unpin(Index(1))
    await store.forget_old()
    assert indexes(store) == [3, 2]
    assert len(disk.paths()) == 2


async def test_one_that_cannot_be_removed_is_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    disk, store = await a_store(1, 2)
    disk.fail_next("remove", errno.EIO)
    await take(disk, store, header_at(3))
    assert indexes(store) == [3, 2]
    assert "an old snapshot cannot be removed" in caplog.text


async def test_scenario_20_what_was_never_finished_is_removed() -> None:
    disk, _ = await a_store(1)
    for name in ("0000000000000002.snapshot.tmp", "received-1.tmp"):
        await disk.open(f"{SNAPSHOTS}/{name}", create=True)
    await disk.open(f"{SNAPSHOTS}/notes.txt", create=True)
    assert indexes(await open_store(disk)) == [1]
    assert [path for path in disk.paths() if path.endswith(".tmp")] == []
    assert f"{SNAPSHOTS}/notes.txt" in disk.paths()


async def test_a_name_that_a_killed_process_gave_is_durable_before_it_counts() -> None:
    for seed in range(20):
        disk = MemoryDisk(Random(seed))
        store = await open_store(disk)
        disk.fail_next("sync_directory", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            await take(disk, store, header_at(7))
        disk = disk.kill()
        assert indexes(await open_store(disk)) == [7]
        assert indexes(await open_store(disk.lose_power())) == [7]


@pytest.mark.parametrize("bit", [0, 8 * 40, 8 * 300, -8 * 20])
async def test_a_damaged_newest_one_does_not_count(bit: int) -> None:
    disk, store = await a_store(1, 2)
    path = store.all[0].path
    disk.flip_bit(path, bit % (8 * len(disk.contents(path))))
    store = await open_store(disk)
    whole = await store.find_whole()
    assert whole is not None
    assert (whole.header, indexes(store)) == (header_at(1), [1])
    assert [str(damage).startswith(f"{path} is damaged at offset ") for damage in store.damage.values()] == [True]
    assert path in disk.paths(), "somebody may want to look at it"
    await take(disk, store, header_at(3))
    assert (indexes(store), store.log_needed_after) == ([3, 1], 1)
    assert path not in disk.paths()


async def test_a_damaged_one_is_replaced_by_one_of_the_same_index() -> None:
    disk, store = await a_store(1, 2)
    path = store.all[0].path
    disk.flip_bit(path, 8 * 300)
    store = await open_store(disk)
    await store.find_whole()
    await take(disk, store, header_at(2))
    assert indexes(store) == [2, 1]
    assert await pieces_of(disk, path) == PIECES


async def test_all_damaged_leaves_none() -> None:
    disk, store = await a_store(1, 2)
    for stored in store.all:
        disk.flip_bit(stored.path, 8 * 300)
    store = await open_store(disk)
    assert (await store.find_whole(), store.all, len(store.damage)) == (None, (), 2)


async def test_one_under_another_ones_name_is_damage() -> None:
    disk, store = await a_store(1)
    stored = store.all[0]
    await disk.rename(stored.path, store.path_for(header_at(8).point))
    store = await open_store(disk)
    assert store.all == ()
    assert "it is of index 1, and its name says 8" in str(*store.damage.values())


# Receiving


async def a_snapshot_elsewhere(index: int = 7, cluster: str = CLUSTER) -> bytes:
    disk = MemoryDisk(Random(1))
    stored = await take(disk, await open_store(disk, cluster), header_at(index, cluster_id=cluster), [b"x" * 900] * 9)
    return disk.contents(stored.path)


async def receive(store: SnapshotStore, data: bytes) -> Receiving:
    receiving = await store.receive(len(data))
    for at in range(0, len(data), 1000):
        assert not receiving.complete
        assert receiving.received_bytes == at
        await receiving.write(at, data[at : at + 1000])
    assert receiving.complete
    return receiving


async def test_a_received_snapshot_is_verified_and_kept() -> None:
    data = await a_snapshot_elsewhere()
    disk, store = await a_store(1, 2)
    receiving = await receive(store, data)
    assert indexes(store) == [2, 1]
    stored = await receiving.finish(Index(7), Term(1))
    assert (stored.header, stored.size_bytes) == (header_at(7), len(data))
    assert store.newest == stored
    assert indexes(store) == [7, 2]
    assert disk.contents(stored.path) == data
    await receiving.abort()
    assert indexes(await open_store(disk.lose_power()))[:2] == [7, 2], "durable"


async def test_what_arrives_twice_or_too_early_or_beyond_the_end_changes_nothing() -> None:
    data = await a_snapshot_elsewhere()
    disk, store = await a_store()
    receiving = await store.receive(len(data))
    for offset, size, received in (
        (5, 10, 0), (0, 100, 100), (0, 100, 100), (50, 100, 150), (50, 20, 150), (200, 100, 150), (150, 0, 150),
    ):  # fmt: skip
        await receiving.write(offset, data[offset : offset + size])
        assert receiving.received_bytes == received
    await receiving.write(150, data[150:] + b"more")
    await receiving.write(len(data), b"more")
    stored = await receiving.finish(Index(7), Term(1))
    assert disk.contents(stored.path) == data


async def test_a_received_snapshot_that_is_damaged_or_another_one_is_refused_and_gone() -> None:
    data = await a_snapshot_elsewhere()
    disk, store = await a_store()
    for received, index, term in (
        (data[:5000] + b"?" + data[5001:], 7, 1),
        (data[:-1], 7, 1),
        (b"", 7, 1),
        (data, 8, 1),
        (data, 7, 2),
    ):
        receiving = await receive(store, received) if received else await store.receive(len(data))
        with pytest.raises(CorruptSnapshot):
            await receiving.finish(Index(index), Term(term))
        assert (disk.paths(), store.all) == ([], ())
    receiving = await receive(store, await a_snapshot_elsewhere(cluster="c2"))
    with pytest.raises(StartupError, match="cluster c2"):
        await receiving.finish(Index(7), Term(1))
    assert (disk.paths(), store.all) == ([], ())


async def test_two_may_arrive_at_once_and_one_may_be_given_up() -> None:
    data = await a_snapshot_elsewhere()
    disk, store = await a_store()
    given_up = await store.receive(len(data))
    await given_up.write(0, data[:500])
    receiving = await receive(store, data)
    await given_up.abort()
    await receiving.finish(Index(7), Term(1))
    assert disk.paths() == [store.path_for(header_at(7).point)]


async def test_scenario_39_a_full_disk_leaves_nothing_of_what_was_received() -> None:
    data = await a_snapshot_elsewhere()
    disk, store = await a_store()
    disk.capacity_bytes = 5000
    with pytest.raises(OSError, match="there is no room for all of the file"):
        await receive(store, data)
    assert (disk.paths(), store.all) == ([], ())
