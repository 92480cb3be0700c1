"""The identity of a replica that joins a cluster which has formed, and how its initialisation is tried again."""

import contextlib
from random import Random
from typing import Any

import msgspec
import pytest

from oarlock.errors import StartupError
from oarlock.storage.identity import (
    Identity,
    decode_identity,
    encode_identity,
    joining_identity,
    load_identity,
    record_refusal,
    waits_to_join,
    write_identity,
)
from oarlock.testing.memory_disk import MemoryDisk, PowerFailure
from oarlock.types import FIRST_BOOTS, Configuration, Joining, Member, ReplicaId
from tests.storage.replica import DIRECTORY, new_replica, start

ONE, TWO, THREE, FOUR, FIVE, NINE = (ReplicaId(n) for n in (1, 2, 3, 4, 5, 9))
CLUSTER = Configuration(
    members=tuple(Member(n, f"m{n}:7401", 100 + n) for n in (ONE, TWO, THREE, FIVE)),
    voters=(ONE, TWO, THREE),
    outgoing=(ONE, TWO),
    learners=(FIVE,),
    joining=(Joining(FIVE, ONE),),
    removed=(NINE,),
)
NEW = Member(FOUR, "m4:7401", (1 << 63) - 1)
JOINED = Configuration(
    (*CLUSTER.members, NEW),
    CLUSTER.voters,
    CLUSTER.outgoing,
    (FIVE, FOUR),
    (Joining(FIVE, ONE), Joining(FOUR, TWO)),
    removed=(),
)

FIRST_FORMAT = b"""{
  "format_version": 1,
  "cluster_id": "dd118a2b4c49c8bd",
  "cluster_name": "test",
  "replica": 1,
  "incarnation": 4711,
  "members": {
    "1": "a:7001",
    "2": "b:7001",
    "3": "c:7001"
  },
  "checksum": "crc32c:c9e3431f"
}
"""


def joining(configuration: Configuration = JOINED) -> Identity:
    return joining_identity(FOUR, cluster_id="c1", cluster_name="orders", configuration=configuration)


def test_who_has_left_is_for_the_log_to_say() -> None:
    leaving = msgspec.structs.replace(JOINED, removed=(NINE,))  # by a change under way, which may come to nothing
    assert joining(leaving).configuration.removed == ()


def test_the_first_format_is_read_for_ever_and_written_as_it_was() -> None:
    identity = decode_identity(FIRST_FORMAT, "identity.json")
    assert (identity.replica, identity.incarnation, identity.address) == (1, 4711, "a:7001")
    assert identity.configuration == Configuration(
        (Member(ONE, "a:7001"), Member(TWO, "b:7001"), Member(THREE, "c:7001")), (ONE, TWO, THREE)
    )
    assert encode_identity(identity) == FIRST_FORMAT


async def test_it_knows_the_cluster_and_itself_as_a_learner() -> None:
    disk = MemoryDisk(Random(1))
    await write_identity(disk, DIRECTORY, joining())
    disk = disk.lose_power()
    identity = await load_identity(disk, DIRECTORY)
    assert identity == joining() and identity.configuration == JOINED
    assert (identity.replica, identity.incarnation, identity.address) == (FOUR, NEW.incarnation, "m4:7401")
    _, state = await start(disk)
    assert state.configuration == JOINED


async def test_its_boots_are_above_all_those_of_its_former_directories() -> None:
    """A slice of this life must not be taken for one of an earlier."""
    for generation in (0, 1, 2):
        members = (*CLUSTER.members, msgspec.structs.replace(NEW, generation=generation))
        disk = MemoryDisk(Random(1))
        await write_identity(disk, DIRECTORY, joining(msgspec.structs.replace(JOINED, members=members)))
        _, state = await start(disk)
        assert state.boot == generation * FIRST_BOOTS + 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": CLUSTER.members},
        {"learners": (FIVE,), "voters": (ONE, FOUR)},
        {"members": (*CLUSTER.members, Member(FOUR, "m4:7401", 0))},
        {"members": (*CLUSTER.members, Member(FOUR, "m4:7401", 1 << 63))},
        {"members": (Member(ONE, "m1:7401", 0), NEW)},
    ],
)
def test_nobody_else_joins_and_no_identity_says_so(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        joining(msgspec.structs.replace(JOINED, **wrong))
    identity = msgspec.structs.replace(joining(), configuration=msgspec.structs.replace(JOINED, **wrong))
    with pytest.raises(StartupError, match="does not match its checksum"):
        decode_identity(encode_identity(identity), "identity.json")


def test_one_that_knows_itself_under_another_incarnation_is_damage() -> None:
    with pytest.raises(StartupError, match="does not match its checksum"):
        decode_identity(encode_identity(msgspec.structs.replace(joining(), incarnation=5)), "identity.json")


def test_no_flipped_bit_goes_unnoticed() -> None:
    identity = joining()
    text = encode_identity(identity)
    for bit in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_identity(bytes(flipped), "identity.json") == identity, "white space may differ"
        except StartupError as error:
            assert "does not match its checksum" in str(error)


async def test_it_waits_to_join_until_it_starts_or_is_refused() -> None:
    disk = MemoryDisk(Random(1))
    assert not await waits_to_join(disk, DIRECTORY)
    await write_identity(disk, DIRECTORY, joining())
    assert await waits_to_join(disk, DIRECTORY)
    wal, _ = await start(disk)
    await wal.close()
    assert not await waits_to_join(disk, DIRECTORY), "it may have promised something"

    refused = MemoryDisk(Random(1))
    await write_identity(refused, DIRECTORY, joining())
    await record_refusal(refused, DIRECTORY, "it was removed")
    assert not await waits_to_join(refused, DIRECTORY)

    initial = MemoryDisk(Random(1))
    await new_replica(initial)
    assert not await waits_to_join(initial, DIRECTORY), "it was initialised for the cluster's first day"


async def test_a_directory_is_initialised_once() -> None:
    disk = MemoryDisk(Random(1))
    await write_identity(disk, DIRECTORY, joining())
    with pytest.raises(StartupError, match="not empty"):
        await write_identity(disk, DIRECTORY, joining())
    assert await load_identity(disk, DIRECTORY) == joining()


async def test_power_may_fail_at_every_step_and_it_can_be_tried_again() -> None:
    counting = MemoryDisk(Random(1))
    await write_identity(counting, DIRECTORY, joining())
    for seed in range(6):
        for step in range(1, counting.steps + 1):
            disk = MemoryDisk(Random(seed))
            disk.power_fails_at = step
            with pytest.raises(PowerFailure):
                await write_identity(disk, DIRECTORY, joining())
            disk = disk.lose_power()
            if not await waits_to_join(disk, DIRECTORY):
                with contextlib.suppress(StartupError):
                    await write_identity(disk, DIRECTORY, joining())
            assert await waits_to_join(disk, DIRECTORY)
