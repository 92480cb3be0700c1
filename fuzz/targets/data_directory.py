"""A data directory as a start finds it: headers of segments, whole logs, the identity."""

import asyncio
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec
from crc32c import crc32c
from tests.storage.replica import DIRECTORY, WAL, append, entry, new_replica, start

from fuzz.pieces import Numbers, controls
from fuzz.target import Target
from fuzz.targets.log_frames import BLANK, EDITS, HEADER, IDENTITY, State, damage
from fuzz.virtual_loop import finish
from oarlock.errors import StartupError
from oarlock.storage import segment as segments
from oarlock.storage.disk import SECTOR_BYTES
from oarlock.storage.identity import Identity, decode_identity, encode_identity, joining_identity, load_identity
from oarlock.storage.prologue import with_prologue
from oarlock.storage.recovery import Recovered, recover
from oarlock.storage.segment import SegmentEnd, encode_header, read_header
from oarlock.storage.snapshots import SnapshotStore
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Configuration, Entry, Joining, Member, ReplicaId

# ── the header of a segment ──────────────────────────────────────────────────────────────────────────────────────


class OneFile:
    """A file that is read and nothing else."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read_at(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def check_segment_header(data: bytes) -> None:
    """A header is read as it was written, or refused; also one whose checksums are right."""
    image, (mode,) = controls(data, 1)
    if mode & 1:
        image = with_prologue(segments._MAGIC, 2 + (mode >> 7), image)
    if mode & 2:
        image = image.ljust(SECTOR_BYTES, b"\0")
    try:
        header, size_bytes = finish(read_header(OneFile(image), "1.wal"))  # type: ignore[arg-type]
    except StartupError:  # CorruptLog is one
        return
    assert size_bytes % SECTOR_BYTES == 0
    again = encode_header(header)
    assert finish(read_header(OneFile(again), "1.wal")) == (header, len(again))  # type: ignore[arg-type]


# ── whole logs ───────────────────────────────────────────────────────────────────────────────────────────────────

Files = dict[str, bytes]


async def _history(boots: Sequence[Sequence[tuple[int, int, list[Entry]]]]) -> tuple[Files, list[State], Identity]:
    """What a replica with these appends, boot by boot, leaves on its disk, and every state that it went through."""
    disk = MemoryDisk(Random(1))
    identity = await new_replica(disk)
    states: list[State] = [(0, 0, [])]
    for appends in boots:
        wal, durable = await start(disk)
        entries = list(durable.entries)
        for term, vote, new in appends:
            await append(wal, term, vote, *new)
            if new:
                entries[new[0].index - 1 :] = new
            states.append((term, vote, list(entries)))
        await wal.close()
    files = {path: disk.contents(path) for path in disk.paths() if path.endswith(".wal")}
    return files, states, identity


@cache
def histories() -> list[tuple[Files, list[State], Identity]]:
    small = [(1, 1, [entry(1), entry(2)]), (2, 0, []), (2, 3, [entry(3, 2, bytes(5000))])]
    many = [(3, 1, [entry(index, 3, b"\x77" * 3000)]) for index in range(4, 14)]
    replaced = [(4, 2, [entry(9, 4)]), (4, 2, [entry(10, 4, Random(1).randbytes(6000))])]
    return [asyncio.run(_history(boots)) for boots in ([], [small], [small, many], [small, many, replaced])]


def _disk(files: Files) -> MemoryDisk:
    disk = MemoryDisk(Random(1))
    finish(disk.make_directory(WAL))
    for path, data in files.items():
        finish(disk.open(path, create=True))
        disk.overwrite(path, 0, data)
    return disk


async def _recovering(disk: MemoryDisk, identity: Identity) -> Recovered:
    snapshots = await SnapshotStore.open(disk, DIRECTORY, identity.cluster_id)
    return await recover(disk, WAL, identity, snapshots, 4 * SECTOR_BYTES)


def _recover(disk: MemoryDisk, identity: Identity) -> tuple[Recovered, State]:
    recovered = finish(_recovering(disk, identity))
    return recovered, (recovered.replay.term, recovered.replay.vote, recovered.replay.entries)


def check_recovery(data: bytes) -> None:
    """A damaged log is refused or comes back whole, but for a tear at its end; and what came back comes back again."""
    numbers = Numbers(data)
    original, states, identity = histories()[numbers.take() % len(histories())]
    files = dict(original)
    paths = sorted(files)
    newest = paths[-1]
    for _ in range(3):
        if not numbers:
            break
        operation = numbers.take()
        path = paths[numbers.take() % len(paths)]
        if operation < 0xE0:
            image = bytearray(files.get(path, b""))
            damage(image, numbers)
            files[path] = bytes(image)
        elif operation < 0xE8:
            files.pop(path, None)
        elif operation < 0xF0:
            files[path] = original[paths[numbers.take() % len(paths)]]
        else:
            stray = ("0000000000000000.wal", "0000000000000099.wal", "recovery.tmp", "spare.tmp", "notes.txt")
            files[f"{WAL}/{stray[operation % 5]}"] = numbers.rest()
    disk = _disk(files)
    try:
        first, state = _recover(disk, identity)
    except StartupError:  # CorruptLog is one
        assert files != original, "a log without damage is refused"
        return
    assert state in states, "what came back was never the state"
    if state != states[-1]:
        # What is gone as if it had never been cannot be missed: a file, or sectors at the end of the last one.
        was, now = original[newest], files.get(newest, b"").ljust(len(original[newest]), b"\0")
        lost = [
            at
            for at in range(0, len(was), SECTOR_BYTES)
            if was[at : at + SECTOR_BYTES] != BLANK and now[at : at + SECTOR_BYTES] == BLANK
        ]
        assert newest not in files or lost, "acknowledged entries are dropped, and nothing of them is blank"
    again, same = _recover(disk.kill(), identity)
    assert same == state, "a second recovery finds something else"
    assert again.segments[-1].boot == first.segments[-1].boot + 1


# ── identity ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_identity(data: bytes) -> None:
    """The text of an identity is one, or a StartupError says what to do; also where someone made the checksum right."""
    text, (mode,) = controls(data, 1)
    if mode & 1:
        text = _with_checksum(text)
    if mode & 2:
        disk = MemoryDisk(Random(1))
        finish(disk.make_directory(DIRECTORY))
        name = "identity.json" if mode & 4 else "refused.txt"
        finish(disk.open(f"{DIRECTORY}/{name}", create=True))
        disk.overwrite(f"{DIRECTORY}/{name}", 0, text)
        reading: Any = lambda: finish(load_identity(disk, DIRECTORY))  # noqa: E731
    else:
        reading = lambda: decode_identity(text, "identity.json")  # noqa: E731
    try:
        identity = reading()
    except StartupError:
        assert text not in (_TEXT, _JOINING_TEXT) or mode & 6 == 2, "an identity without damage is refused"
        return
    assert decode_identity(encode_identity(identity), "identity.json") == identity


def _with_checksum(text: bytes) -> bytes:
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
        document.pop("checksum", None)
        checksum = f"crc32c:{crc32c(msgspec.json.encode(document, order='sorted')):08x}"
        return msgspec.json.encode({**document, "checksum": checksum})
    except (ValueError, RecursionError):
        return text


def _identities() -> object:
    from hypothesis import strategies as st

    members = st.dictionaries(st.integers(-2, 5).map(str), st.text(max_size=8), max_size=4)
    number = st.one_of(st.integers(-2, 5), st.integers())
    document = st.fixed_dictionaries(
        {"format_version": number, "cluster_id": st.text(max_size=4), "cluster_name": st.text(max_size=4),
         "replica": number, "incarnation": number, "members": members}
    )  # fmt: skip
    ids = st.lists(st.integers(-2, 5), max_size=3)
    known = st.fixed_dictionaries({"address": st.text(max_size=8), "incarnation": number})
    joining = st.fixed_dictionaries(
        {"format_version": st.just(2), "cluster_id": st.text(max_size=4), "cluster_name": st.text(max_size=4),
         "replica": number, "incarnation": number, "voters": ids, "outgoing": ids, "learners": ids, "removed": ids,
         "members": st.dictionaries(st.integers(-2, 5).map(str), known, max_size=4),
         "joining": st.dictionaries(st.integers(-2, 5).map(str), number, max_size=2)}
    )  # fmt: skip
    return st.one_of(document, joining).map(lambda one: msgspec.json.encode(one))


_TEXT = encode_identity(IDENTITY)
_JOINING_TEXT = encode_identity(
    joining_identity(
        ReplicaId(2),
        cluster_id="c",
        cluster_name="fuzz",
        configuration=Configuration(
            (Member(ReplicaId(1), "a:1", 11), Member(ReplicaId(2), "b:1", 22)),
            (ReplicaId(1),),
            learners=(ReplicaId(2),),
            joining=(Joining(ReplicaId(2)),),
        ),
    )
)

TARGETS = [
    Target(
        name="segment-header", check=check_segment_header, max_bytes=512, controls=1,
        seeds=[encode_header(HEADER)[:400] + b"\x02", encode_header(HEADER)[:400] + b"\0"]
        + [
            msgspec.msgpack.encode(msgspec.structs.replace(HEADER, previous=previous)) + b"\x03"
            for previous in (None, SegmentEnd(1, 8192))
        ],
    ),
    Target(
        name="recovery", check=check_recovery, max_bytes=40,
        seeds=[bytes((history, 0, which)) + edit for history in range(4) for which in range(4) for edit in EDITS]
        + [b"\x02\xe0\0", b"\x03\xe8\0\x01", b"\x02\xf0", b"\x02\xf1garbage", b"\x03\xe0\x01"],
    ),
    Target(
        name="identity", check=check_identity, max_bytes=2400, controls=1, valid=_identities,
        seeds=[text + bytes((mode,)) for text in (_TEXT, _JOINING_TEXT) for mode in (0, 1, 2, 3, 6, 7)]
        + [b'{"a": [[[1]]]}\x01', b'{"format_version": 2}\x01', b"refused for its past\x02"]
        + [b'{"a":' + b"[" * 2000 + b"\0"],
    ),
]  # fmt: skip
