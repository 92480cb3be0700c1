"""The frames of a log, as replay reads them from one segment.

The oracle is the images, not the damage: a log may come back shorter than it was acknowledged only where its last
frame lost a sector that held something, and so cannot be told from one whose write never finished.
"""

from functools import lru_cache
from random import Random

import msgspec
from crc32c import crc32c
from tests.storage.replica import MEMBERS, entry

from fuzz.pieces import Numbers
from fuzz.target import Target
from oarlock.errors import CorruptLog
from oarlock.storage import frame as frames
from oarlock.storage.disk import SECTOR_BYTES
from oarlock.storage.frame import Frame, encode, encode_entries, padded, salt
from oarlock.storage.identity import new_identity
from oarlock.storage.replay import Replay, Segment
from oarlock.storage.segment import SegmentHeader
from oarlock.types import Boot, Entry, EntryKind, Index, ReplicaId, Term

State = tuple[int, int, list[Entry]]
"""Term, vote and entries: all that a restart must bring back."""

BLANK = bytes(SECTOR_BYTES)
IDENTITY = new_identity(ReplicaId(1), MEMBERS, "fuzz", 4711)
HEADER = SegmentHeader(
    number=1, cluster_id=IDENTITY.cluster_id, replica=ReplicaId(1), incarnation=4711, boot=Boot(1), term=Term(0),
    vote=ReplicaId(0), configuration=IDENTITY.configuration, first_index=Index(1), first_sequence=1,
    previous=None, first_frame_durable=False,
)  # fmt: skip


def damage(image: bytearray, numbers: Numbers) -> None:
    """One edit of a file, as disks and people make them."""
    if not image:
        return
    operation, value = numbers.take(), numbers.take()
    at = numbers.take(3) % len(image)
    sector = at - at % SECTOR_BYTES
    match operation % 7:
        case 0:
            image[at] ^= 1 << value % 8
        case 1:
            image[at] = value
        case 2:
            image[sector : sector + SECTOR_BYTES] = BLANK[: len(image) - sector]
        case 3:
            image[at : at + 16] = bytes((value,)) * min(16, len(image) - at)
        case 4:  # a write that went astray
            source = value * SECTOR_BYTES % len(image)
            copy = image[source : source + SECTOR_BYTES]
            image[sector : sector + len(copy)] = copy
        case 5:
            image[sector:] = bytes(len(image) - sector)
        case _:
            del image[sector if value % 2 else at :]


def _payload(size: int, fill: int) -> bytes:
    size_bytes = (0, 7, 900, SECTOR_BYTES - 150, SECTOR_BYTES + 100, 2 * SECTOR_BYTES, 3 * SECTOR_BYTES)[size % 7]
    match fill % 4:
        case 0:
            return bytes(size_bytes)
        case 1:
            return b"\x5a" * size_bytes
        case 2:  # one bit in a blank desert
            return bytes(size_bytes // 2) + b"\x10" + bytes(size_bytes // 2)
        case _:
            return Random(fill).randbytes(size_bytes)


@lru_cache(maxsize=256)
def written(program: bytes) -> tuple[tuple[bytes, ...], tuple[State, ...]]:
    """The frames that a program writes, as they stand on disk; and the state before the first and after each."""
    images: list[bytes] = []
    entries: list[Entry] = []
    states: list[State] = [(0, 0, [])]
    term = 1
    for sequence, step in enumerate(zip(*(iter(program),) * 3, strict=False), 1):
        shape, size, fill = step
        term += shape >> 5 & 1
        first = len(entries) + 1
        if shape & 0x10 and entries and shape % 3:
            first -= 1  # the new entries replace the last one
        new = [
            Entry(Index(index), Term(term), EntryKind.BATCH, index, _payload(size, fill + index))
            for index in range(first, first + shape % 3)
        ]
        entries = entries[: first - 1] + new
        last_term = entries[-1].term if entries else 0
        vote = shape >> 6
        frame = Frame(
            sequence, Index(first), Index(len(entries)), Term(last_term), Term(term), ReplicaId(vote),
            encode_entries(new),
        )  # fmt: skip
        images.append(encode(frame, salt(4711, 1)))
        states.append((term, vote, list(entries)))
    return tuple(images), tuple(states)


def replayed(image: bytes, first_frame_durable: bool = False) -> tuple[Replay, State]:
    header = msgspec.structs.replace(HEADER, first_frame_durable=first_frame_durable)
    replay = Replay(Term(0), ReplicaId(0), 1)
    replay.read_segment(Segment("1.wal", header, 0, None), image)
    return replay, (replay.term, replay.vote, replay.entries)


def check_log(data: bytes) -> None:
    """A damaged log is refused or read whole; only what looks torn is dropped, and only at the end."""
    numbers = Numbers(data)
    shape = numbers.take()
    first_frame_durable = bool(shape & 0x10)
    images, states = written(bytes(numbers.take() for _ in range(3 * (1 + shape % 5))))
    original = b"".join(images) + 2 * BLANK
    image = bytearray(original)
    for _ in range(4):
        if numbers:
            damage(image, numbers)
    try:
        replay, state = replayed(bytes(image), first_frame_durable)
    except CorruptLog:
        assert image != original, "a log without damage is refused"
        return
    assert state in states, "what came back was never the state"
    count = replay.next_sequence - 1
    assert state == states[count]
    if count == len(images):
        return
    assert count or not first_frame_durable, "a frame that was durable before its file had a name is dropped"
    start_at = sum(map(len, images[:count]))
    lost = [
        at
        for at in range(start_at, start_at + len(images[count]), SECTOR_BYTES)
        if original[at : at + SECTOR_BYTES] != BLANK and not any(image[at : at + SECTOR_BYTES])
    ]
    assert lost, f"frame {count + 1} is dropped, and no sector of it is blank that was not"
    assert replay.notes or not any(image[start_at:]), "a frame is dropped, and nobody is told"
    for later in range(count + 1, len(images)):
        at = sum(map(len, images[:later]))
        assert image[at : at + 80] != images[later][:80], "a frame is dropped in front of one that stands there whole"


def check_crafted(data: bytes) -> None:
    """Headers whose checksum is right and whose numbers are anything: refused as corrupt, and never worse."""
    numbers = Numbers(data)
    count = 1 + numbers.take() % 3
    image = b""
    special = (0, 1, 2, 3, 4, 5, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

    def number() -> int:
        choice = numbers.take()
        return special[choice % len(special)] if choice < 0xF0 else numbers.take(8)

    for sequence in range(1, count + 1):
        kind, size_bytes = numbers.take(), numbers.take()
        payload = bytes(numbers.take() for _ in range(size_bytes % 48))
        if kind & 1:
            payload = encode_entries([entry(1), entry(2)])
        fields = (
            sequence if kind & 2 else number(), number(), number(), number(), number(), number(),
            len(payload) if kind & 4 else number(), crc32c(payload) if kind & 8 else number() & 0xFFFFFFFF,
            number() & 0xFFFFFFFF, number() & 0xFFFFFFFF if kind & 16 else 0,
        )  # fmt: skip
        header = frames._FIELDS.pack(frames._MAGIC, *fields)
        frame = header + crc32c(header, salt(4711, 1)).to_bytes(4, "little") + payload
        image += frame.ljust(padded(len(frame)), b"\0")
    try:
        _, (_, _, entries) = replayed(image)
    except CorruptLog:
        return
    assert [one.index for one in entries] == list(range(1, len(entries) + 1))


_PROGRAMS = [
    b"\0\x01\x01\x01", b"\x01\x01\x05\x03\x22\x02\x01", b"\x02\x41\x04\x02\x00\0\0\x61\x05\x03",
    b"\x11\x01\x04\0\x52\x06\x07", b"\x04\x01\x02\x03\x21\x03\x04\x31\x01\x01\x40\x00\x00\x62\x06\x03",
]  # fmt: skip
EDITS = [
    b"", b"\0\x03\0\0\x20", b"\x02\0\0\x10\x00", b"\x02\0\0\0\0", b"\x05\0\0\x20\0", b"\x04\x01\0\x20\0",
    b"\x06\0\0\x11\0",
]  # fmt: skip
"""Programs for :func:`damage`, to begin with."""

TARGETS = [
    Target(name="log", check=check_log, max_bytes=48, seeds=[one + edit for one in _PROGRAMS for edit in EDITS]),
    Target(
        name="crafted-frames", check=check_crafted, max_bytes=160,
        seeds=[
            b"\0" + bytes((kind, 0, 1, 2, 1, 1, 1, 9)) + b"\x0a" * 6 for kind in (0x0E, 0x0F, 0x1F, 0x02, 0x0A, 0x06)
        ] + [b"\0\x0f\0\x01\x02\x01\x01\0\0\0", b"\x01\x0e\0\x01\x00\x00\x01\0\0\0\x0e\0\x01\x0a\x01\x01\0\0\0"],
    ),
]  # fmt: skip
