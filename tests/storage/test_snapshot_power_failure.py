"""Power failures and kills at every step of taking a snapshot, of giving space back, and of receiving a snapshot."""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random

import pytest

from oarlock.errors import CorruptSnapshot
from oarlock.storage.identity import load_identity
from oarlock.storage.snapshots import SnapshotStore
from oarlock.storage.wal import DurableState, Wal
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import Entry, Index, ReplicaId, Term
from tests.storage.replica import DIRECTORY, SEGMENT_BYTES, new_replica
from tests.storage.snapshots import header_at, open_store, pieces_of, take

RECOVERY_STEPS = 16


def term_of(index: int) -> int:
    return 1 + index // 7


def agreed(index: int) -> Entry:
    """What the cluster has agreed on at this index. Sizes differ, so that segments begin in all kinds of places."""
    payload = Random(index).randbytes((30, 6000, 9000)[index % 3])
    return Entry(Index(index), Term(term_of(index)), 1, index * 10, payload)


def image(index: int) -> list[bytes]:
    """The state after the entry at this index."""
    return [b"state %d" % index, Random(index).randbytes(5000)]


class Life:
    """A replica that follows a leader, and what must be true of it after the next start."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.disk = MemoryDisk(random)
        self.cluster = ""
        self.boot = 0
        self.last = 0
        """Acknowledged up to here."""
        self.votes = [(0, 0)]
        """Terms and votes that may be durable; the first one is for sure."""
        self.image_at = 0
        """A snapshot that was finished."""
        self.received = False

    async def begin(self) -> None:
        self.cluster = (await new_replica(self.disk)).cluster_id

    async def start(self) -> tuple[Wal, SnapshotStore]:
        store = await open_store(self.disk, self.cluster)
        identity = await load_identity(self.disk, DIRECTORY)
        wal, state = await Wal.open(self.disk, DIRECTORY, identity, store, segment_bytes=SEGMENT_BYTES)
        await self.check(state)
        return wal, store

    async def check(self, state: DurableState) -> None:
        assert state.boot > self.boot, "a boot was used twice"
        self.boot = state.boot
        numbers = [one.index for one in state.entries]
        last = state.base_index + len(numbers)
        assert numbers == list(range(state.base_index + 1, last + 1)), "there is a gap"
        assert state.entries == [agreed(number) for number in numbers]
        assert last >= self.last, "an acknowledged entry was lost"
        base = (term_of(state.base_index), 10 * state.base_index) if state.base_index else (0, 0)
        assert (state.base_term, state.base_time_ms) == base
        image_at = 0
        if state.snapshot is not None:
            image_at = state.snapshot.point.index
            assert state.snapshot.point.term == term_of(image_at)
            assert state.configuration == header_at(image_at).point.configuration
            assert await pieces_of(self.disk, state.snapshot_path) == image(image_at)
        assert state.base_index <= image_at <= last, "the snapshot and the log do not meet"
        assert state.notes == () or image_at >= self.image_at
        assert (state.term, state.vote) in [*self.votes, (term_of(state.base_index), 0)]
        assert (state.term, state.vote) >= self.votes[0], "a term or a vote was forgotten"
        assert state.term >= (state.entries[-1].term if state.entries else state.base_term)
        self.last, self.votes = last, [(state.term, state.vote)]

    async def append(self, wal: Wal, last: int, base: int | None = None) -> None:
        term = max(self.votes[0][0], term_of(last)) + self.random.randint(0, 1)
        vote = self.random.randint(1, 3) if term > self.votes[0][0] else self.votes[0][1]
        self.votes.append((term, vote))
        first = self.last + 1 if base is None else base + 1
        new = [agreed(number) for number in range(first, last + 1)]
        stands_on = None if base is None else (Index(base), Term(term_of(base)))
        await wal.append(Term(term), ReplicaId(vote), new, base=stands_on)
        self.last, self.votes = last, [(term, vote)]

    async def take(self, wal: Wal, store: SnapshotStore) -> None:
        index = max(1, self.last - self.random.randint(0, 1))
        await take(self.disk, store, header_at(index, term_of(index), self.cluster), image(index))
        self.image_at = index
        wal.release(store.log_needed_after)

    async def receive(self, wal: Wal, store: SnapshotStore, ahead: int, more: int) -> None:
        """Receive a snapshot from a leader that is ahead, and some entries behind it."""
        index = self.last + ahead
        leader = MemoryDisk(Random(1))
        header = header_at(index, term_of(index), self.cluster)
        data = leader.contents((await take(leader, await open_store(leader), header, image(index))).path)
        receiving = await store.receive(len(data))
        for offset in range(0, len(data), 3000):
            await receiving.write(offset, data[offset : offset + 3000])
        self.received = True
        await receiving.finish(Index(index), Term(term_of(index)))
        self.image_at = index
        wal.release(store.log_needed_after)
        await self.append(wal, index + more, base=index)

    def crash(self) -> None:
        self.disk = self.disk.lose_power() if self.random.random() < 0.6 else self.disk.kill()

    async def damage_newest(self) -> None:
        """The newest snapshot is damaged, and one before it is there: so is the log from there on."""
        store = await open_store(self.disk, self.cluster)
        if len(store.all) < 2:
            return
        path = store.all[0].path
        self.disk.flip_bit(path, 8 * len(self.disk.contents(path)) - 1000)
        self.image_at = store.all[1].header.point.index
        try:
            await self.start()
        except CorruptSnapshot:
            assert self.received, "with snapshots of its own it starts from the older one"


async def play(life: Life, script: Sequence[str]) -> None:
    wal, store = await life.start()
    for word in script:
        match word:
            case "append":
                await life.append(wal, life.last + life.random.choice((0, 1, 1, 2)) + (life.last == 0))
            case "take":
                await life.take(wal, store)
            case "receive":
                await life.receive(wal, store, life.random.randint(1, 30), life.random.choice((0, 0, 1, 3)))
            case "wait":  # let what goes on beside get on
                for _ in range(life.random.randint(0, 20)):
                    await asyncio.sleep(0)
            case "restart":
                await wal.close()
                wal, store = await life.start()
    await wal.close()


APPENDING = ["append", "append", "wait"] * 3
SCRIPTS = {
    "taking snapshots": [*APPENDING, "take", *APPENDING, "take", *APPENDING, "take", *APPENDING],
    "receiving one early": ["append", "receive", "append", "restart", "append", "take", *APPENDING],
    "receiving one late": [*APPENDING, "take", *APPENDING, "take", "receive", *APPENDING, "take", "append", "restart"],
    "receiving two": ["receive", "receive", "restart", "take", "append", "append"],
}


async def steps_of(script: Sequence[str], seed: int) -> int:
    life = Life(Random(seed))
    await life.begin()
    begun = life.disk.steps
    await play(life, script)
    return life.disk.steps - begun


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_scenario_20_a_crash_at_any_step_leaves_a_replica_that_starts(name: str, seed: int) -> None:
    """The power fails at every step, then in the middle of some recoveries, until one gets through; twice."""
    total = await steps_of(SCRIPTS[name], seed)
    assert total > 20
    for step in range(1, total + 1):
        life = Life(Random(seed))
        await life.begin()
        life.disk.power_fails_at = life.disk.steps + step
        with pytest.raises(PowerFailure):
            await play(life, SCRIPTS[name])
        life.crash()
        for _ in range(life.random.choice((0, 1, 1, 2))):
            life.disk.power_fails_at = life.random.randint(1, RECOVERY_STEPS)
            with contextlib.suppress(PowerFailure):
                await life.start()
            life.crash()
        wal, store = await life.start()
        await life.append(wal, life.last + 1)
        await life.take(wal, store)
        await life.append(wal, life.last + 1)
        life.crash()
        await life.start()
        life.crash()
        await life.damage_newest()
