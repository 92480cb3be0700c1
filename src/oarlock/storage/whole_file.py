"""Small files that are there whole or not at all, whatever happens while they are written."""

from oarlock.storage.disk import Disk

TEMPORARY_SUFFIX = ".tmp"


async def read_whole_file(disk: Disk, path: str) -> bytes:
    """The contents of the file."""
    file = await disk.open(path)
    try:
        return await file.read_at(0, await file.size())
    finally:
        await file.close()


async def write_whole_file(disk: Disk, directory: str, name: str, data: bytes) -> None:
    """Write the file under a temporary name, and give it its own once it is durable. Durable on return."""
    path = f"{directory}/{name}"
    await remove_if_there(disk, path + TEMPORARY_SUFFIX)
    file = await disk.open(path + TEMPORARY_SUFFIX, create=True)
    try:
        await file.write_at(0, data, sync=True)
    finally:
        await file.close()
    await disk.rename(path + TEMPORARY_SUFFIX, path)
    await disk.sync_directory(directory)


async def remove_if_there(disk: Disk, path: str) -> None:
    """Remove what an earlier attempt left, if it did."""
    if await disk.exists(path):
        await disk.remove(path)
