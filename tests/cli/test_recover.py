"""``oarlock recover``: one survivor becomes a new cluster, with all that it has, whatever happens meanwhile."""

import shutil
from pathlib import Path
from random import Random

import msgspec
import pytest

from oarlock.cli.recover import recovered
from oarlock.errors import StartupError
from oarlock.kv import snapshot as kv_snapshot
from oarlock.storage.disk import Disk
from oarlock.storage.identity import encode_identity, load_identity, record_refusal
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.successor import is_unfinished
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from tests.cli.conftest import Command, Outcome, refused
from tests.cli.offline_replica import (
    TERM,
    a_directory,
    a_replica,
    files,
    image,
    keys_at,
    machine_of,
    now,
    started,
    state_at,
    with_version,
    write_snapshot,
)


def recover(command: Command, directory: Path, *more: str) -> Outcome:
    return command("recover", "--data-dir", str(directory), "--force-new-cluster", *more)


def newest(directory: Path, kind: str) -> Path:
    return max(directory.glob(f"{kind}/*.*"))


def test_without_yes_it_only_says_what_it_would_do(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one")
    before = files(tmp_path)
    status, out, _ = recover(command, tmp_path / "one")
    assert status == 2
    assert files(tmp_path) == before
    assert "replica 1 of cluster orders" in out
    assert "index 40 of term 5, 0:00:00.400 after the beginning" in out
    assert "everything up to index 20" in out and "of the last 20 entries nobody knows" in out
    assert "The others (2, 3) could never take part again" in out and f"{tmp_path}/one.before-recovery" in out
    assert "Lost would be" in out and "say --yes" in out


def test_the_survivor_is_a_new_cluster_with_all_that_it_had(tmp_path: Path, command: Command) -> None:
    old = a_directory(tmp_path / "one")
    before = files(tmp_path / "one")
    status, out, _ = recover(command, tmp_path / "one", "--yes")
    assert status == 0
    assert "a new cluster and its only replica" in out and "index 40 of term 5" in out
    assert files(tmp_path / "one.before-recovery") == before
    identity, state, keys = now(started(OsDisk(), str(tmp_path / "one")))
    assert identity.cluster_id not in (old.cluster_id, "") and identity.cluster_name == old.cluster_name
    assert (identity.replica, identity.address) == (old.replica, old.address)
    assert identity.incarnation != old.incarnation
    assert keys == keys_at(40), "the end of the log, too"
    assert (state.base_index, state.base_term, state.base_time_ms, state.entries) == (40, TERM, 400, [])
    assert (state.configuration.voters, state.configuration.removed) == ((1,), ())
    assert [one.id for one in state.configuration.members] == [1]
    assert image(now(machine_of(OsDisk(), state.snapshot_path))) == image(state_at(40))
    assert identity.cluster_name in out and identity.cluster_id in out


def test_a_log_without_a_snapshot_will_do_and_a_snapshot_without_more(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "log", 12, ())
    a_directory(tmp_path / "snapshot", 12, (12,))
    assert "it has no snapshot" in recover(command, tmp_path / "log")[1]
    assert "nothing here, since the log ends with its snapshot" in recover(command, tmp_path / "snapshot")[1]
    for name in ("log", "snapshot"):
        assert recover(command, tmp_path / name, "--yes")[0] == 0
        assert now(started(OsDisk(), str(tmp_path / name)))[2] == keys_at(12)


def test_it_is_found_elsewhere_from_now_on_if_that_is_said(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 3, ())
    assert recover(command, tmp_path / "one", "--yes", "--raft", "10.0.0.9:7401")[0] == 0
    assert now(load_identity(OsDisk(), str(tmp_path / "one"))).address == "10.0.0.9:7401"


def test_two_survivors_become_two_clusters(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 3, ())
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    ids = []
    for name in ("one", "two"):
        assert recover(command, tmp_path / name, "--yes")[0] == 0
        ids.append(now(load_identity(OsDisk(), str(tmp_path / name))).cluster_id)
    assert ids[0] != ids[1]


def test_it_can_be_repeated_until_it_is_started_from(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    assert recover(command, directory, "--yes")[0] == 0
    done = files(tmp_path)
    status, out, _ = recover(command, directory, "--yes")
    assert (status, files(tmp_path)) == (0, done) and "is replica 1 of cluster orders" in out
    assert "has been done before" in recover(command, directory)[1]
    now(started(OsDisk(), str(directory)))
    refused(recover(command, directory, "--yes"), "one.before-recovery exists; give it another name first")
    (tmp_path / "one.before-recovery").rename(tmp_path / "older")
    assert recover(command, directory, "--yes")[0] == 0, "another disaster"


def test_it_must_be_meant(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 3, ())
    before = files(tmp_path)
    refused(command("recover", "--data-dir", str(tmp_path / "one"), "--yes"), "say --force-new-cluster if you mean it")
    lock = OsDisk().lock(str(tmp_path / "one" / "lock"))
    assert lock is not None
    refused(recover(command, tmp_path / "one"), "a replica runs on")
    refused(recover(command, tmp_path / "one", "--yes"), "another process is using")
    lock.release()
    refused(recover(command, tmp_path / "none"), "does not exist")
    refused(recover(command, tmp_path / "none", "--yes"), "is no directory")
    assert files(tmp_path) == before


def test_a_directory_that_was_never_used_holds_nothing_to_recover(tmp_path: Path, command: Command) -> None:
    init = command("init", "--data-dir", str(tmp_path / "one"), "--id", "1", "--members", "1=a:1")
    assert init[0] == 0
    refused(recover(command, tmp_path / "one", "--yes"), "there is nothing to recover")


def test_what_was_made_where_a_replica_was_recovered_long_ago_is_not_that_recovery(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "one.before-recovery").mkdir()
    one = str(tmp_path / "one")
    assert command("init", "--data-dir", one, "--id", "1", "--members", "1=127.0.0.1:7001,2=127.0.0.1:7002")[0] == 0
    for more in ((), ("--yes",)):
        refused(recover(command, tmp_path / "one", *more), "has never started")


def test_one_that_was_refused_can_be_recovered_and_is_told_of(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 5, ())
    now(record_refusal(OsDisk(), str(tmp_path / "one"), "its past is older than its promises"))
    assert "its cluster has refused it: its past is older" in recover(command, tmp_path / "one")[1]
    assert recover(command, tmp_path / "one", "--yes")[0] == 0
    assert now(started(OsDisk(), str(tmp_path / "one")))[2] == keys_at(5)


def test_damage_behind_which_something_is_lost_is_refused(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    segment = newest(directory, "wal")
    data = bytearray(segment.read_bytes())
    data[4096 + 100] ^= 1
    segment.write_bytes(data)
    before = files(tmp_path)
    for more in ((), ("--yes",)):
        outcome = recover(command, directory, *more)
        refused(outcome, f"{segment} is damaged at offset 4096")
        assert "`oarlock inspect" in outcome[2] and "`oarlock restore`" in outcome[2]
    assert files(tmp_path) == before
    # A snapshot alone is what is left then.
    members = ["--id", "1", "--members", "1=a:1"]
    assert (
        command("restore", str(newest(directory, "snapshots")), "--data-dir", str(tmp_path / "two"), *members)[0] == 0
    )
    assert now(started(OsDisk(), str(tmp_path / "two")))[2] == keys_at(20)


def test_a_damaged_snapshot_behind_which_there_is_another_is_told_of(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    snapshot = newest(directory, "snapshots")
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    out = recover(command, directory)[1]
    assert f"{snapshot} is damaged" in out and "everything up to index 10" in out
    assert recover(command, directory, "--yes")[0] == 0
    assert now(started(OsDisk(), str(directory)))[2] == keys_at(40)


@pytest.mark.parametrize("kind", ["wal", "snapshots", "identity.json", "keys"])
def test_what_a_newer_version_wrote_is_refused(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    directory = tmp_path / "one"
    identity = a_directory(directory)
    saying = "was written by a newer Oarlock (format 9;"
    if kind == "identity.json":
        newer = msgspec.structs.replace(identity, format_version=9)
        (directory / kind).write_bytes(encode_identity(newer))
    elif kind == "keys":
        monkeypatch.setattr(kv_snapshot, "FORMAT", 2)
        now(write_snapshot(OsDisk(), str(newest(directory, "snapshots")), identity.cluster_id, 20))
        monkeypatch.undo()
        saying = "cannot be understood by this version"
    else:
        path = newest(directory, kind)
        path.write_bytes(with_version(path.read_bytes(), 9))
    before = files(tmp_path)
    refused(recover(command, directory, "--yes"), saying)
    assert files(tmp_path) == before


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────

DIRECTORY = "/replicas/one"
ASIDE = f"{DIRECTORY}.before-recovery"


async def survivor(seed: int) -> tuple[MemoryDisk, str]:
    disk = MemoryDisk(Random(seed))
    old = await a_replica(disk, DIRECTORY, 14, (4, 9))
    return disk, old.cluster_id


async def is_old(disk: Disk, directory: str, cluster: str) -> bool:
    """Whether the old directory is there, with all that was in it."""
    try:
        if (await load_identity(disk, directory)).cluster_id != cluster:
            return False
    except StartupError:
        return False
    _, state, keys = await started(disk, directory)
    assert [one.index for one in state.entries][-1] == 14 and keys == keys_at(9)
    return True


async def is_new(disk: Disk, directory: str, cluster: str) -> bool:
    try:
        if (await load_identity(disk, directory)).cluster_id == cluster:
            return False
    except StartupError:
        return False
    return (await started(disk, directory))[2] == keys_at(14)


async def crashed(seed: int, step: int) -> tuple[MemoryDisk, str] | None:
    """A survivor's disk after a recovery that met a power failure, or a kill, at this step; None if it has no such."""
    disk, cluster = await survivor(seed)
    disk.power_fails_at = disk.steps + step
    try:
        await recovered(disk, DIRECTORY, None)
    except PowerFailure:
        return disk.lose_power() if seed % 3 else disk.kill(), cluster
    return None


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_step_leaves_the_old_directory_or_the_new_one(seed: int) -> None:
    async def story() -> tuple[int, int, int]:
        step = old = between = 0
        while (left := await crashed(seed, step := step + 1)) is not None:
            disk, cluster = left
            if await is_unfinished(disk, DIRECTORY):
                between += 1
                assert await is_old(disk, ASIDE, cluster)
            elif await is_old(disk, DIRECTORY, cluster):
                old += 1
            else:
                assert await is_new(disk, DIRECTORY, cluster)
        return step, old, between

    steps, old, between = now(story())
    assert steps > 20 and old > 12 and between > 0


@pytest.mark.parametrize("seed", range(4))
def test_repeating_it_finishes_though_that_meets_a_crash_as_well(seed: int) -> None:
    async def story() -> None:
        step = 0
        while (left := await crashed(seed, step := step + 1)) is not None:
            disk, cluster = left
            disk.power_fails_at = disk.steps + 1 + (seed + 7 * step) % 30
            try:
                await recovered(disk, DIRECTORY, None)
            except PowerFailure:
                disk = disk.lose_power()
            disk.power_fails_at = None
            await recovered(disk, DIRECTORY, None)
            assert await is_new(disk, DIRECTORY, cluster)
            assert await is_old(disk, ASIDE, cluster)

    now(story())
