"""``oarlock restore``: a new cluster that begins with a backup's state, whatever happens while it is made."""

import json
from pathlib import Path
from random import Random

import pytest

from oarlock.cli.restore import restored
from oarlock.errors import CorruptLog, CorruptSnapshot, StartupError
from oarlock.kv import snapshot as kv_snapshot
from oarlock.storage.identity import holds_nothing, initialise, load_identity
from oarlock.storage.os_disk import OsDisk
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import ReplicaId
from tests.cli.conftest import Command, refused
from tests.cli.offline_replica import (
    MEMBERS,
    TERM,
    a_backup,
    a_directory,
    image,
    keys_at,
    machine_of,
    now,
    started,
    state_at,
    with_version,
    write_snapshot,
)

OTHERS = ",".join(f"{n}=10.0.0.{n}:7401" for n in (1, 2, 3))


def arguments(backup: Path, directory: Path, replica: int = 1, members: str = OTHERS) -> list[str]:
    return ["restore", str(backup), "--data-dir", str(directory), "--id", str(replica), "--members", members]


def cluster_id(directory: Path) -> str:
    return str(json.loads((directory / "identity.json").read_text())["cluster_id"])


def test_a_restored_replica_begins_where_the_backup_ends(tmp_path: Path, command: Command) -> None:
    backup = a_backup(tmp_path / "monday.oarlock")
    status, out, _ = command(*arguments(backup, tmp_path / "a", 2))
    assert status == 0
    assert "the new cluster orders" in out and "29 keys" in out and "at index 30 of term 5" in out
    identity, state, keys = now(started(OsDisk(), str(tmp_path / "a")))
    assert keys == keys_at(30)
    assert (state.base_index, state.base_term, state.base_time_ms, state.entries) == (30, TERM, 300, [])
    assert (state.term, state.vote, state.boot) == (TERM, 0, 1)
    assert state.snapshot is not None and state.snapshot.cluster_id == identity.cluster_id
    assert state.configuration == identity.configuration
    assert not state.configuration.formed and state.configuration.voters == (1, 2, 3)
    assert [one.address for one in state.configuration.members] == [f"10.0.0.{n}:7401" for n in (1, 2, 3)]
    assert b"\x07" not in state.snapshot.node, "no replica of it has brought anything yet"
    assert image(now(machine_of(OsDisk(), state.snapshot_path))) == image(state_at(30)), "versions go on, too"


def test_only_what_is_restored_from_the_same_backup_is_of_one_cluster(tmp_path: Path, command: Command) -> None:
    monday, tuesday = a_backup(tmp_path / "monday"), a_backup(tmp_path / "tuesday", 31)
    copy = tmp_path / "copy"
    copy.write_bytes(monday.read_bytes())
    a_directory(tmp_path / "old", last=2)
    of_old = a_backup(tmp_path / "old-backup", cluster_id=cluster_id(tmp_path / "old"))
    made = {
        "first": arguments(monday, tmp_path / "first", 1),
        "second": arguments(copy, tmp_path / "second", 2),
        "later": arguments(tuesday, tmp_path / "later", 3),
        "renamed": [*arguments(monday, tmp_path / "renamed"), "--cluster", "else"],
        "elsewhere": arguments(monday, tmp_path / "elsewhere", members=OTHERS.replace("7401", "7402")),
        "again": arguments(of_old, tmp_path / "again", members=",".join(f"{n}={at}" for n, at in MEMBERS.items())),
    }
    for words in made.values():
        assert command(*words)[0] == 0
    members = ",".join(f"{n}=10.0.0.{n}:7401" for n in (1, 2, 3))
    initialised = ["init", "--data-dir", str(tmp_path / "empty"), "--id", "3", "--members", members]
    assert command(*initialised, "--cluster", "orders")[0] == 0
    ids = {name: cluster_id(tmp_path / name) for name in (*made, "empty", "old")}
    assert ids.pop("second") == ids["first"]
    assert len(set(ids.values())) == len(ids), ids


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path, command: Command) -> None:
    backup = a_backup(tmp_path / "backup")
    a_directory(tmp_path / "a", last=2)
    refused(command(*arguments(backup, tmp_path / "a")), "is not empty")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    refused(command(*arguments(backup, tmp_path / "b")), "is not empty")
    refused(command(*arguments(backup, tmp_path / "c", replica=4)), "is not among the members")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("place", [0, 10, 30, 0.5, -40, -1])
def test_a_damaged_backup_makes_nothing(tmp_path: Path, command: Command, place: float) -> None:
    backup = a_backup(tmp_path / "backup")
    data = bytearray(backup.read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 4
    backup.write_bytes(data)
    refused(command(*arguments(backup, tmp_path / "a")), f"{backup} is damaged at offset")
    backup.write_bytes(data[:-1])
    refused(command(*arguments(backup, tmp_path / "a")), f"{backup} is damaged at offset")
    assert not (tmp_path / "a").exists()


def test_a_newer_backup_is_refused(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = a_backup(tmp_path / "backup")
    whole = backup.read_bytes()
    backup.write_bytes(with_version(whole, 9))
    refused(command(*arguments(backup, tmp_path / "a")), "was written by a newer Oarlock (format 9;")
    monkeypatch.setattr(kv_snapshot, "FORMAT", 2)
    a_backup(backup)
    monkeypatch.undo()
    refused(command(*arguments(backup, tmp_path / "a")), "cannot be understood by this version")
    assert not (tmp_path / "a").exists()


def test_a_restored_replica_that_has_lost_its_beginning_does_not_start_with_nothing(
    tmp_path: Path, command: Command
) -> None:
    assert command(*arguments(a_backup(tmp_path / "backup"), tmp_path / "a"))[0] == 0
    (snapshot,) = (tmp_path / "a" / "snapshots").iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    with pytest.raises(CorruptSnapshot, match="begins with entry 31"):
        now(started(OsDisk(), str(tmp_path / "a")))
    snapshot.unlink()
    with pytest.raises(CorruptLog, match="begins with entry 31"):
        now(started(OsDisk(), str(tmp_path / "a")))


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────

DIRECTORY = "/replicas/one"


async def with_a_backup(seed: int) -> MemoryDisk:
    disk = MemoryDisk(Random(seed))
    await disk.make_directory("/backups")
    await write_snapshot(disk, "/backups/monday", "0123456789abcdef", 30)
    return disk


async def restore(disk: MemoryDisk) -> str:
    identity, _, _ = await restored(disk, "/backups/monday", DIRECTORY, ReplicaId(1), dict(MEMBERS), None)
    return identity.cluster_id


async def crashed(seed: int, step: int) -> MemoryDisk | None:
    """A disk on which a restore met a power failure, or a kill, at this step; None if it has no such step."""
    disk = await with_a_backup(seed)
    disk.power_fails_at = disk.steps + step
    try:
        await restore(disk)
    except PowerFailure:
        return disk.lose_power() if seed % 3 else disk.kill()
    return None


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_at_any_step_leaves_a_new_directory_or_a_whole_one(seed: int) -> None:
    async def story() -> int:
        wanted = await restore(await with_a_backup(seed))
        step = 1
        while (disk := await crashed(seed, step)) is not None:
            try:
                await load_identity(disk, DIRECTORY)
            except StartupError:
                assert await holds_nothing(disk, DIRECTORY)
                assert await restore(disk) == wanted
            identity, state, keys = await started(disk.lose_power(), DIRECTORY)
            assert (identity.cluster_id, keys) == (wanted, keys_at(30))
            assert (state.base_index, state.entries) == (30, [])
            step += 1
        return step

    assert now(story()) > 15


@pytest.mark.parametrize("seed", range(3))
def test_nothing_of_an_unfinished_restore_gets_into_a_directory_that_is_initialised_then(seed: int) -> None:
    async def story() -> None:
        step = 1
        while (disk := await crashed(seed, step)) is not None:
            step += 1
            if not await holds_nothing(disk, DIRECTORY):
                continue
            await initialise(
                disk, DIRECTORY, replica=ReplicaId(1), members=MEMBERS, cluster_name="orders", incarnation=7
            )
            _, state, keys = await started(disk, DIRECTORY)
            assert (state.base_index, state.term, state.snapshot, keys) == (0, 0, None, {})

    now(story())


def test_snapshots_without_a_log_are_no_new_directory() -> None:
    """The log is made first: so one that is not there was lost."""

    async def story() -> None:
        disk = await with_a_backup(1)
        await restore(disk)
        for name in ("identity.json", "wal/0000000000000001.wal"):
            await disk.remove(f"{DIRECTORY}/{name}")
        assert not await holds_nothing(disk, DIRECTORY)
        with pytest.raises(StartupError, match=r"holds files but no identity\.json"):
            await load_identity(disk, DIRECTORY)

    now(story())


def test_a_full_disk_is_said_so_and_leaves_nothing_that_counts() -> None:
    async def story() -> None:
        disk = await with_a_backup(1)
        disk.capacity_bytes = len(disk.contents("/backups/monday")) + 4096 + 100
        with pytest.raises(OSError, match="no room"):
            await restore(disk)
        assert await holds_nothing(disk, DIRECTORY)
        disk.capacity_bytes = None
        await restore(disk)

    now(story())
