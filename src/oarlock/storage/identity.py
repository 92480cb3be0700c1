"""A data directory's identity: who this replica is, decided once and on purpose, and never by starting.

There are two ways: a member of a cluster that is to form (``oarlock init``), and one that joins a cluster which has
formed (``oarlock add`` and its like). The second knows everyone's incarnation from the beginning, and does not vote.
A cluster that is to form may begin with a snapshot of another one's state (``oarlock restore`` and ``recover``).

``identity.json`` is renamed into place as the last step of the initialisation, after the first segment of the log and
the snapshot behind which it begins. So a directory that has an identity and no log has lost it, and is never taken for
new; nor is one that has snapshots and no log.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from crc32c import crc32c

from oarlock.errors import DirectoryInUse, StartupError
from oarlock.storage.disk import Disk, Lock
from oarlock.storage.segment import SegmentHeader, encode_header, segment_name
from oarlock.storage.snapshot import SnapshotHeader, SnapshotWriter
from oarlock.storage.snapshots import SNAPSHOTS_NAME, snapshot_name
from oarlock.storage.whole_file import TEMPORARY_SUFFIX, read_whole_file, write_whole_file
from oarlock.types import (
    FIRST_BOOTS,
    NO_REPLICA,
    Boot,
    Configuration,
    Index,
    Joining,
    Member,
    ReplicaId,
    SnapshotPoint,
    Term,
)

INITIAL_FORMAT = 1
JOINING_FORMAT = 2
FORMAT_VERSION = JOINING_FORMAT
"""The newest that is known. The former is written still where it says enough, and is read for ever."""

IDENTITY_NAME = "identity.json"
LOCK_NAME = "lock"
LOG_NAME = "wal"
REFUSAL_NAME = "refused.txt"

_FIRST_SEGMENT = 1
_LOCK_POLL_S = 0.05


class Identity(msgspec.Struct, frozen=True):
    """Who the replica of a data directory is."""

    format_version: int
    cluster_id: str
    cluster_name: str
    replica: ReplicaId
    incarnation: int
    """Random number of this directory: another life under the same id has another."""
    configuration: Configuration
    """What the log begins with: the initial members, all of them voters, their incarnations not yet known (0); or the
    cluster that it joins, with this replica as a learner."""

    @property
    def member(self) -> Member:
        """This replica as it was initialised. The cluster may know other things of it by now."""
        member = self.configuration.member(self.replica)
        assert member is not None, "an identity names its own replica among the members"
        return member

    @property
    def address(self) -> str:
        """Where this replica was to listen for the others when it was initialised."""
        return self.member.address


class InitialState(msgspec.Struct, frozen=True):
    """What a cluster begins with instead of nothing: another one's state."""

    point: SnapshotPoint
    """Where that stood in the other one's log; index, term and log time go on from there."""
    node: bytes
    """As in :class:`~oarlock.storage.snapshot.SnapshotHeader`."""
    pieces: Iterable[bytes]


class _InitialDocument(msgspec.Struct):
    """The file as a person reads it."""

    format_version: int
    cluster_id: str
    cluster_name: str
    replica: int
    incarnation: int
    members: dict[int, str]


class _MemberDocument(msgspec.Struct):
    address: str
    incarnation: int
    generation: int = 0


class _JoiningDocument(msgspec.Struct):
    """The same for a replica that joins: all that the cluster says of its members."""

    format_version: int
    cluster_id: str
    cluster_name: str
    replica: int
    incarnation: int
    members: dict[int, _MemberDocument]
    voters: tuple[ReplicaId, ...]
    outgoing: tuple[ReplicaId, ...]
    learners: tuple[ReplicaId, ...]
    joining: dict[int, ReplicaId]
    """Who is to become a voter, and whom it replaces (0 for nobody)."""
    removed: tuple[ReplicaId, ...]


def derive_cluster_id(cluster_name: str, members: Mapping[ReplicaId, str], origin: str = "") -> str:
    """The id that all replicas initialised with the same name and members derive, each on its own.

    ``origin`` tells what state the cluster begins with; empty for none. So two that begin with different ones, or one
    with none, are never of one cluster.
    """
    lines = [cluster_name, *(f"{replica}={members[replica]}" for replica in sorted(members))]
    text = "\n".join([*lines, origin] if origin else lines)
    return sha256(text.encode()).hexdigest()[:16]


def new_identity(
    replica: ReplicaId, members: Mapping[ReplicaId, str], cluster_name: str, incarnation: int, origin: str = ""
) -> Identity:
    """The identity of a new data directory. ``origin``: as of :func:`derive_cluster_id`.

    :raises StartupError: the arguments contradict each other
    """
    if replica not in members:
        raise StartupError(f"replica {replica} is not among the members; give its own address too")
    if any(member < 1 for member in members):
        raise StartupError("replica ids start at 1")
    if len(set(members.values())) != len(members):
        raise StartupError("two members have the same address; give each its own")
    _check_incarnation(incarnation)
    ids = tuple(sorted(members))
    return Identity(
        format_version=INITIAL_FORMAT,
        cluster_id=derive_cluster_id(cluster_name, members, origin),
        cluster_name=cluster_name,
        replica=replica,
        incarnation=incarnation,
        configuration=Configuration(members=tuple(Member(id, members[id]) for id in ids), voters=ids),
    )


def joining_identity(
    replica: ReplicaId, *, cluster_id: str, cluster_name: str, configuration: Configuration
) -> Identity:
    """The identity of a new data directory for a cluster that has formed.

    ``configuration`` is what the cluster's own becomes with ``replica`` as a learner in it, under its new incarnation.
    Who has left is not taken over: a change under way counts there already, and may yet come to nothing. The log tells.
    """
    member = configuration.member(replica)
    if member is None or replica not in configuration.learners:
        raise ValueError("only a learner joins a cluster")
    for one in configuration.members:
        _check_incarnation(one.incarnation)  # 0 stands for unknown: the cluster has not formed
    return Identity(
        format_version=JOINING_FORMAT,
        cluster_id=cluster_id,
        cluster_name=cluster_name,
        replica=replica,
        incarnation=member.incarnation,
        configuration=msgspec.structs.replace(configuration, removed=()),
    )


def new_incarnation() -> int:
    """A random number for a new data directory."""
    return 1 + secrets.randbelow((1 << 63) - 1)


def _check_incarnation(incarnation: int) -> None:
    if not 0 < incarnation < 1 << 63:
        raise ValueError("an incarnation is a non-zero number of 63 bits")


def encode_identity(identity: Identity) -> bytes:
    """The text of ``identity.json``."""
    writer = _initial_document if identity.format_version == INITIAL_FORMAT else _joining_document
    document = msgspec.to_builtins(writer(identity), str_keys=True)
    return msgspec.json.format(msgspec.json.encode({**document, "checksum": _checksum(document)}), indent=2) + b"\n"


def _initial_document(identity: Identity) -> _InitialDocument:
    return _InitialDocument(
        format_version=identity.format_version,
        cluster_id=identity.cluster_id,
        cluster_name=identity.cluster_name,
        replica=identity.replica,
        incarnation=identity.incarnation,
        members={member.id: member.address for member in identity.configuration.members},
    )


def _joining_document(identity: Identity) -> _JoiningDocument:
    known = identity.configuration
    return _JoiningDocument(
        format_version=identity.format_version,
        cluster_id=identity.cluster_id,
        cluster_name=identity.cluster_name,
        replica=identity.replica,
        incarnation=identity.incarnation,
        members={
            member.id: _MemberDocument(member.address, member.incarnation, member.generation)
            for member in known.members
        },
        voters=known.voters,
        outgoing=known.outgoing,
        learners=known.learners,
        joining={one.id: one.replaces for one in known.joining},
        removed=known.removed,
    )


def decode_identity(text: bytes, path: str) -> Identity:
    """The identity in the text of ``identity.json``.

    :raises StartupError: it is damaged, was edited, or was written by a newer program
    """
    damaged = StartupError(
        f"{path} does not match its checksum: it is damaged or was edited; put the original back, or replace this "
        "replica with a new one"
    )
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise damaged from error
    if document.pop("checksum", None) != _checksum(document):
        raise damaged
    # A newer format may have fields that this program does not know, but its checksum still holds.
    reader = _READERS.get(version) if isinstance(version := document.get("format_version"), int) else None
    if reader is None:
        raise StartupError(
            f"{path} was written by a newer Oarlock (format {version}; this one reads up to {FORMAT_VERSION}); start "
            "this replica with that version or a later one"
        )
    try:
        return reader(document)
    except ValueError as error:  # a msgspec.ValidationError is one
        raise damaged from error


def _read_initial(document: dict[str, Any]) -> Identity:
    known = msgspec.convert(document, _InitialDocument, str_keys=True)
    members = {ReplicaId(member): address for member, address in known.members.items()}
    identity = new_identity(ReplicaId(known.replica), members, known.cluster_name, known.incarnation)
    return msgspec.structs.replace(identity, cluster_id=known.cluster_id)


def _read_joining(document: dict[str, Any]) -> Identity:
    known = msgspec.convert(document, _JoiningDocument, str_keys=True)
    identity = joining_identity(
        ReplicaId(known.replica),
        cluster_id=known.cluster_id,
        cluster_name=known.cluster_name,
        configuration=Configuration(
            members=tuple(
                Member(ReplicaId(id), one.address, one.incarnation, one.generation) for id, one in known.members.items()
            ),
            voters=known.voters,
            outgoing=known.outgoing,
            learners=known.learners,
            joining=tuple(Joining(ReplicaId(id), replaces) for id, replaces in known.joining.items()),
            removed=known.removed,
        ),
    )
    if identity.incarnation != known.incarnation:
        raise ValueError("it knows itself under another incarnation")
    return identity


_READERS = {INITIAL_FORMAT: _read_initial, JOINING_FORMAT: _read_joining}


def _checksum(document: Mapping[str, Any]) -> str:
    return f"crc32c:{crc32c(msgspec.json.encode(document, order='sorted')):08x}"


async def initialise(
    disk: Disk,
    directory: str,
    *,
    replica: ReplicaId,
    members: Mapping[ReplicaId, str],
    cluster_name: str,
    incarnation: int,
) -> Identity:
    """Make ``directory`` the data directory of ``replica``, a member at the address that ``members`` gives it.

    ``incarnation`` is a random number of 63 bits, not zero. Durable on return. Holds the directory's lock meanwhile.
    After a crash in the middle it can be called again: what it left counts as nothing.

    :raises StartupError: the directory is not empty, is in use, or the arguments contradict each other
    """
    identity = new_identity(replica, members, cluster_name, incarnation)
    await write_identity(disk, directory, identity)
    return identity


async def write_identity(disk: Disk, directory: str, identity: Identity, state: InitialState | None = None) -> None:
    """Make ``directory`` the data directory that ``identity`` tells of, as :func:`initialise` does.

    :raises StartupError: the directory is not empty, or is in use
    """
    point = None if state is None else msgspec.structs.replace(state.point, configuration=identity.configuration)
    await disk.make_directory(directory)
    lock = await take_lock(disk, directory, wait_s=0)
    try:
        if not await _only_remains(disk, directory, await disk.list(directory)):
            raise StartupError(
                f"{directory} is not empty; a data directory is initialised once: start the replica that is in it, or "
                "name another directory"
            )
        log_directory = f"{directory}/{LOG_NAME}"
        await disk.make_directory(log_directory)
        header = encode_header(_first_header(identity, point))
        await write_whole_file(disk, log_directory, segment_name(_FIRST_SEGMENT), header)
        await _remove_snapshots(disk, directory)
        if state is not None and point is not None:
            await _write_snapshot(disk, directory, identity, point, state)
        await write_whole_file(disk, directory, IDENTITY_NAME, encode_identity(identity))
    finally:
        lock.release()


def _first_header(identity: Identity, point: SnapshotPoint | None) -> SegmentHeader:
    """Of a segment without frames. It is what shows that there is a log, before the first start and ever after.

    A log that begins behind a snapshot has no term below that one's, or entries of one term could differ.
    """
    return SegmentHeader(
        number=_FIRST_SEGMENT,
        cluster_id=identity.cluster_id,
        replica=identity.replica,
        incarnation=identity.incarnation,
        boot=Boot(identity.member.generation * FIRST_BOOTS),
        term=point.term if point is not None else Term(0),
        vote=NO_REPLICA,
        configuration=identity.configuration,
        first_index=Index(point.index + 1 if point is not None else 1),
        first_sequence=1,
        previous=None,
        first_frame_durable=False,
        oldest=_FIRST_SEGMENT,
    )


async def _remove_snapshots(disk: Disk, directory: str) -> None:
    """Of an initialisation that was never finished."""
    snapshots = f"{directory}/{SNAPSHOTS_NAME}"
    if await disk.exists(snapshots):
        for name in await disk.list(snapshots):
            await disk.remove(f"{snapshots}/{name}")
        await disk.sync_directory(snapshots)


async def _write_snapshot(
    disk: Disk, directory: str, identity: Identity, point: SnapshotPoint, state: InitialState
) -> None:
    snapshots = f"{directory}/{SNAPSHOTS_NAME}"
    await disk.make_directory(snapshots)
    header = SnapshotHeader(
        cluster_id=identity.cluster_id, cluster_name=identity.cluster_name, point=point, node=state.node
    )
    writer = await SnapshotWriter.create(disk, f"{snapshots}/{snapshot_name(point.index)}", header)
    try:
        for piece in state.pieces:
            await writer.add(piece)
        await writer.finish()
    finally:
        await writer.abort()


async def _only_remains(disk: Disk, directory: str, names: Sequence[str]) -> bool:
    """Whether an initialisation that was never finished can have left all that is there."""
    if any(name not in (LOCK_NAME, LOG_NAME, SNAPSHOTS_NAME, IDENTITY_NAME + TEMPORARY_SUFFIX) for name in names):
        return False
    log = await disk.list(f"{directory}/{LOG_NAME}") if LOG_NAME in names else []
    return _is_new(log) and (SNAPSHOTS_NAME not in names or segment_name(_FIRST_SEGMENT) in log)


def _is_new(log: Sequence[str]) -> bool:
    """Any start of a replica makes a segment with a higher number, so a used log never passes for a new one."""
    first = segment_name(_FIRST_SEGMENT)
    return all(name in (first, first + TEMPORARY_SUFFIX) for name in log)


async def holds_nothing(disk: Disk, directory: str) -> bool:
    """Whether there is no such directory, or nothing in it that counts."""
    try:
        names = await disk.list(directory)
    except FileNotFoundError:
        return True
    return await _only_remains(disk, directory, names)


async def waits_to_join(disk: Disk, directory: str) -> bool:
    """Whether the directory was initialised to join a cluster and its replica has never started: it has promised
    nothing yet, and what was begun with it can be begun again."""
    try:
        identity = await load_identity(disk, directory)
    except StartupError:
        return False
    return identity.format_version == JOINING_FORMAT and await has_never_started(disk, directory)


async def has_never_started(disk: Disk, directory: str) -> bool:
    """Whether the data directory is as its initialisation left it."""
    return _is_new(await disk.list(f"{directory}/{LOG_NAME}"))


async def load_identity(disk: Disk, directory: str) -> Identity:
    """Who the replica in ``directory`` is.

    :raises StartupError: the directory was never initialised, not completely, was refused by the cluster, or is
        damaged; the message says what to do
    """
    try:
        names = await disk.list(directory)
    except FileNotFoundError as error:
        raise StartupError(f"{directory} does not exist; make a data directory with `oarlock init`") from error
    except NotADirectoryError as error:
        raise StartupError(f"{directory} is not a directory; name a data directory made with `oarlock init`") from error
    # The names may be those of an initialisation that was killed before they were durable. From here on they count.
    await disk.sync_directory(directory)
    if REFUSAL_NAME in names:
        reason = (await read_whole_file(disk, f"{directory}/{REFUSAL_NAME}")).decode(errors="replace").strip()
        raise StartupError(
            f"{directory} was refused by its cluster and must not be used again: {reason}; replace this replica "
            "with a new one (see `oarlock rejoin --help`)"
        )
    if IDENTITY_NAME in names:
        path = f"{directory}/{IDENTITY_NAME}"
        return decode_identity(await read_whole_file(disk, path), path)
    if all(name == LOCK_NAME for name in names):
        raise StartupError(f"{directory} is empty; initialise it, on purpose and once, with `oarlock init`")
    if await _only_remains(disk, directory, names):
        raise StartupError(
            f"the initialisation of {directory} was never finished; run `oarlock init` again, or `oarlock add` if it "
            "was to join a cluster"
        )
    raise StartupError(
        f"{directory} holds files but no {IDENTITY_NAME}: it is not a data directory, or is damaged; name another "
        "directory, or replace this replica with a new one"
    )


async def record_refusal(disk: Disk, directory: str, text: str) -> None:
    """Durably mark the directory as refused by its cluster; ``text`` says why. From then on it does not load."""
    await write_whole_file(disk, directory, REFUSAL_NAME, text.encode())


async def take_lock(disk: Disk, directory: str, wait_s: float = 5.0) -> Lock:
    """Lock the directory against other processes; wait for a predecessor that is on its way out.

    :raises DirectoryInUse: another process still holds it after ``wait_s`` seconds
    :raises StartupError: there is no such directory
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        try:
            lock = disk.lock(f"{directory}/{LOCK_NAME}")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StartupError(f"{directory} is no directory; make one with `oarlock init`") from error
        if lock is not None:
            return lock
        if loop.time() >= deadline:
            raise DirectoryInUse(
                f"another process is using {directory}; stop it first, or give this replica its own directory"
            )
        await asyncio.sleep(_LOCK_POLL_S)
