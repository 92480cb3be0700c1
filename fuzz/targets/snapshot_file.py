"""A snapshot file, as a start, a transfer or a restored backup reads it."""

import asyncio
from functools import cache
from random import Random

import msgspec
from tests.storage.snapshots import SNAPSHOTS, header_at, open_store, take

from fuzz.pieces import Numbers, controls
from fuzz.target import Target
from fuzz.targets.log_frames import EDITS, damage
from fuzz.virtual_loop import finish
from oarlock.errors import StartupError
from oarlock.storage.prologue import with_prologue
from oarlock.storage.snapshot import SnapshotFile, SnapshotHeader
from oarlock.testing.memory_disk import MemoryDisk

PATH = f"{SNAPSHOTS}/1.snapshot"


async def _written(pieces: list[bytes]) -> bytes:
    disk = MemoryDisk(Random(1))
    return disk.contents((await take(disk, await open_store(disk), header_at(7), pieces)).path)


@cache
def images() -> list[bytes]:
    """What snapshots look like on disk."""
    contents = ([], [b""], [b"x" * 40] * 5, [Random(1).randbytes(5000), b"", bytes(9000)])
    return [asyncio.run(_written(pieces)) for pieces in contents]


async def _read(image: bytes) -> tuple[SnapshotHeader, list[bytes]]:
    disk = MemoryDisk(Random(1))
    await disk.make_directory(SNAPSHOTS)
    await disk.open(PATH, create=True)
    disk.overwrite(PATH, 0, image)
    file = await SnapshotFile.open(disk, PATH)
    return file.header, [piece async for piece in file.pieces()]


def check_snapshot(data: bytes) -> None:
    """A snapshot that was altered anywhere is refused; also one that somebody made up, checksums and all."""
    rest, (mode,) = controls(data, 1)
    if mode & 0x80:
        size = int.from_bytes(rest[:2], "little")
        image, original = with_prologue(b"oarsnapl", 1, rest[2 : 2 + size]) + rest[2 + size :], None
    else:
        original = images()[mode % len(images())]
        edited, numbers = bytearray(original), Numbers(rest)
        for _ in range(3):
            if numbers:
                damage(edited, numbers)
        image = bytes(edited)
    try:
        finish(_read(image))
    except StartupError:  # CorruptSnapshot is one
        assert image != original, "a snapshot without damage is refused"
        return
    assert original is None or image == original, "an altered snapshot is read"


_HEADER = msgspec.msgpack.encode(header_at(7))

TARGETS = [
    Target(
        name="snapshot", check=check_snapshot, max_bytes=600, controls=1,
        seeds=[bytes(edit) + bytes((mode,)) for edit in (b"", *EDITS) for mode in range(4)]
        + [len(_HEADER).to_bytes(2, "little") + _HEADER + images()[0][-24:] + b"\x80", b"\x01\x00\xc0\x80"],
    ),
]  # fmt: skip
