"""Power failures and kills at every step: no acknowledged append is lost, and no honest tear passes for damage."""

import asyncio
import contextlib
import errno
from random import Random

import pytest

from oarlock.errors import ReplicaFailed
from oarlock.storage.identity import load_identity
from oarlock.storage.wal import Wal
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import Entry, ReplicaId, Term
from tests.storage.replica import DIRECTORY, SEGMENT_BYTES, entries, entry, known, new_replica, newest_segment, start

Known = tuple[int, int, list[Entry]]


class Life:
    """A replica that appends at random, and what must be true of it after the next start."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.disk = MemoryDisk(random)
        self.boot = 0
        self.acknowledged: Known = (0, 0, [])
        self.asked: Known = self.acknowledged
        """The acknowledged, or what an append that has not returned would make of it."""

    async def begin(self) -> None:
        await new_replica(self.disk)

    async def start(self) -> Wal:
        wal, state = await start(self.disk)
        assert known(state) in (self.acknowledged, self.asked), "an acknowledged append was lost"
        assert state.boot > self.boot, "a boot was used twice"
        assert state.entries == entries_of(known(state))
        self.acknowledged = self.asked = known(state)
        self.boot = state.boot
        return wal

    async def append(self, wal: Wal) -> None:
        term, vote, log = self.acknowledged
        if self.random.random() < 0.5:
            term, vote = term + self.random.randint(0, 2), self.random.randint(0, 3)
        new: list[Entry] = []
        if self.random.random() < 0.8:
            term = max(term, 1)
            first = len(log) + 1 if self.random.random() < 0.7 else self.random.randint(1, len(log) + 1)
            new = [entry(first + more, term, self.payload()) for more in range(self.random.randint(1, 3))]
            log = log[: first - 1] + new
        self.asked = (term, vote, log)
        await wal.append(Term(term), ReplicaId(vote), new)
        self.acknowledged = self.asked

    def payload(self) -> bytes:
        size = self.random.choice((0, 10, 3000, 4096, 9000, 20000, 50000))
        kind = self.random.randrange(3)
        if kind == 0:
            return self.random.randbytes(size)
        sparse = bytearray(size)  # a bitmap, as clients keep them
        if kind == 1 and size:
            sparse[self.random.randrange(size)] = 1 << self.random.randrange(8)
        return bytes(sparse)

    def crash(self) -> None:
        self.disk = self.disk.lose_power() if self.random.random() < 0.6 else self.disk.kill()


def entries_of(state: Known) -> list[Entry]:
    """The entries, checked to be numbered without gaps."""
    assert [one.index for one in state[2]] == list(range(1, len(state[2]) + 1))
    return state[2]


async def start_through_crashes(life: Life, crashes: int) -> Wal:
    """Start, with the power failing in the middle of the recovery so many times first."""
    for _ in range(crashes):
        life.disk.power_fails_at = life.random.randint(1, 12)
        with contextlib.suppress(PowerFailure):
            await life.start()
        life.crash()
    return await life.start()


@pytest.mark.parametrize("seed", range(40))
async def test_scenario_38_random_lives_lose_nothing(seed: int) -> None:
    life = Life(Random(seed))
    await life.begin()
    for _ in range(12):
        wal = await start_through_crashes(life, life.random.choice((0, 0, 1, 2)))
        life.disk.power_fails_at = life.disk.steps + life.random.randint(1, 40)
        with contextlib.suppress(PowerFailure):
            while True:
                await life.append(wal)
                if life.random.random() < 0.3:
                    await asyncio.sleep(0)  # let the spare get on
        life.crash()
    await life.start()


async def play(life: Life, appends: int) -> None:
    wal = await life.start()
    for _ in range(appends):
        await life.append(wal)


async def steps_of(seed: int, appends: int) -> int:
    life = Life(Random(seed))
    await life.begin()
    before = life.disk.steps
    await play(life, appends)
    return life.disk.steps - before


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
async def test_scenario_64_power_fails_at_every_step_and_at_every_step_of_the_recovery_too(seed: int) -> None:
    """One life, cut off at each of its steps; each recovery cut off at each of its own; and that one once more."""
    total = await steps_of(seed, appends=8)
    assert total > 20
    for step in range(1, total + 1):
        for recovery_step in range(1, 10):
            life = Life(Random(seed))
            await life.begin()
            life.disk.power_fails_at = life.disk.steps + step
            with pytest.raises(PowerFailure):
                await play(life, appends=9)
            life.crash()
            life.disk.power_fails_at = recovery_step
            try:
                await life.start()
            except PowerFailure:
                life.crash()
                life.disk.power_fails_at = life.random.randint(1, 12)
                with contextlib.suppress(PowerFailure):
                    await life.start()
            life.crash()
            await life.start()


async def test_scenario_50_an_entry_read_from_the_page_cache_is_durable_before_the_start_returns() -> None:
    for seed in range(20):
        disk = MemoryDisk(Random(seed))
        await new_replica(disk)
        wal, _ = await start(disk)
        await wal.append(Term(1), ReplicaId(0), entries(1, 2))
        disk.power_fails_in_next("sync", newest_segment(disk))
        with pytest.raises(PowerFailure):
            await wal.append(Term(1), ReplicaId(0), entries(3, 3))
        disk = disk.kill()
        _, state = await start(disk)
        assert known(state) == (1, 0, entries(1, 3)), "the page cache still has it"
        _, state = await start(disk.lose_power())
        assert known(state) == (1, 0, entries(1, 3)), "it was acknowledged after the restart"


async def test_scenario_50_an_entry_whose_sync_failed_is_durable_before_the_start_returns() -> None:
    """The kernel has marked its pages clean: another sync of the same file would do nothing."""
    for seed in range(20):
        disk = MemoryDisk(Random(seed))
        await new_replica(disk)
        wal, _ = await start(disk)
        disk.fail_next("sync", errno.EIO, newest_segment(disk))
        with pytest.raises(ReplicaFailed, match="Input/output error"):
            await wal.append(Term(1), ReplicaId(0), entries(1, 1))
        disk = disk.kill()
        _, state = await start(disk)
        assert known(state) == (1, 0, entries(1, 1))
        _, state = await start(disk.lose_power())
        assert known(state) == (1, 0, entries(1, 1))


async def test_scenario_65_the_last_frame_is_torn_on_all_replicas_and_all_come_back() -> None:
    for seed in range(15):
        random = Random(seed)
        for replica in (1, 2, 3):
            disk = MemoryDisk(random)
            await new_replica(disk, replica, incarnation=replica)
            wal, _ = await start(disk, 64 * SEGMENT_BYTES)
            await wal.append(Term(3), ReplicaId(1), entries(1, 5, term=3))
            disk.power_fails_in_next("sync", newest_segment(disk))
            with pytest.raises(PowerFailure):
                await wal.append(Term(3), ReplicaId(1), [entry(6, 3, random.randbytes(40_000))])
            _, state = await start(disk.lose_power())
            assert state.entries[:5] == entries(1, 5, term=3)
            assert (state.term, state.vote) == (3, 1)
            assert len(state.entries) == 5 or not state.notes


async def test_the_directory_still_belongs_to_the_same_replica_after_a_crash() -> None:
    life = Life(Random(1))
    await life.begin()
    identity = await load_identity(life.disk, DIRECTORY)
    await life.start()
    life.crash()
    assert await load_identity(life.disk, DIRECTORY) == identity
