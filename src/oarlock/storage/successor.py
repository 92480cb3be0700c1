"""The successor of a data directory: another cluster's, in its place, while the old one is kept aside.

It is made complete under a name of its own, then the old directory gets another name, and then it gets the old one's.
Whatever happens, one of the two is whole under one of the names, and doing it again finishes it.
"""

import posixpath

from oarlock.errors import StartupError
from oarlock.storage.disk import Disk
from oarlock.storage.identity import IDENTITY_NAME, LOG_NAME, Identity, InitialState, write_identity
from oarlock.storage.snapshots import SNAPSHOTS_NAME
from oarlock.storage.whole_file import remove_if_there

SUCCESSOR_SUFFIX = ".recovery"
ASIDE_SUFFIX = ".before-recovery"


async def succeed(disk: Disk, directory: str, identity: Identity, state: InitialState) -> None:
    """Put the data directory that ``identity`` and ``state`` tell of in the place of ``directory``, which is kept under
    its name with :data:`ASIDE_SUFFIX`. Durable on return. The caller holds the lock of ``directory``.

    :raises StartupError: one is kept there already
    :raises OSError: the disk failed, is full, or will not give the directory another name
    """
    if await disk.exists(directory + ASIDE_SUFFIX):
        raise StartupError(f"{directory + ASIDE_SUFFIX} exists; give it another name first")
    successor = directory + SUCCESSOR_SUFFIX
    # What an earlier attempt made is of an earlier moment, and without an identity it counts as nothing.
    await remove_if_there(disk, f"{successor}/{IDENTITY_NAME}")
    await write_identity(disk, successor, identity, state)
    for part in (directory, f"{directory}/{LOG_NAME}", f"{directory}/{SNAPSHOTS_NAME}"):
        if await disk.exists(part):
            await disk.sync_directory(part)  # names that a process which was killed gave may not be durable
    await disk.rename(directory, directory + ASIDE_SUFFIX)
    await disk.sync_directory(posixpath.dirname(directory))
    await finish_succession(disk, directory)


async def is_unfinished(disk: Disk, directory: str) -> bool:
    """Whether the old directory has been put aside and nothing is in its place yet."""
    return (
        not await disk.exists(directory)
        and await disk.exists(directory + ASIDE_SUFFIX)
        and await disk.exists(f"{directory + SUCCESSOR_SUFFIX}/{IDENTITY_NAME}")
    )


async def finish_succession(disk: Disk, directory: str) -> None:
    """Do the last step."""
    await disk.rename(directory + SUCCESSOR_SUFFIX, directory)
    await disk.sync_directory(posixpath.dirname(directory))
