"""The real disk: the log on it, and what its threads promise."""

import asyncio
import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from random import Random

import pytest

from oarlock.errors import DirectoryInUse, ReplicaFailed
from oarlock.storage.disk import SECTOR_BYTES
from oarlock.storage.identity import initialise, load_identity, take_lock
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.snapshot import SnapshotFile
from oarlock.storage.snapshots import SnapshotStore
from oarlock.types import Index, ReplicaId, Term
from tests.storage.replica import MEMBERS, entries, open_log
from tests.storage.snapshots import header_at, pieces_of, take


async def test_a_log_on_a_real_disk_survives_restarts(tmp_path: Path) -> None:
    disk, directory = OsDisk(), str(tmp_path / "deep" / "data")
    identity = await initialise(
        disk, directory, replica=ReplicaId(2), members=MEMBERS, cluster_name="real", incarnation=99
    )
    written = []
    for boot in range(1, 4):
        lock = await take_lock(disk, directory)
        assert await load_identity(disk, directory) == identity
        wal, state = await open_log(disk, directory, identity, 64 * SECTOR_BYTES)
        assert (state.boot, state.entries) == (boot, written)
        for _ in range(40):
            new = entries(len(written) + 1, len(written) + 3, payload=b"x" * 3000)
            await wal.append(Term(1), ReplicaId(2), new)
            written += new
        assert wal.has_space
        await wal.close()
        lock.release()
    assert len(list((tmp_path / "deep" / "data" / "wal").glob("*.wal"))) > 3
    disk.close()


async def test_snapshots_on_a_real_disk_let_the_log_go(tmp_path: Path) -> None:
    disk, directory = OsDisk(), str(tmp_path / "data")
    identity = await initialise(
        disk, directory, replica=ReplicaId(2), members=MEMBERS, cluster_name="real", incarnation=99
    )
    pieces = [Random(1).randbytes(size) for size in (100, 70_000, 3_000_000)]
    wal, _ = await open_log(disk, directory, identity, 64 * SECTOR_BYTES)
    store = await SnapshotStore.open(disk, directory, identity.cluster_id)
    for index in range(1, 201):
        await wal.append(Term(1), ReplicaId(2), entries(index, index, payload=b"x" * 6000))
        if index % 60 == 0:
            await take(disk, store, header_at(index, cluster_id=identity.cluster_id), pieces)
            wal.release(store.log_needed_after)
    await wal.close()
    assert len(list((tmp_path / "data" / "wal").glob("*.wal"))) < 10

    _, state = await open_log(disk, directory, identity, 64 * SECTOR_BYTES)
    assert state.snapshot == header_at(180, cluster_id=identity.cluster_id)
    assert 0 < state.base_index <= 121
    assert state.entries == entries(state.base_index + 1, 200, payload=b"x" * 6000)
    assert await pieces_of(disk, state.snapshot_path) == pieces

    file = await SnapshotFile.open(disk, state.snapshot_path, identity.cluster_id)
    elsewhere = await SnapshotStore.open(disk, str(tmp_path / "elsewhere"), identity.cluster_id)
    receiving = await elsewhere.receive(file.size_bytes)
    while part := await file.read_at(receiving.received_bytes, 256 * 1024):
        await receiving.write(receiving.received_bytes, part)
    await file.close()
    received = await receiving.finish(Index(180), Term(1))
    assert await pieces_of(disk, received.path) == pieces


async def test_the_lock_excludes_other_processes_and_is_not_inherited(tmp_path: Path) -> None:
    disk = OsDisk()
    lock = await take_lock(disk, str(tmp_path))
    with pytest.raises(DirectoryInUse):
        await take_lock(OsDisk(), str(tmp_path), wait_s=0)
    look = "import glob, os\nfor fd in glob.glob('/proc/self/fd/*'):\n  if os.path.lexists(fd): print(os.readlink(fd))"
    child = subprocess.run([sys.executable, "-c", look], close_fds=False, capture_output=True, text=True)  # noqa: ASYNC221
    assert child.stdout
    assert str(tmp_path / "lock") not in child.stdout.split()
    lock.release()
    (await take_lock(OsDisk(), str(tmp_path), wait_s=0)).release()


async def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:1000], offset))
    disk = OsDisk()
    file = await disk.open(str(tmp_path / "file"), create=True)
    data = os.urandom(10_500)
    await file.write_at(4096, data, sync=True)
    assert await file.read_at(4096, 20_000) == data
    assert await file.size() == 4096 + len(data)
    await file.close()


async def test_only_what_is_written_with_sync_is_durable_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, durably = os.pwrite, []

    def look(descriptor: int, data: bytes, offset: int) -> int:
        durably.append(bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DSYNC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", look)
    file = await OsDisk().open(str(tmp_path / "file"), create=True)
    await file.write_at(0, b"a", sync=True)
    await file.write_at(1, b"b")
    await file.write_at(2, b"c", sync=True)
    assert durably == [True, False, True]
    assert await file.read_at(0, 3) == b"abc"
    await file.close()


async def test_a_sync_is_asked_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    file = await OsDisk().open(str(tmp_path / "file"), create=True)
    await file.write_at(0, b"a")
    assert not synced
    await file.sync()
    assert synced == [str(tmp_path / "file")]
    await file.close()


def descriptors_of(path: Path) -> int:
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return links.count(str(path))


async def test_a_closed_file_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, path, close, closed = OsDisk(), tmp_path / "file", os.close, threading.Semaphore(0)
    monkeypatch.setattr(os, "close", lambda descriptor: (close(descriptor), closed.release()))
    file = await disk.open(str(path), create=True)
    await file.write_at(0, b"a", sync=True)
    opened = descriptors_of(path)
    assert opened
    await file.close()
    for _ in range(opened):
        assert await asyncio.to_thread(closed.acquire, timeout=10)
    assert not descriptors_of(path)


async def test_a_file_that_cannot_be_opened_to_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, path, open_ = OsDisk(), tmp_path / "file", os.open

    def without_room(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DSYNC:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return open_(path, flags, mode)

    with monkeypatch.context() as full:
        full.setattr(os, "open", without_room)
        with pytest.raises(OSError, match="Too many open files"):
            await disk.open(str(path), create=True)
    assert not path.exists() and not descriptors_of(path)
    file = await disk.open(str(path), create=True)
    await file.close()


async def test_preallocating_adds_zeros_and_never_shortens(tmp_path: Path) -> None:
    disk = OsDisk()
    file = await disk.open(str(tmp_path / "file"), create=True)
    await file.write_at(0, b"abc")
    await file.preallocate(3 * 1024 * 1024 + 5)
    await file.preallocate(10)
    assert await file.read_at(0, 1 << 30) == b"abc" + bytes(3 * 1024 * 1024 + 2)
    assert (tmp_path / "file").stat().st_blocks * 512 >= 3 * 1024 * 1024, "the zeros were written"
    await file.truncate(2)
    assert await file.size() == 2
    await file.close()


async def test_names(tmp_path: Path) -> None:
    disk, here = OsDisk(), str(tmp_path)
    await (await disk.open(f"{here}/b", create=True)).close()
    with pytest.raises(FileExistsError):
        await disk.open(f"{here}/b", create=True)
    await disk.rename(f"{here}/b", f"{here}/c")
    await disk.make_directory(f"{here}/a/a")
    await disk.make_directory(f"{here}/a/a")
    with pytest.raises(NotADirectoryError):
        await disk.make_directory(f"{here}/c")
    await disk.sync_directory(here)
    assert await disk.list(here) == ["a", "c"]
    assert await disk.exists(f"{here}/c")
    await disk.remove(f"{here}/c")
    assert not await disk.exists(f"{here}/c")
    with pytest.raises(FileNotFoundError):
        await disk.open(f"{here}/c")


async def test_a_directory_can_have_another_name(tmp_path: Path) -> None:
    disk, here = OsDisk(), str(tmp_path)
    await disk.make_directory(f"{here}/a/b")
    await disk.rename(f"{here}/a", f"{here}/c")
    assert await disk.list(here) == ["c"] and await disk.exists(f"{here}/c/b")
    await disk.make_directory(f"{here}/a")
    with pytest.raises(OSError, match="not empty"):
        await disk.rename(f"{here}/a", f"{here}/c")


async def test_looking_whether_a_lock_is_held_takes_and_makes_none(tmp_path: Path) -> None:
    disk, path = OsDisk(), str(tmp_path / "lock")
    assert not disk.is_locked(path) and not await disk.exists(path)
    lock = disk.lock(path)
    assert lock is not None and disk.is_locked(path)
    lock.release()
    assert not disk.is_locked(path)
    assert disk.lock(path) is not None


async def test_a_read_only_disk_writes_into_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was")
    file = await OsDisk(read_only=True).open(str(tmp_path / "file"))
    assert await file.read_at(0, 100) == b"as it was"
    with pytest.raises(OSError):
        await file.write_at(0, b"changed")
    await file.close()
    assert (tmp_path / "file").read_bytes() == b"as it was"


async def test_an_append_does_not_wait_for_housekeeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = OsDisk()
    log = await disk.open(str(tmp_path / "log"), create=True)
    spare = await disk.open(str(tmp_path / "spare"), create=True)
    go_on = threading.Event()
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: go_on.wait(10))
    preparing = asyncio.create_task(spare.preallocate(SECTOR_BYTES))
    await log.write_at(0, b"frame", sync=True)
    assert not preparing.done()
    go_on.set()
    await preparing


async def test_a_descriptor_stays_open_while_anything_may_still_use_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = OsDisk()
    file = await disk.open(str(tmp_path / "spare"), create=True)
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    close = os.close
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: (begun.set(), go_on.wait(10)))
    preparing = asyncio.create_task(file.preallocate(SECTOR_BYTES))
    assert await asyncio.to_thread(begun.wait, 10)
    preparing.cancel()
    monkeypatch.setattr(os, "close", lambda descriptor: (close(descriptor), closed.set()))
    await file.close()
    await file.close()
    with pytest.raises(OSError, match="closed"):
        await file.write_at(0, b"late")
    assert not closed.wait(0.1)
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)
    assert (tmp_path / "spare").stat().st_size == SECTOR_BYTES


async def test_scenario_35_a_failed_sync_of_a_real_file_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, directory = OsDisk(), str(tmp_path / "data")
    identity = await initialise(
        disk, directory, replica=ReplicaId(1), members=MEMBERS, cluster_name="real", incarnation=9
    )
    wal, _ = await open_log(disk, directory, identity, 64 * SECTOR_BYTES)

    pwrite = os.pwrite

    def fail(descriptor: int, data: bytes, offset: int) -> None:
        pwrite(descriptor, data, offset)
        raise OSError(errno.EIO, "the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", fail)
        with pytest.raises(ReplicaFailed, match="the disk is broken"):
            await wal.append(Term(1), ReplicaId(1), entries(1, 1))
    with pytest.raises(ReplicaFailed, match="the disk is broken"):
        await wal.append(Term(1), ReplicaId(1), entries(1, 1))
    await wal.close()


def test_a_thread_stuck_in_a_sync_does_not_keep_the_process(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio, os, threading
        from oarlock.storage.os_disk import OsDisk

        async def main():
            file = await OsDisk().open({str(tmp_path / "file")!r}, create=True)
            stuck = threading.Event()
            os.pwrite = lambda *_: (stuck.set(), threading.Event().wait())
            writing = asyncio.create_task(file.write_at(0, b"x", sync=True))
            while not stuck.is_set():
                await asyncio.sleep(0)
            raise SystemExit(3)

        asyncio.run(main())
        """
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 3


async def test_what_was_asked_of_a_closed_loop_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of a slow call may come when its event loop is gone; the thread lives on for the next."""
    go_on, disk, complaints = threading.Event(), OsDisk(), []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    monkeypatch.setattr(os, "listdir", lambda _: go_on.wait(10) and [])

    def abandoned() -> None:
        async def give_up() -> None:
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
            await disk.list(str(tmp_path))

        with pytest.raises(asyncio.CancelledError):
            asyncio.run(give_up())

    await asyncio.to_thread(abandoned)
    go_on.set()
    assert await disk.list(str(tmp_path)) == []
    assert not complaints
