"""The log gives space back: behind snapshots, and when a received one replaces it."""

import errno
from pathlib import Path
from random import Random

import msgspec
import pytest

from oarlock.errors import CorruptLog, CorruptSnapshot
from oarlock.storage.identity import load_identity
from oarlock.storage.segment import encode_header, read_header
from oarlock.storage.wal import DurableState, Wal
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import Index, ReplicaId, Term
from tests.storage.replica import DIRECTORY, append, entries, entry, known, new_replica, start, until
from tests.storage.snapshots import header_at, open_store, take

VERSION_1 = Path(__file__).parent / "data" / "version-1"
"""A data directory that a program wrote which knew format 1 only."""


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


async def test_a_damaged_newest_snapshot_is_noted_and_the_log_reaches_back_to_the_one_before_it() -> None:
    disk, wal, cluster = await a_replica()
    store = await open_store(disk, cluster)
    for index in range(1, 61):
        await append(wal, 1, 0, entry(index))
        if index % 20 == 0:
            await take(disk, store, header_at(index, cluster_id=cluster))
            wal.release(store.log_needed_after)
    await wal.close()
    newest, older = store.all
    disk.flip_bit(newest.path, 8 * 300)
    for _ in range(2):
        wal, state = await start(disk)
        assert state.snapshot == older.header
        assert state.snapshot_path == older.path
        assert state.base_index <= 40
        assert state.entries == entries(state.base_index + 1, 60)
        assert [note.startswith(f"{newest.path} is damaged at offset ") for note in state.notes] == [True]
        await wal.close()
    disk.flip_bit(older.path, 8 * 300)
    with pytest.raises(CorruptSnapshot, match=f"^{newest.path} is damaged at offset .*no whole snapshot"):
        await start(disk)


async def test_damaged_snapshots_cost_nothing_while_the_log_has_its_beginning() -> None:
    disk, wal, cluster = await a_replica()
    store = await open_store(disk, cluster)
    await append(wal, 1, 2, *entries(1, 9))
    for index in (5, 8):
        stored = await take(disk, store, header_at(index, cluster_id=cluster))
        disk.flip_bit(stored.path, 8 * 300)
    _, state = await start(disk)
    assert known(state) == (1, 2, entries(1, 9))
    assert (base(state), state.snapshot, state.snapshot_path, len(state.notes)) == ((0, 0, 0), None, "", 2)
    assert state.configuration.removed == ()


async def test_a_snapshot_beside_a_whole_log_leaves_all_entries() -> None:
    disk, wal, cluster = await a_replica()
    await append(wal, 1, 2, *entries(1, 9))
    await take(disk, await open_store(disk, cluster), header_at(6, cluster_id=cluster))
    _, state = await start(disk)
    assert (known(state), base(state)) == ((1, 2, entries(1, 9)), (0, 0, 0))
    assert state.snapshot is not None


async def a_compacted_log() -> tuple[MemoryDisk, Wal, str]:
    """With a snapshot at 20, entries up to 40, and the older files just released."""
    disk, wal, cluster = await a_replica()
    for index in range(1, 41):
        await append(wal, 1, 0, entry(index))
    store = await open_store(disk, cluster)
    await take(disk, store, header_at(20, cluster_id=cluster))
    wal.release(Index(20))
    return disk, wal, cluster


async def fill_segment(disk: MemoryDisk, wal: Wal) -> str:
    """The segment that comes next."""
    before = segments(disk)[-1]
    while segments(disk)[-1] == before:
        await append(wal, wal._term, wal._vote)
    return segments(disk)[-1]


async def test_older_segments_go_only_when_the_header_that_does_without_them_is_durable() -> None:
    disk, wal, _ = await a_compacted_log()
    oldest = segments(disk)[0]
    disk.operations.clear()
    named = await fill_segment(disk, wal)
    await until(lambda: oldest not in segments(disk))
    await wal.close()
    done = [one for one in disk.operations if not one.path.endswith("spare.tmp")]
    assert done.index(("rename", named)) < done.index(("remove", oldest))
    between = done[done.index(("rename", named)) : done.index(("remove", oldest))]
    assert ("sync_directory", "/data/wal") in between


async def test_no_append_waits_for_a_removal() -> None:
    disk, wal, _ = await a_compacted_log()
    oldest = segments(disk)[0]
    go_on = disk.stall_next("remove", oldest)
    await fill_segment(disk, wal)
    await append(wal, 1, 0, entry(41))
    await fill_segment(disk, wal)
    count = len(segments(disk))
    go_on.set()
    await wal.close()
    assert oldest not in disk.paths(), "closing does"
    assert len(segments(disk)) < count


async def test_a_segment_that_cannot_be_removed_is_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    disk, wal, _ = await a_compacted_log()
    oldest, second = segments(disk)[:2]
    disk.fail_next("remove", errno.EIO, second)
    await fill_segment(disk, wal)
    await wal.close()
    assert oldest not in disk.paths()
    assert "an old segment of the log cannot be removed" in caplog.text
    await disk.open(oldest, create=True)  # it came back with a failure of power, or so
    disk.overwrite(oldest, 0, b"garbage")
    wal, state = await start(disk)
    assert state.entries == entries(state.base_index + 1, 40)
    assert oldest not in disk.paths()
    await wal.close()


async def test_a_missing_oldest_segment_is_damage() -> None:
    disk, wal, _ = await a_compacted_log()
    await fill_segment(disk, wal)
    await wal.close()
    oldest = segments(disk)[0]
    await disk.remove(oldest)
    with pytest.raises(CorruptLog, match=f"{oldest} is damaged at offset 0: the file is missing"):
        await start(disk)


async def test_a_log_that_ends_before_it_should_begin_is_damage() -> None:
    disk, wal, _ = await a_compacted_log()
    await wal.close()
    path = segments(disk)[-1]
    header, _ = await read_header(await disk.open(path), path)
    disk.overwrite(path, 0, encode_header(msgspec.structs.replace(header, previous=None, oldest=header.number - 1)))
    with pytest.raises(CorruptLog, match=f"the log begins there, and not with segment {header.number - 1}"):
        await start(disk)


async def test_entries_that_were_replaced_across_segments_do_not_mislead() -> None:
    """A segment may begin in the middle of what a later one replaces from further back."""
    disk, wal, cluster = await a_replica()
    payload = Random(1).randbytes(9000)  # two to a segment
    for index in range(1, 22):
        await append(wal, 1, 0, entry(index, 1, payload))
    await append(wal, 2, 0, *entries(12, 14, 2))
    for index in range(15, 31):
        await append(wal, 2, 0, entry(index, 2, payload))
    store = await open_store(disk, cluster)
    await take(disk, store, header_at(15, 2, cluster))
    await wal.close()
    for released in range(1, 16):
        copy = disk.kill()
        disk = MemoryDisk(Random(1))
        await disk.make_directory("/data/wal")
        await disk.make_directory("/data/snapshots")
        for path in copy.paths():
            await disk.open(path, create=True)
            disk.overwrite(path, 0, copy.contents(path))
        wal, _ = await start(disk)
        wal.release(Index(released))
        await fill_segment(disk, wal)
        await wal.close()
        wal, state = await start(disk)
        assert state.base_index <= released + 1
        expected = entries(1, 11, 1, payload) + entries(12, 14, 2) + entries(15, 30, 2, payload)
        assert state.entries == expected[state.base_index :]
        await wal.close()
        disk = copy


async def test_the_first_frame_of_a_new_segment_does_without_none_of_what_it_replaces() -> None:
    """All before it is released, but until the frame is durable the entries that it replaces still count."""
    disk, wal, cluster = await a_replica()
    await append(wal, 1, 0, *entries(1, 30))
    await take(disk, await open_store(disk, cluster), header_at(10, cluster_id=cluster))
    wal.release(Index(10))
    disk.power_fails_in_next("write", "0003.wal")
    with pytest.raises(PowerFailure):
        while True:
            await append(wal, 1, 0, *entries(11, 11, 1, bytes(20_000)))
    _, state = await start(disk.lose_power())
    assert state.entries[10:] in (entries(11, 30), entries(11, 11, 1, bytes(20_000)))


async def test_a_torn_first_frame_after_a_reset_is_dropped() -> None:
    disk, wal, cluster = await a_replica()
    await append(wal, 1, 0, *entries(1, 5))
    await take(disk, await open_store(disk, cluster), header_at(100, 7, cluster))
    await wal.append(Term(8), ReplicaId(3), (), base=(Index(100), Term(7)))
    await append(wal, 9, 1, entry(101, 9, Random(1).randbytes(9000)))
    path = segments(disk)[-1]
    disk.overwrite(path, 2 * 4096, bytes(4096))
    for _ in range(2):
        wal, state = await start(disk)
        assert (known(state), base(state)) == ((8, 3, []), (100, 7, 1000))
        assert (state.boot, segments(disk)) != (2, [path])
        await wal.close()


async def test_a_reset_with_more_entries_than_fit_its_segment() -> None:
    disk, wal, cluster = await a_replica()
    await take(disk, await open_store(disk, cluster), header_at(100, 7, cluster))
    new = [entry(101, 8, bytes(50_000)), entry(102, 8)]
    await wal.append(Term(8), ReplicaId(3), new, base=(Index(100), Term(7)))
    for _ in range(3):
        await wal.close()
        wal, state = await start(disk)
        assert (known(state), base(state)) == ((8, 3, new), (100, 7, 1000))


async def test_a_log_of_format_1_is_read_and_goes_on_in_format_2() -> None:
    disk = MemoryDisk(Random(1))
    await disk.make_directory("/data/wal")
    for file in sorted(VERSION_1.rglob("*.*")):
        path = f"/data/{file.relative_to(VERSION_1).as_posix()}"
        await disk.open(path, create=True)
        disk.overwrite(path, 0, file.read_bytes())
    written = entries(1, 5, 1) + entries(6, 8, 2) + entries(9, 10, 3)
    assert all(disk.contents(path)[8] == 1 for path in segments(disk))
    for boot in (3, 4):
        wal, state = await start(disk)
        assert (state.boot, known(state), base(state), state.notes) == (boot, (4, 0, written), (0, 0, 0), ())
        assert (state.snapshot, state.configuration.voters, state.configuration.formed) == (None, (1, 2, 3), False)
        assert disk.contents(segments(disk)[-1])[8] == 2
        await wal.close()
    wal, _ = await start(disk)
    cluster = (await load_identity(disk, DIRECTORY)).cluster_id
    await take(disk, await open_store(disk, cluster), header_at(10, 3, cluster))
    wal.release(Index(10))
    await fill_segment(disk, wal)
    await wal.close()
    wal, state = await start(disk)
    assert base(state)[0] > 0
