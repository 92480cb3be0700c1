"""What is torn, what is damaged, and what follows: a tear is dropped, damage is never."""

import struct
from random import Random

import msgspec
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock.errors import CorruptLog
from oarlock.storage.disk import SECTOR_BYTES
from oarlock.storage.frame import Fault, Frame, Unreadable, encode, encode_entries, frame_bytes, read, salt
from oarlock.storage.segment import read_header
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Entry, Index, ReplicaId, Term
from tests.storage.replica import (
    append,
    entries,
    entry,
    known,
    large,
    new_replica,
    newest_segment,
    start,
    used_bytes,
)

SEGMENT_BYTES = 32 * SECTOR_BYTES
BLANK = bytes(SECTOR_BYTES)


async def a_log(*frames: tuple[int, int, list[Entry]]) -> tuple[MemoryDisk, str, list[int]]:
    """A disk with these frames in the newest segment; where each starts, and where the last one ends."""
    disk = MemoryDisk(Random(1))
    await new_replica(disk)
    wal, _ = await start(disk, SEGMENT_BYTES)
    path = newest_segment(disk)
    offsets = [wal._offset]
    for term, vote, new in frames:
        await append(wal, term, vote, *new)
        offsets.append(wal._offset)
    assert newest_segment(disk) == path
    await wal.close()
    return disk, path, offsets


async def refusal(disk: MemoryDisk) -> str:
    with pytest.raises(CorruptLog) as error:
        await start(disk, SEGMENT_BYTES)
    return str(error.value)


async def test_scenario_36_torn_tail_versus_damage_in_the_middle() -> None:
    random = Random(1)
    frames = [(1, 1, [entry(1, payload=large(random, 2))]), (1, 1, [entry(2, payload=large(random, 2))])]

    disk, path, offsets = await a_log(*frames)
    disk.overwrite(path, offsets[1] + SECTOR_BYTES, BLANK)  # of the last frame
    _, state = await start(disk, SEGMENT_BYTES)
    assert known(state) == (1, 1, frames[0][2])
    assert state.notes == (f"dropped a torn frame at offset {offsets[1]} of {path}: its write never finished",)
    _, state = await start(disk, SEGMENT_BYTES)
    assert (known(state), state.notes) == ((1, 1, frames[0][2]), ()), "dropped once and for all"

    disk, path, offsets = await a_log(*frames)
    disk.overwrite(path, offsets[0] + SECTOR_BYTES, BLANK)  # of the one before it
    text = await refusal(disk)
    assert f"{path} is damaged at offset {offsets[0]}" in text
    assert "Replace the replica" in text
    assert "keep a copy of the whole directory" in text
    assert await refusal(disk) == text, "refusing changes nothing"


async def test_scenario_36_a_torn_frame_may_have_lost_its_header() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=large(Random(1), 2))]))
    disk.overwrite(path, offsets[1], BLANK)
    _, state = await start(disk, SEGMENT_BYTES)
    assert known(state) == (1, 1, entries(1, 2))
    assert len(state.notes) == 1


async def test_scenario_36_a_blank_header_before_a_later_frame_is_damage() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, entries(3, 4)), (2, 0, []))
    disk.overwrite(path, offsets[1], BLANK)
    assert f"offset {offsets[1]}" in await refusal(disk)


async def test_scenario_36_damage_before_a_later_segment_is_never_a_tear() -> None:
    disk, path, _ = await a_log((1, 1, [entry(1, payload=large(Random(1), 2))]))
    wal, _ = await start(disk, SEGMENT_BYTES)
    await append(wal, 1, 1, entry(2))
    await append(wal, 1, 1, entry(3))
    while newest_segment(disk) == path or len([p for p in disk.paths() if p.endswith(".wal")]) < 3:
        path = newest_segment(disk)
        await append(wal, 1, 1)
    await wal.close()
    older = [p for p in disk.paths() if p.endswith(".wal")][-2]
    disk.overwrite(older, used_bytes(disk, older) - SECTOR_BYTES, BLANK)
    assert older in await refusal(disk)


async def test_a_missing_segment_in_the_middle_is_damage() -> None:
    disk, path, _ = await a_log((1, 1, entries(1, 2)), (1, 1, entries(3, 4)))
    wal, _ = await start(disk, SEGMENT_BYTES)
    await wal.close()
    await disk.remove(path)
    assert f"{path} is damaged at offset 0: the file is missing" in await refusal(disk)


async def test_an_older_segment_that_was_cut_short_is_damage() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, entries(3, 4)), (1, 1, entries(5, 6)))
    wal, _ = await start(disk, SEGMENT_BYTES)
    await wal.close()
    assert len(disk.contents(path)) == offsets[2], "what was written again, and all behind it, was given back"
    await (await disk.open(path)).truncate(offsets[1])
    assert f"{path} is damaged at offset {offsets[1]}: the file is cut short" in await refusal(disk)


async def test_a_newest_segment_that_is_cut_within_a_sector_is_damage() -> None:
    """Nothing ever writes a part of a sector, so a frame that ends in one was not torn by a failure of power."""
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=large(Random(1), 2))]))
    await (await disk.open(path)).truncate(offsets[1] + 100)
    assert f"{path} is damaged at offset {offsets[1] + 100}: the file is cut short" in await refusal(disk)


async def test_a_segment_of_recovery_that_is_cut_behind_its_header_is_damage() -> None:
    disk, _, _ = await a_log((1, 1, entries(1, 2)))
    wal, _ = await start(disk, SEGMENT_BYTES)
    await wal.close()
    path = newest_segment(disk)
    await (await disk.open(path)).truncate(SECTOR_BYTES)
    assert f"{path} is damaged at offset {SECTOR_BYTES}: the file is cut short" in await refusal(disk)


async def test_an_earlier_header_in_place_of_the_last_frame_does_not_pass_for_torn() -> None:
    disk, path, offsets = await a_log((1, 1, [entry(1, payload=large(Random(1), 2))]), (1, 1, entries(2, 3)))
    disk.overwrite(path, offsets[1], disk.contents(path)[offsets[0] : offsets[0] + SECTOR_BYTES])
    assert f"{path} is damaged at offset {offsets[1]}: the last frame" in await refusal(disk)


@pytest.mark.parametrize(
    ("first_index", "last_index", "payload"),
    [
        (1, 1, b""),
        (1, (1 << 64) - 1, b""),
        (3, 4, encode_entries(entries(3, 5))),
        (3, 4, encode_entries(entries(4, 5))),
        (3, 3, b"\x91\x96\x03\x01\x01\x1e\xc4\x00" + b"\x91" * 5000),
        (3, 3, b"\xc1"),
        ((1 << 64) - 1, (1 << 64) - 1, b""),
    ],
)
async def test_a_frame_whose_checksums_are_right_and_whose_numbers_are_not_is_damage(
    first_index: int, last_index: int, payload: bytes
) -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)))
    frame = Frame(2, Index(first_index), Index(last_index), Term(1), Term(1), ReplicaId(1), payload)
    number = int(path.removesuffix(".wal")[-16:])
    disk.overwrite(path, offsets[1], encode(frame, salt(4711, number)))
    assert f"{path} is damaged at offset {offsets[1]}: " in await refusal(disk)


async def test_a_segment_header_whose_checksums_are_right_and_whose_text_is_not_is_damage() -> None:
    disk, path, _ = await a_log((1, 1, entries(1, 2)))
    header, _ = await read_header(await disk.open(path), path)
    body = msgspec.msgpack.encode(header).replace(b"a:7001", b"a:\xff\xff\xff\xff")
    prologue = struct.pack("<8s3I", b"oarwalog", 1, len(body), crc32c(body))
    disk.overwrite(path, 0, prologue + struct.pack("<I", crc32c(prologue)) + body)
    assert f"{path} is damaged at offset 0: the segment's header makes no sense" in await refusal(disk)


async def test_scenario_51_the_last_acknowledged_frame_is_flipped_and_does_not_pass_for_torn() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=large(Random(1), 2))]))
    disk.flip_bit(path, 8 * (offsets[1] + SECTOR_BYTES + 17))
    assert f"offset {offsets[1]}" in await refusal(disk)


async def test_scenario_51_the_only_bit_of_a_sector_is_flipped_and_does_not_pass_for_torn() -> None:
    for position in range(2 * SECTOR_BYTES, 2 * SECTOR_BYTES + 300, 17):
        bitmap = bytearray(4 * SECTOR_BYTES)
        bitmap[position] = 0x10
        disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=bytes(bitmap))]))
        whole = disk.contents(path)[offsets[1] : offsets[2]]
        sparse = [at for at in range(0, len(whole), SECTOR_BYTES) if whole[at : at + SECTOR_BYTES].count(0) == 4095]
        assert not sparse, "no sector depends on one bit"
        bit = next(bit for bit in range(8 * 2 * SECTOR_BYTES, 8 * len(whole)) if whole[bit // 8] >> bit % 8 & 1)
        disk.flip_bit(path, 8 * offsets[1] + bit)
        await refusal(disk)


@pytest.mark.parametrize("bit", [0, 100, 8 * 50, 8 * 79 + 7, 8 * 2000])
async def test_scenario_63_a_flipped_vote_is_damage(bit: int) -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (7, 3, []))
    assert offsets[2] - offsets[1] == SECTOR_BYTES
    disk.flip_bit(path, 8 * offsets[1] + bit)
    if bit < 8 * 80:
        assert f"offset {offsets[1]}" in await refusal(disk)
    else:
        _, state = await start(disk, SEGMENT_BYTES)
        assert (state.term, state.vote) == (7, 3), "padding holds nothing"


async def test_scenario_63_a_torn_vote_is_the_end_of_the_log() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (7, 3, []))
    disk.overwrite(path, offsets[1], BLANK)
    _, state = await start(disk, SEGMENT_BYTES)
    assert (known(state), state.notes) == ((1, 1, entries(1, 2)), ())


async def test_a_frame_that_recovery_wrote_is_never_taken_for_torn() -> None:
    """It was durable before its segment had a name, so blank sectors in it are damage."""
    disk, _, _ = await a_log((1, 1, [entry(1, payload=large(Random(1), 2))]))
    wal, _ = await start(disk, SEGMENT_BYTES)
    await wal.close()
    path = newest_segment(disk)
    disk.overwrite(path, 2 * SECTOR_BYTES, BLANK)
    assert f"{path} is damaged at offset {SECTOR_BYTES}" in await refusal(disk)


async def test_what_lies_beyond_the_end_of_an_older_segment_is_ignored_for_ever() -> None:
    disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=large(Random(1), 3))]))
    torn = disk.contents(path)[offsets[1] :]
    disk.overwrite(path, offsets[1] + SECTOR_BYTES, BLANK)
    wal, state = await start(disk, SEGMENT_BYTES)
    await append(wal, 2, 0, entry(3, term=2))
    await wal.close()
    older = [p for p in disk.paths() if p.endswith(".wal")]
    for damaged in older[:-1]:
        disk.overwrite(damaged, len(disk.contents(damaged)), torn)
    _, state = await start(disk, SEGMENT_BYTES)
    assert known(state) == (2, 0, [*entries(1, 2), entry(3, term=2)])


async def test_a_value_that_looks_like_a_later_frame_proves_nothing() -> None:
    """A client may store the bytes of a log. Only those of this very segment count as a frame."""
    other = encode(Frame(99, Index(1), Index(0), Term(0), Term(1), ReplicaId(0), b""), salt(1, 1))
    value = (b"x" * 4000 + other * 3)[: 3 * SECTOR_BYTES]
    for shift in range(0, 4096, 512):
        payload = b"y" * shift + value
        disk, path, offsets = await a_log((1, 1, entries(1, 2)), (1, 1, [entry(3, payload=payload)]))
        disk.overwrite(path, offsets[1], BLANK)
        _, state = await start(disk, SEGMENT_BYTES)
        assert known(state) == (1, 1, entries(1, 2))


async def test_scenario_37_one_flipped_bit_stops_one_replica_and_costs_the_others_nothing() -> None:
    random = Random(3)
    frames = [(1, 1, [entry(index, payload=random.randbytes(random.randrange(6000)))]) for index in range(1, 8)]
    written = [one for _, _, new in frames for one in new]
    disks = [await a_log(*frames) for _ in range(3)]
    (flipped, path, offsets), *others = disks
    flipped.flip_bit(path, 8 * (offsets[3] + 40))
    await refusal(flipped)
    for disk, _, _ in others:
        _, state = await start(disk, SEGMENT_BYTES)
        assert known(state) == (1, 1, written)


async def test_scenario_37_no_single_flipped_bit_ever_drops_what_was_acknowledged() -> None:
    """Anywhere in the log: headers of segments, headers of frames, payloads, padding, blank space behind."""
    random = Random(5)
    sparse = bytes(SECTOR_BYTES + 100) + b"\1" + bytes(2 * SECTOR_BYTES)
    frames = [
        (1, 1, entries(1, 2)),
        (2, 3, []),
        (2, 3, [entry(3, 2, sparse), entry(4, 2)]),
        (3, 0, [entry(4, 3, large(random, 1)), entry(5, 3, bytes(3 * SECTOR_BYTES))]),
    ]
    disk, path, offsets = await a_log(*frames)
    whole = disk.contents(path)
    expected = (3, 0, [*entries(1, 2), entry(3, 2, sparse), *frames[3][2]])
    bits = [random.randrange(8 * (offsets[-1] + SECTOR_BYTES)) for _ in range(150)]
    bits += [8 * offset + bit for offset in (0, *offsets[:-1]) for bit in range(0, 8 * 90, 29)]
    bits += [bit for bit in range(8 * offsets[-1]) if whole[bit // 8] >> bit % 8 & 1 and bit % 97 == 0]
    refused = 0
    for bit in bits:
        disk, path, offsets = await a_log(*frames)
        disk.flip_bit(path, bit)
        try:
            _, state = await start(disk, SEGMENT_BYTES)
        except CorruptLog:
            refused += 1
        else:
            assert known(state) == expected, f"bit {bit}"
    assert refused > len(bits) // 4


def image_of(payload: bytes) -> tuple[Frame, bytes]:
    new = [entry(1, payload=payload)]
    frame = Frame(5, Index(1), Index(1), Term(1), Term(1), ReplicaId(2), encode_entries(new))
    return frame, encode(frame, salt(7, 1))


PAYLOADS = st.one_of(
    st.binary(max_size=3 * SECTOR_BYTES),
    st.builds(
        lambda size, at, byte: bytes(at % (size + 1)) + bytes([byte]) + bytes(size),
        st.integers(0, 5 * SECTOR_BYTES),
        st.integers(0),
        st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 255]),
    ),
)


@settings(deadline=None)
@given(PAYLOADS)
def test_a_frame_reads_back(payload: bytes) -> None:
    frame, image = image_of(payload)
    assert len(image) == frame_bytes(frame.payload)
    found = read(memoryview(image), salt(7, 1))
    assert found == frame
    assert frame.entries() == [entry(1, payload=payload)]
    assert isinstance(read(memoryview(image), salt(7, 2)), Unreadable), "it belongs to one segment"


@settings(max_examples=300, deadline=None)
@given(PAYLOADS, st.data())
def test_every_tear_is_told_from_every_flip(payload: bytes, data: st.DataObject) -> None:
    frame, image = image_of(payload)
    sectors = range(0, len(image), SECTOR_BYTES)
    lost = data.draw(st.lists(st.sampled_from(sectors), min_size=1, unique=True))
    torn = b"".join(BLANK if at in lost else image[at : at + SECTOR_BYTES] for at in sectors)
    found = read(memoryview(torn), salt(7, 1))
    if torn == image:
        assert found == frame
    else:
        assert isinstance(found, Unreadable)
        assert found.fault is (Fault.BLANK if 0 in lost else Fault.TORN)

    in_the_last_sector = st.integers(8 * sectors[-1], 8 * len(image) - 1)
    bit = data.draw(st.one_of(st.integers(0, 8 * len(image) - 1), in_the_last_sector))
    flipped = bytearray(image)
    flipped[bit // 8] ^= 1 << bit % 8
    found = read(memoryview(bytes(flipped)), salt(7, 1))
    assert found == frame or (isinstance(found, Unreadable) and found.fault is Fault.DAMAGED)
