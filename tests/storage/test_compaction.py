"""The log gives space back: behind snapshots, and when a received one replaces it."""

from random import Random

import pytest

from oarlock.errors import CorruptLog, CorruptSnapshot
from oarlock.storage.wal import DurableState, Wal
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Index, ReplicaId, Term
from tests.storage.replica import append, entries, entry, known, new_replica, start, until
from tests.storage.snapshots import header_at, open_store, take


async def a_replica() -> tuple[MemoryDisk, Wal, str]:
    disk = MemoryDisk(Random(1))
    identity = await new_replica(disk)
    wal, _ = await start(disk)
    return disk, wal, identity.cluster_id


def segments(disk: MemoryDisk) -> list[str]:
    return [path for path in disk.paths() if path.endswith(".wal")]


def base(state: DurableState) -> tuple[int, int, int]:
    return state.base_index, state.base_term, state.base_time_ms


async def test_what_two_snapshots_hold_is_given_back_when_the_next_segment_has_begun() -> None:
    disk, wal, cluster = await a_replica()
    store = await open_store(disk, cluster)
    for index in range(1, 41):
        await append(wal, 1, 0, entry(index))
    before = segments(disk)
    for index in (20, 30):
        await take(disk, store, header_at(index, cluster_id=cluster))
    assert store.log_needed_after == 20
    wal.release(store.log_needed_after)
    assert segments(disk) == before, "by itself it costs nothing"
    while segments(disk)[-1] == before[-1]:
        await append(wal, 1, 0)
    await until(lambda: before[0] not in segments(disk))
    await wal.close()

    wal, state = await start(disk)
    first = state.entries[0].index
    assert 1 < first - 1 <= 20
    assert state.entries == entries(first, 40)
    assert base(state) == (first - 1, 1, 10 * (first - 1)), "the entry before the first that is there"
    assert state.snapshot == header_at(30, cluster_id=cluster)
    assert state.snapshot_path == store.path_for(state.snapshot.point)
    assert state.configuration == state.snapshot.point.configuration
    await wal.close()


async def test_scenario_21_a_received_snapshot_replaces_the_log() -> None:
    disk, wal, cluster = await a_replica()
    await append(wal, 1, 2, *entries(1, 5))
    before = segments(disk)
    store = await open_store(disk, cluster)
    await take(disk, store, header_at(100, 7, cluster))
    await wal.append(Term(8), ReplicaId(3), (), base=(Index(100), Term(7)))
    await until(lambda: not set(before) & set(segments(disk)))
    for _ in range(2):
        await wal.close()
        wal, state = await start(disk)
        assert known(state) == (8, 3, [])
        assert base(state) == (100, 7, 1000)
    await append(wal, 8, 3, *entries(101, 102, 8))
    await wal.close()
    wal, state = await start(disk)
    assert known(state) == (8, 3, entries(101, 102, 8))
    assert base(state) == (100, 7, 1000)


async def test_scenario_21_a_crash_between_the_snapshot_and_the_log_drops_the_log() -> None:
    for index, term in ((100, 7), (4, 3)):
        disk, wal, cluster = await a_replica()
        await append(wal, 1, 2, *entries(1, 5))
        await take(disk, await open_store(disk, cluster), header_at(index, term, cluster))
        for _ in range(2):
            wal, state = await start(disk)
            assert known(state) == (term, 0, []), "and no replica is in a term before that of an entry it knows"
            assert base(state) == (index, term, 10 * index)
        await append(wal, 9, 1, entry(index + 1, 9))
        _, state = await start(disk)
        assert known(state) == (9, 1, [entry(index + 1, 9)])


async def test_scenario_19_a_gap_between_snapshot_and_log_is_refused() -> None:
    disk, wal, cluster = await a_replica()
    await wal.append(Term(8), ReplicaId(3), entries(101, 102, 8), base=(Index(100), Term(7)))
    await wal.close()
    with pytest.raises(CorruptLog, match="begins with entry 101, and no whole snapshot reaches up to there"):
        await start(disk)
    store = await open_store(disk, cluster)
    await take(disk, store, header_at(99, 7, cluster))
    with pytest.raises(CorruptLog, match="begins with entry 101"):
        await start(disk)
    stored = await take(disk, store, header_at(100, 7, cluster))
    _, state = await start(disk)
    assert (known(state), base(state)) == ((8, 3, entries(101, 102, 8)), (100, 7, 1000))
    disk.flip_bit(stored.path, 8 * 200)
    with pytest.raises(CorruptSnapshot, match=f"^{stored.path} is damaged at offset .*; the log in .* entry 101"):
        await start(disk)
