"""The log as its user sees it: what returned from append is there after a restart."""

import asyncio
import errno
from random import Random

import pytest

from oarlock.errors import CorruptLog, ReplicaFailed, StartupError
from oarlock.storage import spare
from oarlock.storage.identity import initialise, load_identity
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import ReplicaId, Term
from tests.storage.replica import (
    DIRECTORY,
    SEGMENT_BYTES,
    WAL,
    append,
    entries,
    entry,
    known,
    large,
    new_replica,
    newest_segment,
    open_log,
    start,
    until,
)


async def test_a_restart_brings_back_term_vote_and_entries_under_a_new_boot() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, state = await start(disk)
    assert (state.boot, known(state)) == (1, (0, 0, []))
    assert (state.base_index, state.base_term, state.notes) == (0, 0, ())
    assert state.configuration.voters == (1, 2, 3)

    await append(wal, 1, 2)
    await append(wal, 2, 0, *entries(1, 3, term=2))
    await append(wal, 3, 3, *entries(3, 5, term=3))
    await wal.close()

    wal, state = await start(disk)
    assert (state.boot, known(state)) == (2, (3, 3, entries(1, 2, term=2) + entries(3, 5, term=3)))
    await wal.close()


async def test_restarts_without_appends_lose_nothing_and_pile_up_nothing() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    await append(wal, 1, 0, *entries(1, 3))
    await append(wal, 1, 0, *entries(4, 6))
    for boot in range(2, 8):
        await wal.close()
        wal, state = await start(disk)
        assert (state.boot, known(state)) == (boot, (1, 0, entries(1, 6)))
        assert len([path for path in disk.paths() if path.endswith(".wal")]) == 2
    await wal.close()


async def test_segments_follow_each_other_and_a_frame_larger_than_one_gets_its_own() -> None:
    random, disk = Random(1), MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    written = []
    for index in range(1, 30):
        size = 40 if index % 10 == 0 else index % 4
        written.append(entry(index, payload=large(random, size)))
        await append(wal, 1, 0, written[-1])
    await wal.close()
    assert len([path for path in disk.paths() if path.endswith(".wal")]) > 5

    wal, state = await start(disk)
    assert known(state) == (1, 0, written)
    await wal.close()


async def test_a_new_segment_has_its_header_before_its_name_and_its_name_before_its_frames() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    before = newest_segment(disk)
    while newest_segment(disk) == before:
        disk.operations.clear()
        await append(wal, 1, 2)
    named = newest_segment(disk)
    done = [(name, path) for name, path in disk.operations if name not in ("preallocate", "create", "exists", "close")]
    switch = done[done.index(("write", f"{WAL}/spare")) :]
    assert switch[:6] == [
        ("write", f"{WAL}/spare"),
        ("sync", f"{WAL}/spare"),
        ("rename", named),
        ("sync_directory", WAL),
        ("write", named),
        ("sync", named),
    ]
    await wal.close()


async def test_scenario_38_append_returns_only_after_its_sync() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    release = disk.stall_next("sync", newest_segment(disk))
    appending = asyncio.create_task(append(wal, 1, 0, entry(1)))
    await until(lambda: ("write", newest_segment(disk)) in disk.operations)
    disk.operations.clear()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not appending.done()
    release.set()
    await appending
    assert ("sync", newest_segment(disk)) in disk.operations

    _, state = await start(disk.lose_power())
    assert known(state) == (1, 0, [entry(1)])


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_scenario_35_an_error_from_write_or_sync_is_final(operation: str) -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    await append(wal, 1, 0, entry(1))
    disk.fail_next(operation, errno.EIO, newest_segment(disk))
    with pytest.raises(ReplicaFailed, match="Input/output error") as failure:
        await append(wal, 1, 0, entry(2))
    disk.operations.clear()
    with pytest.raises(ReplicaFailed) as again:
        await append(wal, 1, 0, entry(2))
    assert again.value is failure.value
    assert not [done for done in disk.operations if done.name in ("write", "sync") and done.path.endswith(".wal")]
    await wal.close()

    _, state = await start(disk.lose_power())
    assert state.entries in (entries(1, 1), entries(1, 2))


async def test_scenario_35_an_error_while_preparing_the_next_segment_is_final_too() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    disk.fail_next("preallocate", errno.EIO, "spare.tmp")
    wal, _ = await start(disk)
    await until(lambda: wal._spare.failure is not None)
    with pytest.raises(ReplicaFailed, match="Input/output error"):
        await append(wal, 1, 0, entry(1))
    await wal.close()


async def test_a_cancelled_append_is_final() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    disk.stall_next("sync", newest_segment(disk))
    appending = asyncio.create_task(append(wal, 1, 0, entry(1)))
    await until(lambda: ("write", newest_segment(disk)) in disk.operations)
    appending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await appending
    with pytest.raises(ReplicaFailed, match="cancelled"):
        await append(wal, 1, 0, entry(1))


async def test_appends_must_not_overlap() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    first = asyncio.create_task(append(wal, 1, 0, entry(1)))
    await asyncio.sleep(0)
    with pytest.raises(AssertionError, match="one append at a time"):
        await append(wal, 1, 0, entry(2))
    await first
    await append(wal, 1, 0, entry(2))
    await wal.close()


async def test_scenario_39_a_full_disk_shows_early_and_heals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "RETRY_S", 0.0)
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    disk.capacity_bytes = 2 * SEGMENT_BYTES
    wal, _ = await start(disk)
    await until(lambda: not wal.has_space)
    await append(wal, 1, 2)
    await append(wal, 1, 2, *entries(1, 3))  # what was under way still has room

    disk.capacity_bytes = None
    await until(lambda: wal.has_space)
    for index in range(4, 20):
        await append(wal, 1, 2, entry(index))
    await wal.close()
    _, state = await start(disk)
    assert known(state) == (1, 2, entries(1, 19))


async def test_scenario_39_out_of_space_acknowledges_nothing_and_starts_again_once_there_is_room() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    disk.capacity_bytes = 2 * SEGMENT_BYTES
    wal, _ = await start(disk)
    written = []
    with pytest.raises(ReplicaFailed, match="No space left"):
        for index in range(1, 20):
            await append(wal, 1, 0, entry(index))
            written.append(entry(index))
    assert written
    await wal.close()

    disk.capacity_bytes = 1
    with pytest.raises(StartupError, match="make room and start again"):
        await start(disk)
    assert not [path for path in disk.paths() if path.endswith(".tmp")]
    disk.capacity_bytes = None
    _, state = await start(disk)
    assert known(state) == (1, 0, written)


async def test_scenario_39_a_start_on_a_full_disk_uses_the_space_of_the_old_spare() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    await append(wal, 1, 0, *entries(1, 2))
    await wal.close()
    disk.capacity_bytes = sum(len(disk.contents(path)) for path in disk.paths())
    wal, state = await start(disk)
    assert known(state) == (1, 0, entries(1, 2))
    await until(lambda: f"{WAL}/spare" in disk.paths() or not wal.has_space)
    assert wal.has_space, "the old segment was given back too"
    await wal.close()


async def test_a_log_of_another_replica_or_incarnation_is_refused() -> None:
    disk, other = MemoryDisk(Random(1)), MemoryDisk(Random(1))
    await new_replica(disk)
    await new_replica(other, incarnation=4712)
    wal, _ = await start(other)
    await append(wal, 1, 0, entry(1))
    with pytest.raises(StartupError, match=r"is of incarnation 4712.*4711"):
        await open_log(other, DIRECTORY, await load_identity(disk, DIRECTORY), SEGMENT_BYTES)


async def test_a_newer_log_format_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    with monkeypatch.context() as newer:
        newer.setattr("oarlock.storage.segment.FORMAT_VERSION", 3)
        wal, _ = await start(disk)
        await wal.close()
    with pytest.raises(StartupError, match="newer Oarlock") as refusal:
        await start(disk)
    assert not isinstance(refusal.value, CorruptLog)


async def test_a_configuration_larger_than_a_sector_fits_the_header() -> None:
    disk = MemoryDisk(Random(1))
    members = {ReplicaId(number): f"{'host' * 50}{number}:7001" for number in range(1, 60)}
    identity = await initialise(
        disk, DIRECTORY, replica=ReplicaId(1), members=members, cluster_name="large", incarnation=1
    )
    wal, state = await start(disk)
    assert state.configuration == identity.configuration
    await wal.append(Term(1), ReplicaId(0), [entry(1)])
    await wal.close()
    _, state = await start(disk)
    assert (state.entries, state.configuration) == ([entry(1)], identity.configuration)
