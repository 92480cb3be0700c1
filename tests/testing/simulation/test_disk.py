"""The simulated disk: every step takes time, and goes wrong in the ways that it should."""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from oarlock.storage.disk import SECTOR_BYTES
from oarlock.testing.simulation.disk import SimulatedDisk
from tests.testing.simulation.world import World

PATH = "/data/log"


class Machine:
    """A disk and the process that uses it, and a file with a sector of "a", synced."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.bites: list[str] = []
        self.disk = SimulatedDisk(Random(seed), self.world.loop, self.bites.append)
        self.disk.attach(self.world.process(), self.world.wires.new_source())
        self.file = self.do(self._prepare())

    async def _prepare(self) -> Any:
        await self.disk.make_directory("/data")
        file = await self.disk.open(PATH, create=True)
        await file.write_at(0, b"a" * SECTOR_BYTES, sync=True)
        await self.disk.sync_directory("/data")
        return file

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.world.result(coroutine)

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.world.process().start(coroutine)

    def took_s(self, coroutine: Coroutine[Any, Any, Any]) -> float:
        before = self.world.loop.now
        self.do(coroutine)
        return self.world.loop.now - before

    @property
    def content(self) -> bytes:
        return self.disk.contents(PATH)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_each_step_takes_time_and_a_sync_takes_more(machine: Machine) -> None:
    writes = [machine.took_s(machine.file.write_at(0, b"b")) for _ in range(20)]
    syncs = [machine.took_s(machine.file.sync()) for _ in range(20)]
    assert min(writes) > 0
    assert max(writes) < min(syncs)
    assert len(set(syncs)) == 20


def test_a_slow_disk_takes_longer_and_counts_as_hit(machine: Machine) -> None:
    usual_s = max(machine.took_s(machine.file.sync()) for _ in range(20))
    machine.disk.troubles.slowness = 100.0
    assert machine.took_s(machine.file.sync()) > 5 * usual_s
    assert machine.bites == ["disk operation slowed down"]


def test_a_process_killed_in_the_middle_of_a_write_has_written_a_part() -> None:
    lengths = set()
    for seed in range(30):
        machine = Machine(seed)
        steps = machine.disk.steps
        machine.begin(machine.file.write_at(SECTOR_BYTES, b"b" * 4 * SECTOR_BYTES))
        assert machine.world.loop.run(60, lambda before=steps, disk=machine.disk: disk.steps > before)
        machine.world.process().kill()
        disk = machine.disk.kill()
        lengths.add(len(disk.contents(PATH)) // SECTOR_BYTES)
        machine.world.go(machine.world.loop.now + 10)
        assert len(disk.contents(PATH)) // SECTOR_BYTES in lengths  # and not a byte more
    assert lengths == {1, 2, 3, 4, 5}


def test_what_was_written_and_not_synced_survives_a_kill_and_a_loss_of_power_perhaps() -> None:
    survived = set()
    for seed in range(30):
        machine = Machine(seed)
        machine.do(machine.file.write_at(0, b"b" * SECTOR_BYTES))
        killed = machine.disk.kill()
        assert killed.contents(PATH) == b"b" * SECTOR_BYTES
        after = killed.lose_power().contents(PATH)
        assert after[:1] * SECTOR_BYTES == after  # whole sectors
        survived.add(after[:1])
    assert survived == {b"a", b"b"}


def test_what_was_synced_survives() -> None:
    for seed in range(10):
        machine = Machine(seed)
        machine.do(machine.file.write_at(0, b"b" * SECTOR_BYTES, sync=True))
        assert machine.disk.lose_power().contents(PATH) == b"b" * SECTOR_BYTES


def test_a_synced_write_says_nothing_of_what_was_written_before() -> None:
    first, second = set(), set()
    for seed in range(20):
        machine = Machine(seed)
        machine.do(machine.file.write_at(0, b"b" * SECTOR_BYTES))
        machine.do(machine.file.write_at(SECTOR_BYTES, b"c" * SECTOR_BYTES, sync=True))
        left = machine.disk.lose_power().contents(PATH)
        first.add(left[:SECTOR_BYTES])
        second.add(left[SECTOR_BYTES:])
    assert first == {b"a" * SECTOR_BYTES, b"b" * SECTOR_BYTES}
    assert second == {b"c" * SECTOR_BYTES}


def test_a_synced_write_makes_no_more_of_the_size_durable_than_it_needs() -> None:
    sizes = set()
    for seed in range(20):
        machine = Machine(seed)
        machine.do(machine.file.write_at(4 * SECTOR_BYTES, b"b" * SECTOR_BYTES))
        machine.do(machine.file.write_at(SECTOR_BYTES, b"c" * 100, sync=True))
        left = machine.disk.lose_power().contents(PATH)
        assert left[SECTOR_BYTES : SECTOR_BYTES + 100] == b"c" * 100
        sizes.add(len(left))
    assert {SECTOR_BYTES + 100, 5 * SECTOR_BYTES} <= sizes


def test_what_is_written_after_a_failed_sync_stands_where_it_was_written() -> None:
    machine = Machine()
    machine.disk.troubles.failing, machine.disk.troubles.failing_in = True, ("sync",)
    with pytest.raises(OSError):
        machine.do(machine.file.write_at(2 * SECTOR_BYTES, b"b" * SECTOR_BYTES, sync=True))
    machine.do(machine.file.write_at(2 * SECTOR_BYTES, b"c" * SECTOR_BYTES, sync=True))
    left = machine.disk.lose_power().contents(PATH)
    assert left[2 * SECTOR_BYTES :] == b"c" * SECTOR_BYTES


def test_a_stalled_disk_finishes_nothing_until_it_goes_on(machine: Machine) -> None:
    machine.disk.troubles.stalled = True
    task = machine.begin(machine.file.write_at(0, b"b" * SECTOR_BYTES, sync=True))
    machine.world.go(50)
    assert not task.done()
    machine.disk.release()
    machine.do(task_of(task))
    assert machine.content == b"b" * SECTOR_BYTES
    assert machine.bites == ["disk operation stalled"]


async def task_of(task: Any) -> Any:
    return await task


def test_a_failing_disk_fails_once(machine: Machine) -> None:
    machine.disk.troubles.failing = True
    with pytest.raises(OSError) as caught:
        machine.do(machine.file.sync())
    assert caught.value.errno == errno.EIO
    assert machine.bites == ["disk operation failed"]
    machine.do(machine.file.sync())


def test_a_sync_that_failed_makes_nothing_durable_and_neither_does_the_next(machine: Machine) -> None:
    machine.do(machine.file.write_at(0, b"b" * SECTOR_BYTES))
    machine.disk.troubles.failing = True
    with pytest.raises(OSError):
        machine.do(machine.file.sync())
    machine.do(machine.file.sync())
    found = set()
    for seed in range(20):
        machine.disk._random.seed(seed)
        found.add(machine.disk.lose_power().contents(PATH)[:1])
    assert found == {b"a", b"b"}


def test_reads_do_not_fail_with_what_fails_writes(machine: Machine) -> None:
    machine.disk.troubles.failing = True
    assert machine.do(machine.file.read_at(0, 1)) == b"a"
    assert machine.disk.troubles.failing


def test_a_full_disk_takes_no_more_and_takes_it_when_there_is_room(machine: Machine) -> None:
    machine.disk.capacity_bytes = SECTOR_BYTES
    with pytest.raises(OSError) as caught:
        machine.do(machine.file.write_at(SECTOR_BYTES, b"b"))
    assert caught.value.errno == errno.ENOSPC
    assert machine.bites == ["no space on disk"]
    machine.do(machine.file.write_at(0, b"c"))  # where there was something before
    machine.disk.capacity_bytes = None
    machine.do(machine.file.write_at(SECTOR_BYTES, b"b"))


def test_damage_is_one_flipped_bit_or_a_sector_in_the_wrong_place_for_good(machine: Machine) -> None:
    machine.do(machine.file.write_at(SECTOR_BYTES, b"b" * SECTOR_BYTES + b"c" * SECTOR_BYTES, sync=True))
    before = machine.content
    kinds = set()
    for seed in range(40):
        assert machine.disk.misdirect(PATH, Random(seed))
        after = machine.content
        wrong = [at for at in range(len(before)) if before[at] != after[at]]
        kinds.add("bit" if len(wrong) == 1 else "sector")
        if len(wrong) == 1:
            assert bin(before[wrong[0]] ^ after[wrong[0]]).count("1") == 1
        else:
            sector = wrong[0] // SECTOR_BYTES * SECTOR_BYTES
            assert wrong == list(range(sector, sector + SECTOR_BYTES))
            assert after[sector : sector + SECTOR_BYTES] in (
                b"a" * SECTOR_BYTES,
                b"b" * SECTOR_BYTES,
                b"c" * SECTOR_BYTES,
            )
        assert machine.disk.lose_power().contents(PATH) == after
        machine.disk.overwrite(PATH, 0, before)
    assert kinds == {"bit", "sector"}


def test_there_is_nothing_to_damage_where_nothing_was_written(machine: Machine) -> None:
    machine.disk.overwrite(PATH, 0, bytes(SECTOR_BYTES))
    assert not machine.disk.misdirect(PATH, Random(1))


def test_a_disk_serves_the_next_process_where_the_last_one_left_it(machine: Machine) -> None:
    machine.world.process().kill()
    machine.disk = machine.disk.kill()
    machine.disk.attach(machine.world.process(), machine.world.wires.new_source())

    async def read() -> bytes:
        file = await machine.disk.open(PATH)
        return bytes(await file.read_at(0, 1))

    assert machine.do(read()) == b"a"


def test_at_the_end_of_the_world_no_finally_clause_touches_a_disk(machine: Machine) -> None:
    async def clean_up_at_last() -> None:
        try:
            await machine.world.loop.create_future()
        finally:
            try:
                await machine.disk.remove(PATH)
            except OSError:
                pytest.fail("a program would say something of it, in a log that is another's")

    process = machine.world.process()
    machine.disk.attach(process, machine.world.wires.new_source())
    process.start(clean_up_at_last())
    machine.world.loop.run(machine.world.loop.now + 1)
    machine.world.loop.end()
    assert machine.content
