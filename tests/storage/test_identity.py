"""Who a data directory belongs to, and which directories are turned away."""

import asyncio
import contextlib
from random import Random

import msgspec
import pytest

from oarlock.errors import CorruptLog, DirectoryInUse, StartupError
from oarlock.storage.identity import (
    FORMAT_VERSION,
    decode_identity,
    derive_cluster_id,
    encode_identity,
    initialise,
    load_identity,
    record_refusal,
    take_lock,
)
from oarlock.storage.whole_file import write_whole_file
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import ReplicaId
from tests.storage.replica import DIRECTORY, MEMBERS, WAL, append, entries, known, new_replica, start

IDENTITY = f"{DIRECTORY}/identity.json"


async def refusal(disk: MemoryDisk) -> str:
    with pytest.raises(StartupError) as error:
        await load_identity(disk, DIRECTORY)
    return str(error.value)


async def test_an_identity_is_what_was_initialised_and_a_person_can_read_it() -> None:
    disk = MemoryDisk(Random(1))
    identity = await new_replica(disk)
    assert await load_identity(disk.lose_power(), DIRECTORY) == identity
    assert identity.replica == 1
    assert identity.incarnation == 4711
    assert identity.configuration.voters == (1, 2, 3)
    assert [(one.id, one.address, one.incarnation) for one in identity.configuration.members] == [
        (1, "a:7001", 0),
        (2, "b:7001", 0),
        (3, "c:7001", 0),
    ]
    assert '"2": "b:7001"' in encode_identity(identity).decode()


@pytest.mark.parametrize("text", [b'{"a":' + b"[" * 5000, b"[]", b"", b"\xff", b'{"checksum": 1}'])
async def test_text_that_is_no_identity_is_damage(text: bytes) -> None:
    with pytest.raises(StartupError, match="does not match its checksum"):
        decode_identity(text, "identity.json")


@pytest.mark.parametrize("incarnation", [0, -1, 1 << 63])
async def test_an_identity_that_never_was_is_damage_though_its_checksum_is_right(incarnation: int) -> None:
    disk = MemoryDisk(Random(1))
    impossible = msgspec.structs.replace(await new_replica(disk), incarnation=incarnation)
    with pytest.raises(StartupError, match="does not match its checksum"):
        decode_identity(encode_identity(impossible), "identity.json")


async def test_the_same_name_and_members_give_the_same_cluster() -> None:
    backwards = dict(reversed(MEMBERS.items()))
    assert derive_cluster_id("test", backwards) == derive_cluster_id("test", MEMBERS)
    assert derive_cluster_id("other", MEMBERS) != derive_cluster_id("test", MEMBERS)
    assert derive_cluster_id("test", {**MEMBERS, ReplicaId(3): "d:7001"}) != derive_cluster_id("test", MEMBERS)


async def test_a_directory_is_initialised_once() -> None:
    disk = MemoryDisk(Random(1))
    identity = await new_replica(disk)
    with pytest.raises(StartupError, match="not empty"):
        await new_replica(disk, incarnation=1)
    assert await load_identity(disk, DIRECTORY) == identity


async def test_a_directory_with_a_strangers_files_is_not_initialised() -> None:
    disk = MemoryDisk(Random(1))
    await disk.make_directory(DIRECTORY)
    await disk.open(f"{DIRECTORY}/holiday.jpg", create=True)
    with pytest.raises(StartupError, match="not empty"):
        await new_replica(disk)
    assert "holds files but no identity.json" in await refusal(disk)


async def test_initialising_needs_its_own_address_and_distinct_ones() -> None:
    disk = MemoryDisk(Random(1))
    with pytest.raises(StartupError, match="not among the members"):
        await new_replica(disk, replica=4)
    with pytest.raises(StartupError, match="same address"):
        await initialise(
            disk,
            DIRECTORY,
            replica=ReplicaId(1),
            members={ReplicaId(1): "a:1", ReplicaId(2): "a:1"},
            cluster_name="test",
            incarnation=1,
        )


async def test_scenario_40_power_fails_at_every_step_of_the_first_initialisation() -> None:
    counting = MemoryDisk(Random(1))
    await new_replica(counting)
    assert counting.steps > 8
    for seed in range(30):
        for step in range(1, counting.steps + 1):
            disk = MemoryDisk(Random(seed))
            disk.power_fails_at = step
            with pytest.raises(PowerFailure):
                await new_replica(disk)
            disk = disk.lose_power() if seed % 3 else disk.kill()
            try:
                await load_identity(disk, DIRECTORY)
            except StartupError as error:
                assert "oarlock init" in str(error)
                disk.power_fails_at = disk.steps + 1 + seed % counting.steps
                with contextlib.suppress(PowerFailure):
                    await new_replica(disk)
                disk = disk.lose_power()
                with contextlib.suppress(StartupError):  # it was finished after all
                    await new_replica(disk)
            _, state = await start(disk)
            assert known(state) == (0, 0, [])
            assert state.boot == 1


async def test_scenario_40_what_loads_after_a_kill_still_loads_after_a_power_failure() -> None:
    counting = MemoryDisk(Random(1))
    await new_replica(counting)
    for seed in range(10):
        for step in range(1, counting.steps + 1):
            disk = MemoryDisk(Random(seed))
            disk.power_fails_at = step
            with pytest.raises(PowerFailure):
                await new_replica(disk)
            disk = disk.kill()
            with contextlib.suppress(StartupError):
                wal, _ = await start(disk)
                await append(wal, 1, 1, *entries(1, 2))
                disk = disk.lose_power()
                _, state = await start(disk)
                assert known(state) == (1, 1, entries(1, 2))
                continue
            assert "oarlock init" in await refusal(disk)


async def test_each_directory_that_does_not_load_says_what_to_do() -> None:
    disk = MemoryDisk(Random(1))
    assert "does not exist" in await refusal(disk)
    await disk.make_directory(DIRECTORY)
    (await take_lock(disk, DIRECTORY)).release()
    text = await refusal(disk)
    assert "is empty" in text
    assert "`oarlock init`" in text

    await new_replica(disk)
    for path in (IDENTITY, f"{DIRECTORY}/lock"):
        await disk.remove(path)
    assert "never finished; run `oarlock init` again" in await refusal(disk)


async def test_a_used_log_without_its_identity_is_damaged_and_not_new() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk)
    await append(wal, 1, 1, *entries(1, 2))
    await wal.close()
    await disk.remove(IDENTITY)
    assert "no identity.json" in await refusal(disk)
    with pytest.raises(StartupError, match="not empty"):
        await new_replica(disk)


async def test_an_identity_without_its_log_is_damaged_and_not_new() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    for name in await disk.list(WAL):
        await disk.remove(f"{WAL}/{name}")
    with pytest.raises(CorruptLog, match="holds no log although"):
        await start(disk)


async def test_no_flipped_bit_in_the_identity_goes_unnoticed() -> None:
    disk = MemoryDisk(Random(1))
    identity = await new_replica(disk)
    text = disk.contents(IDENTITY)
    for bit in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_identity(bytes(flipped), IDENTITY) == identity, "white space may differ"
        except StartupError as error:
            assert "does not match its checksum" in str(error)


async def test_an_edited_identity_is_refused() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    disk.overwrite(IDENTITY, 0, disk.contents(IDENTITY).replace(b"b:7001", b"b:7002"))
    assert "damaged or was edited" in await refusal(disk)


async def test_a_newer_identity_is_refused_with_a_sentence() -> None:
    disk = MemoryDisk(Random(1))
    newer = msgspec.structs.replace(await new_replica(disk), format_version=FORMAT_VERSION + 1)
    await write_whole_file(disk, DIRECTORY, "identity.json", encode_identity(newer))
    assert f"newer Oarlock (format {FORMAT_VERSION + 1}; this one reads up to 2)" in await refusal(disk)


async def test_a_refused_directory_stays_refused() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    await record_refusal(disk, DIRECTORY, "replica 2 has seen it acknowledge more than it has")
    disk = disk.lose_power()
    text = await refusal(disk)
    assert "replica 2 has seen it acknowledge more than it has" in text
    assert "replace this replica" in text
    with pytest.raises(StartupError, match="not empty"):
        await new_replica(disk)


async def test_the_lock_is_waited_for_a_little_and_then_in_use() -> None:
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    held = await take_lock(disk, DIRECTORY)
    with pytest.raises(DirectoryInUse, match="another process"):
        await take_lock(disk, DIRECTORY, wait_s=0.1)
    waiting = asyncio.create_task(take_lock(disk, DIRECTORY, wait_s=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    held.release()
    held.release()
    (await waiting).release()
    with pytest.raises(StartupError, match="oarlock init"):
        await take_lock(disk, "/nowhere")
