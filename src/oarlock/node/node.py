"""The node: one replica, running. Core, storage, network and state machine, joined in turns.

In one turn of the event loop a node takes every input that has arrived, feeds it to the core, takes one ``Ready``
and carries it out: send, start the write, apply, answer. Nothing in the core waits, and nothing outside it decides.

    bytes ─► servers ─► Node ─► core.Raft ─► Ready ─┬─► LogWriter   (append, fsync)
                ▲                  ▲                ├─► Links       (send)
                │                  │                └─► Applier     (apply, then answer reads)
                └──── outcomes ────┴──── persisted / received / applied ◄──┘
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Concatenate, ParamSpec

import msgspec

from oarlock.core import Change, Config, Raft, ReadConfirmed, Restored
from oarlock.core.messages import Message
from oarlock.core.quorum import VoteResult, count_votes
from oarlock.core.ready import Persist, ReadRefused
from oarlock.errors import (
    ChangeRefused,
    CommandTooLarge,
    NotExecuted,
    NotLeader,
    OarlockError,
    OutcomeUnknown,
    Overloaded,
    ReplicaFailed,
    ReplicaRefused,
    ReplicaRemoved,
    ShuttingDown,
    Unavailable,
)
from oarlock.network.address import InvalidAddress, parse_address
from oarlock.network.links import Links
from oarlock.network.messages import (
    OLDEST_PROTOCOL_VERSION,
    PROTOCOL_VERSION,
    ForwardSlice,
    Hello,
    PeerMessage,
    ReadReply,
    ReadRequest,
    Refusal,
    SliceExpected,
    SnapshotChunk,
    SnapshotGone,
    SnapshotRequest,
)
from oarlock.network.transport import Network, TcpNetwork
from oarlock.node.acquaintance import FINAL_REFUSALS, Acquaintance
from oarlock.node.api import MemberStatus, Status
from oarlock.node.applier import Applier
from oarlock.node.batch import BATCH_BYTES, encode_batch
from oarlock.node.clock import Clock, LoopClock
from oarlock.node.fetching import SnapshotFetcher
from oarlock.node.intake import Intake, command_bytes, is_command, slice_bytes
from oarlock.node.invitation import Invitation
from oarlock.node.log_writer import DurablePosition, LogWriter, Outgoing
from oarlock.node.member_status import member_statuses
from oarlock.node.reads import QueryGroup, Reads, RemoteRound, Round
from oarlock.node.serving import SnapshotServer
from oarlock.node.sink import PlacedQuery, Sink
from oarlock.node.snapshots import DEFAULT_SNAPSHOT_AFTER_BYTES, PinnedSnapshot, Snapshots, in_parts, restore
from oarlock.node.turn_timer import TurnTimer
from oarlock.node.writes import Group, Writes
from oarlock.state_machine import StateMachine
from oarlock.storage.disk import Disk, Lock
from oarlock.storage.identity import Identity, load_identity, record_refusal, take_lock
from oarlock.storage.os_disk import OsDisk
from oarlock.storage.segment import DEFAULT_SEGMENT_BYTES
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.storage.wal import DurableState, Wal
from oarlock.types import (
    MAX_COMMAND_BYTES,
    MAX_ENTRY_BYTES,
    NO_REPLICA,
    Command,
    Configuration,
    EntryKind,
    Index,
    Member,
    ReplicaId,
    Slice,
    SnapshotPoint,
    Term,
)

log = logging.getLogger("oarlock")

DEFAULT_TIMEOUT_S = 5.0
"""How long a request may wait before it is answered with an error."""
COMFORTABLE_BYTES = 16 * BATCH_BYTES
"""Above this much held, servers are asked to stop reading from their clients."""
HELD_BYTES = 64 * BATCH_BYTES
"""Above this much held, writes are refused."""
MOST_READS = 65_536
"""Groups of queries that may be open at once; more are refused."""
TURN_BATCHES = 4
"""Entries that one turn appends at the most."""
NEVER = float("inf")
GATHER_S = 0.002
"""While the log is being written, what arrives shares the next entry, but for no longer than this after the last."""
CLOCK_ENTRY_S = 0.1
"""The least time between two entries that hold nothing but a time."""
MIN_WAIT_S = 0.01
"""What cannot be done now (the log is full, leadership is being handed over) is looked at again after this."""
SWEEP_S = 0.05
"""How often the deadlines of waiting requests are looked at."""
DISK_GRACE_S = 1.0
"""How long stopping waits for the write that is under way."""


_Arguments = ParamSpec("_Arguments")


def _fail_stop(
    method: Callable[Concatenate[Node, _Arguments], None], /
) -> Callable[Concatenate[Node, _Arguments], None]:
    """For what the loop calls: nothing of it happens once the replica has stopped, and what it raises stops it. An
    exception that the loop was left to report would change nothing, and come back with the next call."""

    @functools.wraps(method)
    def guarded(node: Node, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        if node._stopped:
            return
        try:
            method(node, *arguments, **named)
        except Exception as error:
            node._fail(error)

    return guarded


class Node:
    """A running replica. Make one with :meth:`open`; everything runs on the event loop that it was opened in.

    Any replica serves any request: a follower forwards writes to the leader, and asks it for an index to answer
    reads from its own state.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        durable: DurableState,
        wal: Wal,
        snapshots: SnapshotStore,
        disk: Disk,
        directory: str,
        lock: Lock,
        applier: Applier,
        writes: Writes,
        network: Network,
        rng: random.Random,
        clock: Clock,
        config: Config,
        redis_address: str,
        http_address: str,
        snapshot_after_bytes: int,
    ) -> None:
        self._clock = clock
        self._identity = identity
        self._disk, self._directory, self._lock = disk, directory, lock
        self._wal = wal
        self._boot = durable.boot
        self._nonce = rng.getrandbits(63)
        self._redis_address, self._http_address = redis_address, http_address
        self.id = identity.replica

        restored = Restored(
            durable.term,
            durable.vote,
            durable.configuration,
            durable.base_index,
            durable.base_term,
            durable.entries,
            snapshot=durable.snapshot.point if durable.snapshot is not None else None,
            base_time_ms=durable.base_time_ms,
        )
        self._raft = Raft(self.id, identity.incarnation, config, restored, rng, clock.monotonic_s())
        self._seen_leadership: tuple[Term, ReplicaId] = (Term(0), NO_REPLICA)
        self._seen_space = True
        self._writes = writes
        self._reads = Reads()
        self._intake = Intake(Term(0))
        self._applier = applier
        self._writer = LogWriter(wal, DurablePosition.of(durable), self._made_durable, self._fail)
        self._acquaintance = Acquaintance()
        self._hellos: dict[ReplicaId, Hello] = {}
        self._strangers: dict[ReplicaId, bool] = {}
        """Peers that say they are of another cluster."""
        self._configurations = (self._raft.configuration, self._raft.committed_configuration)
        self._links = Links(network, rng, self.id, _addresses(self._raft.configuration), self)
        self._snapshots = Snapshots(
            disk, snapshots, identity, self._raft, applier, wal, snapshot_after_bytes, rng, self._fail
        )
        self._fetcher: SnapshotFetcher[StoredSnapshot] = SnapshotFetcher(
            self.id, snapshots, self._send_one, self._fetched, self._fail
        )
        self._server = SnapshotServer(self._snapshots.open, self._send_one, self._links.backlog_bytes, self._fail)
        self._restoring: asyncio.Task[None] | None = None
        self._timer = TurnTimer(clock, self._time_passed, config.heartbeat_s / 2, lambda: self._inputs)

        self._loop = asyncio.get_running_loop()
        self._turn_scheduled = False
        self._inputs = 0
        self._sweep_at = NEVER
        self._gather_until = -NEVER
        self._writes_gather = self._reads_gather = False
        """What comes now waits for a turn that comes anyway: the log is being written, or a round is under way."""
        self._clock_entry_after = -NEVER
        self._outgoing: dict[ReplicaId, list[PeerMessage]] = {}
        self._turn_end: list[Callable[[], None]] = []
        self._when_writable: list[Callable[[], None]] = []
        self._authority_futures: dict[asyncio.Future[Index], None] = {}
        self._stopping = False
        self._stopped = False
        self._stop_task: asyncio.Task[None] | None = None
        self._refused_task: asyncio.Task[None] | None = None
        self._handed_over = False
        self.failed: asyncio.Future[ReplicaFailed] = self._loop.create_future()
        """Done, with the reason, when this replica has met an error that it must not survive."""

    # ── opening and closing ──────────────────────────────────────────────────────────────────────────────────

    @classmethod
    async def open(
        cls,
        directory: str | os.PathLike[str],
        machine: StateMachine,
        *,
        listen: str | None = None,
        redis_address: str = "",
        http_address: str = "",
        config: Config | None = None,
        disk: Disk | None = None,
        network: Network | None = None,
        rng: random.Random | None = None,
        clock: Clock | None = None,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        snapshot_after_bytes: int = DEFAULT_SNAPSHOT_AFTER_BYTES,
    ) -> Node:
        """Start the replica whose initialised data directory this is.

        ``machine`` must be in its initial state: the newest snapshot is restored to it, and the log applied. ``listen``
        is the ``host:port`` for other replicas, by default the member's own address. ``segment_bytes`` is the size of a
        file of the log, one of which is preallocated ahead. A snapshot is taken whenever ``snapshot_after_bytes`` have
        been applied since the last one, if the machine gives them
        (:class:`~oarlock.state_machine.SnapshottingStateMachine`); the log of one that does not grows for ever.

        :raises StartupError: with a sentence that says what is wrong and what to do.
        """
        disk, directory = disk or OsDisk(), os.fspath(directory)
        lock = await take_lock(disk, directory)
        try:
            identity = await load_identity(disk, directory)
            snapshots = await SnapshotStore.open(disk, directory, identity.cluster_id)
            wal, durable = await Wal.open(disk, directory, identity, snapshots, segment_bytes=segment_bytes)
        except BaseException:
            lock.release()
            raise
        for note in durable.notes:
            log.warning(note)
        failure: BaseException | None = None
        try:
            writes = Writes(identity.replica, durable.boot)
            applier = Applier(machine, writes)
            if durable.snapshot is not None:
                log.info("replica %d restores a snapshot at index %d", identity.replica, durable.snapshot.point.index)
                await restore(disk, durable.snapshot_path, applier)
            node = cls(
                identity=identity,
                durable=durable,
                wal=wal,
                snapshots=snapshots,
                disk=disk,
                directory=directory,
                lock=lock,
                applier=applier,
                writes=writes,
                network=network or TcpNetwork(),
                rng=rng or random.Random(),
                clock=clock or LoopClock(),
                config=config or Config(),
                redis_address=redis_address,
                http_address=http_address,
                snapshot_after_bytes=snapshot_after_bytes,
            )
            await node._links.start(listen or node._own_member.address)
        except BaseException as error:
            failure = error
        if failure is not None:  # not in there: see "Compiled" in docs/architecture.md
            await wal.close()
            lock.release()
            raise failure
        log.info(
            "replica %d of cluster %s started (boot %d) with %d entries up to term %d",
            node.id, identity.cluster_id, durable.boot, len(durable.entries), durable.term,
        )  # fmt: skip
        node._schedule_turn()
        return node

    @property
    def _own_member(self) -> Member:
        """This replica as its cluster knows it, or as it was initialised if it is not a member yet, or no more."""
        return self._raft.configuration.member(self.id) or self._identity.member

    async def close(self, timeout_s: float = 3.0) -> None:
        """Stop: hand leadership over, refuse what is new, let what is under way finish for up to ``timeout_s``."""
        self._stopping = True
        deadline = self._clock.monotonic_s() + timeout_s
        await self._until(lambda: not (self._writes or self._reads), deadline)
        # With two voters the next leader needs this replica's vote: stay until that is durable and sent.
        await self._until(lambda: not self._hands_over() and self._writer.idle, deadline)
        await asyncio.shield(self._stop())

    def _hands_over(self) -> bool:
        """Whether this replica leads and somebody could take over, or nobody is known to have done so yet."""
        if self._raft.leader != self.id:
            someone_may_lead = self._raft.leader == NO_REPLICA and self._links.connected_peers
            return bool(self._handed_over and someone_may_lead)
        if self._raft.hand_over(self._clock.monotonic_s()):
            if not self._handed_over:
                log.info("replica %d hands its leadership over", self.id)
            self._handed_over = True
            self._schedule_turn()
            return True
        return False

    async def _until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Look at the condition after every turn, until the deadline."""
        while not condition() and not self._stopped and self._clock.monotonic_s() < deadline:
            turned = asyncio.Event()
            self._turn_end.append(turned.set)
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic_s()):
                    await turned.wait()
            except TimeoutError:
                return

    def _stop(self) -> asyncio.Task[None]:
        """Acknowledge nothing from here on, tell everyone who waits, and then let go of links and disk."""
        if self._stop_task is None:
            self._stopped = self._stopping = True
            self._timer.cancel()
            self._stop_task = self._loop.create_task(self._let_go())
            self._writes.fail_all(ShuttingDown(), OutcomeUnknown("the replica stopped before the outcome was known"))
            self._reads.fail_all(ShuttingDown())
            self._applier.fail_all(ShuttingDown())
            for future in self._authority_futures:
                if not future.done():
                    future.set_exception(ShuttingDown())
            self._end_turn()
        return self._stop_task

    async def _let_go(self) -> None:
        await self._links.close()
        try:
            async with asyncio.timeout(DISK_GRACE_S):
                await self._fetcher.close()
                await self._server.close()
                await self._snapshots.close()
                if self._restoring is not None:
                    self._restoring.cancel()
                    await asyncio.wait([self._restoring])
                if self._refused_task is not None:
                    await asyncio.wait([self._refused_task])
                await self._writer.close()
                await self._wal.close()
        except TimeoutError:
            # What does not return may still write. The lock goes with the process, and not before.
            log.error("replica %d: its disk does not answer; the lock on its directory stays", self.id)
        except Exception as error:
            log.error("replica %d: closing its log failed: %s", self.id, error)
            self._lock.release()
        else:
            self._lock.release()

    def _fail(self, error: BaseException) -> None:
        """Fail-stop. Nothing is acknowledged from here on."""
        if self._stopped:
            return
        reason = error if isinstance(error, ReplicaFailed) else ReplicaFailed(_sentence(error), error)
        said_all = isinstance(error, OSError | ReplicaFailed)
        level = logging.INFO if isinstance(error, ReplicaRemoved) else logging.ERROR
        log.log(level, "replica %d stops: %s", self.id, reason, exc_info=None if said_all else error)
        if not self.failed.done():  # whoever waited for it may have been cancelled, and it with him
            self.failed.set_result(reason)
        self._stop()

    # ── what users call ──────────────────────────────────────────────────────────────────────────────────────

    async def propose(self, command: Command, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Replicate a command and return what the state machine's ``apply`` returned for it on this replica.

        When it returns, the command is durable on a majority and applied here. Cancelling the call leaves the
        outcome unknown.

        :raises NotExecuted: (a subclass) it was not executed and never will be; safe to retry.
        :raises OutcomeUnknown: it may have been executed, or may yet be; retry only what is idempotent.
        :raises TypeError: it is no command.
        """
        if not is_command(command):
            raise TypeError(f"a command is bytes or a tuple of bytes, not {command!r:.80}")
        sink = _FutureSink(self._loop)
        self.submit((command,), command_bytes(command), sink, timeout_s=timeout_s)
        return (await sink.future)[0]

    async def read(self, query: Any, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Answer a query from a state that holds every write which had finished when the read began.

        :raises NotExecuted: (a subclass) nothing was read; safe to retry.
        """
        sink = _FutureSink(self._loop)
        self.query((query,), sink, timeout_s)
        return (await sink.future)[0]

    async def verify_authority(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> Index:
        """Prove that this replica leads, after the call began, and return the index that a reader must have applied.

        :raises NotLeader: another replica leads, or none; ``leader`` names it if known.
        :raises TermElapsed: the leadership ended meanwhile.
        :raises AuthorityTimedOut: no majority answered in time.
        :raises Overloaded: too many reads are waiting.
        :raises ShuttingDown: the replica is stopping.

        After each of them nothing was read, and trying again is safe.
        """
        if self._stopping:
            raise ShuttingDown
        future: asyncio.Future[Index] = self._loop.create_future()
        now = self._clock.monotonic_s()
        self._raft.verify_authority(future, now, now + timeout_s)
        self._schedule_turn()
        self._authority_futures[future] = None
        try:
            return await future
        finally:
            del self._authority_futures[future]

    # ── what operators call (oarlock.node.api.Operations) ────────────────────────────────────────────────────

    def configuration(self) -> Configuration:
        """The configuration in force here."""
        return self._raft.configuration

    def invitation(self) -> bytes:
        """What :func:`oarlock.join` must be given at a replica that is to join this one's cluster."""
        identity = self._identity
        return Invitation(identity.cluster_id, identity.cluster_name, self._raft.configuration).encode()

    async def change(
        self, change: Change, *, force: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Configuration:
        """Change the members; see :class:`oarlock.node.api.Operations`."""
        if self._stopping:
            raise ShuttingDown
        _see_that_all_can_be_dialled(change)
        raft, now = self._raft, self._clock.monotonic_s()
        index = raft.change(change, now, force=force)
        began, term = raft.term, raft.log.term_at(index)

        def done() -> bool:
            return raft.commit_index >= index and not raft.committed_configuration.outgoing

        self._schedule_turn()
        await self._until(done, now + timeout_s)
        found = raft.log.term_at(index)
        if raft.commit_index >= index and found not in (term, None):
            raise Unavailable("the leadership ended before the change was committed: it was not made")
        # Where the log has begun anew meanwhile, nobody here knows what stood there.
        if not done() or (found is None and raft.term != began):
            raise OutcomeUnknown("the change was begun, and it is not known yet whether it will come to its end")
        return raft.committed_configuration

    async def transfer(self, target: ReplicaId | None, timeout_s: float = DEFAULT_TIMEOUT_S) -> ReplicaId:
        """Hand leadership over; see :class:`oarlock.node.api.Operations`."""
        raft, now = self._raft, self._clock.monotonic_s()
        if raft.leader != self.id:
            raise NotLeader(raft.leader or None)
        if target == self.id:
            return self.id
        if not raft.hand_over(now, target):
            who = f"replica {target}" if target else "no other replica"
            raise Unavailable(f"{who} could take over now: it takes a voter that answers and is caught up")
        self._schedule_turn()
        await self._until(lambda: not raft.handing_over and raft.leader != NO_REPLICA, now + timeout_s)
        if raft.leader in (NO_REPLICA, self.id):
            raise OutcomeUnknown("nobody took over in time")  # but was asked to, and may still
        return raft.leader

    async def take_snapshot(self) -> SnapshotPoint:
        """Write a snapshot of what is applied now; see :class:`oarlock.node.api.Operations`."""
        if self._stopping:
            raise ShuttingDown
        taking = self._snapshots.take()
        try:
            return await asyncio.shield(taking)
        except OarlockError:
            raise
        except asyncio.CancelledError:
            if taking.cancelled():  # it was, and not who waits for it
                raise ShuttingDown from None
            raise
        except Exception as error:
            raise Unavailable("this replica failed while it wrote the snapshot, and stops") from error

    def backup(self) -> AsyncIterator[bytes]:
        """A snapshot file's bytes; see :class:`oarlock.node.api.Operations`."""
        return in_parts(self._open_fresh_snapshot)

    async def _open_fresh_snapshot(self) -> PinnedSnapshot:
        """One that holds every write which had finished before."""
        barrier = _FutureSink(self._loop)
        self.query((), barrier)
        await barrier.future
        applied = self._raft.applied_index
        point = await self.take_snapshot()
        while point.index < applied:  # one was under way, of an earlier moment
            point = await self.take_snapshot()
        file = await self._snapshots.open(point.index, point.term)
        if file is None:
            raise Unavailable("the snapshot made way for a newer one: try again")
        return file

    # ── what servers call (oarlock.node.api.Replica) ─────────────────────────────────────────────────────────

    def submit(
        self,
        commands: Sequence[Command],
        size_bytes: int,
        sink: Sink,
        placed: Sequence[PlacedQuery] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> bool:
        """Replicate a group of commands; see :class:`oarlock.node.api.Replica`."""
        refusal: NotExecuted | None = None
        if self._stopping:
            refusal = ShuttingDown()
        elif size_bytes > MAX_COMMAND_BYTES:
            refusal = CommandTooLarge(size_bytes, MAX_COMMAND_BYTES)
        elif self._writes.held_bytes > HELD_BYTES:
            refusal = Overloaded("too many writes are waiting")
        elif not self._writer.has_space:
            refusal = Overloaded("the disk is full: reads go on, writes are refused until there is room")
        if refusal is not None:
            self._loop.call_soon(sink.failed, refusal)
            return True
        self._writes.add(Group(commands, size_bytes, sink, self._clock.monotonic_s() + timeout_s, placed))
        if not self._writes_gather:
            self._schedule_turn()
        return self._writes.held_bytes < COMFORTABLE_BYTES

    def query(self, queries: Sequence[Any], sink: Sink, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Answer a group of queries linearizably; see :class:`oarlock.node.api.Replica`."""
        if self._stopping or self._reads.open_groups >= MOST_READS:
            refusal = ShuttingDown() if self._stopping else Overloaded("too many reads are waiting")
            self._loop.call_soon(sink.failed, refusal)
            return
        self._reads.add(QueryGroup(queries, sink, self._clock.monotonic_s() + timeout_s))
        if not self._reads_gather:
            self._schedule_turn()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back once there is room for writes again."""
        if self._stopped:
            self._loop.call_soon(callback)  # there is no turn any more, but there are clients to be told
            return
        self._when_writable.append(callback)
        self._schedule_turn()

    def at_turn_end(self, callback: Callable[[], None]) -> None:
        """Call back once at the end of this turn, or of the next."""
        if self._stopped:
            self._loop.call_soon(callback)
            return
        self._turn_end.append(callback)
        self._schedule_turn()

    def status(self) -> Status:
        """A snapshot of this replica and what it knows of its cluster."""
        core = self._raft.status()
        leader_hello = self._hellos.get(core.leader)
        leader_redis = self._redis_address if core.leader == self.id else ""
        newest = self._snapshots.newest
        leader_http = self._http_address if core.leader == self.id else ""
        return Status(
            replica_id=self.id,
            role=core.role,
            term=core.term,
            leader_id=core.leader,
            leader_redis=leader_hello.redis_address if leader_hello else leader_redis,
            commit_index=core.commit_index,
            applied_index=core.applied_index,
            last_index=core.last_index,
            voters=core.voters,
            boot=self._boot,
            cluster_id=self._identity.cluster_id,
            cluster_name=self._identity.cluster_name,
            incarnation=self._identity.incarnation,
            ready=bool(core.leader) and self._raft.log.term_at(core.applied_index) == core.term,
            leader_http=leader_hello.http_address if leader_hello else leader_http,
            members=self._member_statuses(),
            joint=bool(self._raft.configuration.outgoing),
            configuration_index=self._raft.configurations.index,
            durable_index=core.durable_index,
            log_bytes=self._snapshots.log_bytes,
            snapshot_index=newest.header.point.index if newest else Index(0),
            snapshot_bytes=newest.size_bytes if newest else 0,
            disk_latency_s=self._writer.latency_s,
        )

    def _member_statuses(self) -> tuple[MemberStatus, ...]:
        own = (self._redis_address, self._http_address)
        addresses = {peer: (hello.redis_address, hello.http_address) for peer, hello in self._hellos.items()}
        raft = self._raft
        return member_statuses(
            raft.configuration,
            raft.role,
            raft.log.base_index,
            {**addresses, self.id: own},
            self._clock.monotonic_s(),
        )

    # ── what links call (oarlock.network.events.LinkEvents) ──────────────────────────────────────────────────

    def hello(self) -> Hello:
        """This replica's own hello: only what is durable may stand in it."""
        term, last_index, last_term = self._writer.durable
        return Hello(
            OLDEST_PROTOCOL_VERSION,
            PROTOCOL_VERSION,
            self._identity.cluster_id,
            self.id,
            self._identity.incarnation,
            self._boot,
            self._nonce,
            term,
            last_term,
            last_index,
            self._redis_address,
            self._http_address,
            self._own_member.address,
        )

    def examine(self, hello: Hello) -> Refusal | None:
        """May this peer take part?"""
        raft = self._raft
        return self._acquaintance.examine(hello, raft.configuration, raft.committed_configuration, raft.commit_index)

    @_fail_stop
    def connected(self, peer: ReplicaId, hello: Hello) -> None:
        """A fresh outbound link: what was sent before may be lost, so send it again."""
        self._hellos[peer] = hello
        self._strangers.pop(peer, None)
        self._fetcher.connected(peer)
        self._raft.peer_connected(peer, hello.boot, self._clock.monotonic_s())
        if self._raft.leader in (peer, NO_REPLICA):
            self._send_undecided(peer)  # also where it is about to be found leading again, before the next turn
            self._reads.leader_lost(self._clock.monotonic_s())
        self._schedule_turn()

    @_fail_stop
    def heard_hello(self, peer: ReplicaId, hello: Hello) -> None:
        """A fresh inbound link of this peer is up: it sends its slices again."""
        self._acquaintance.met(hello)
        self._hellos[peer] = hello
        self._intake.forget(peer)

    @_fail_stop
    def disconnected(self, peer: ReplicaId) -> None:
        """The outbound link is gone."""
        self._server.disconnected(peer)
        if peer == self._raft.leader:
            self._reads.leader_lost(self._clock.monotonic_s())
        self._schedule_turn()

    @_fail_stop
    def received(self, peer: ReplicaId, messages: list[PeerMessage]) -> None:
        """A frame of an established link."""
        now = self._clock.monotonic_s()
        self._inputs += 1
        for message in messages:
            if isinstance(message, Message):
                if self._acquaintance.counts(peer, message, self._raft.configuration):
                    self._raft.receive(peer, message, now)
            else:
                self._received_from_node(peer, message, now)
        self._schedule_turn()

    @_fail_stop
    def unreachable(self, peer: ReplicaId) -> None:
        """The peer's process is gone."""
        self._raft.peer_unreachable(peer, self._clock.monotonic_s())
        self._schedule_turn()

    @_fail_stop
    def refused(self, peer: ReplicaId, refusal: Refusal) -> None:
        """A peer will not have this replica. If that is final, it must not come back as it is."""
        if refusal.code in FINAL_REFUSALS and self._refused_task is None:
            because = msgspec.structs.replace(refusal, text=f"replica {peer} refused this one: {refusal.text}")
            self._refused_task = self._loop.create_task(self._stay_down(because))
        elif refusal.code == "cluster":
            # One peer that says so may itself be the stranger at its address; a majority is right.
            self._strangers[peer] = True
            if count_votes(self._raft.configuration, self._strangers) is VoteResult.WON:
                self._fail(
                    ReplicaRefused(
                        f"{self._directory} belongs to cluster {self._identity.cluster_id}, but a majority of the "
                        f"addresses it names answer as another: start each replica on its own data directory"
                    )
                )

    async def _stay_down(self, refusal: Refusal) -> None:
        text = refusal.text
        try:
            await record_refusal(self._disk, self._directory, text)
        except OSError as error:
            text += f" (which could not be recorded in {self._directory}: {error})"
        self._fail(ReplicaRemoved(text) if refusal.code == "removed" else ReplicaRefused(text))

    def _received_from_node(self, peer: ReplicaId, message: PeerMessage, now: float) -> None:
        match message:
            case ForwardSlice() if self._raft.leader == self.id:
                self._intake_for_term().received(peer, message)
            case ForwardSlice():
                pass  # cut for a leadership that is over, and can never stand in another's term
            case SliceExpected(term, boot, number):
                if term == self._raft.term and boot == self._boot and peer == self._raft.leader:
                    self._send_undecided(peer, number)
            case ReadRequest(boot, number):
                deadline = now + DEFAULT_TIMEOUT_S
                self._raft.verify_authority(RemoteRound(peer, boot, number), now, deadline, peer=peer)
            case SnapshotRequest():
                self._server.received(peer, message)
            case SnapshotChunk() | SnapshotGone():
                self._fetcher.received(peer, message)
            case ReadReply(boot, number, index, time_ms):
                if boot == self._boot:  # else it answers a request of this replica's former life
                    self._reads.request_answered(number, index, now, time_ms)

    # ── the turn ─────────────────────────────────────────────────────────────────────────────────────────────

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled and not self._stopped:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    @_fail_stop
    def _turn(self) -> None:
        self._turn_scheduled = False
        # Whoever the round that ends here answers asks again at once: unless as many others wait, poll for them first.
        few_ask = self._reads_gather and not self._round_under_way and self._reads.few_arrived
        self._writes_gather = self._reads_gather = False  # what this turn ends brings no other
        self._carry_out(self._clock.monotonic_s(), few_ask)

    @property
    def _round_under_way(self) -> bool:
        """Whether reads that come now share the next round."""
        return self._raft.round_in_flight if self._raft.leader == self.id else self._reads.is_asking

    def _carry_out(self, now: float, few_ask: bool) -> None:
        raft, reads = self._raft, self._reads
        self._notice_leadership(now)
        self._notice_members()
        self._notice_space()
        leader = raft.leader
        if leader == self.id:
            self._propose(now)
            few_ask = few_ask and not raft.beat_goes_out
            if not few_ask:
                reads.form_round()
            while (round_ := reads.next_for_core(now)) is not None:
                raft.verify_authority(round_, now, round_.deadline)
        elif leader and self._links.is_connected(leader):
            self._forward(leader)
            if not few_ask:
                reads.form_round()
            if (number := reads.next_request(now)) is not None:
                self._queue(leader, ReadRequest(self._boot, number))

        ready = raft.ready()
        for peer, message in ready.messages:
            self._queue(peer, message)
        for outcome in ready.reads:
            self._decide_read(outcome, now)
        self._flush()
        if ready.persist is not None:
            self._writer.write(ready.persist, ready.messages_after_persist)
        for peer in ready.probes:
            self._links.probe(peer)
        # With an older term on disk, a crash would leave what looks like a broken promise: less log in the same term.
        if ready.fetch is not None and raft.persisted_term == raft.term:
            self._fetcher.want(ready.fetch)
        if ready.restore is not None:
            self._restoring = self._loop.create_task(self._restore(ready.restore))
        if ready.committed:
            self._applier.apply(ready.committed)
            raft.applied(ready.committed[-1].index)
            self._snapshots.applied(ready.committed)
        while (round_ := reads.take_applied(raft.applied_index)) is not None:
            self._applier.answer(round_.groups, raft.applied_index, round_.time_ms)
        if self._applier.has_long_answers:
            self._applier.step()

        self._end_turn()
        if (
            raft.has_more_to_apply
            or raft.has_more_to_send
            or self._applier.has_long_answers
            or self._more_to_append(now)
            or few_ask
        ):
            self._schedule_turn()
        if self._sweep_at == NEVER and (self._writes or reads):
            self._sweep_at = now + SWEEP_S
        self._writes_gather = raft.leader == self.id and self._gathers(now)
        self._reads_gather = self._round_under_way
        gathered_at = self._gather_until if self._writes_gather else NEVER
        self._timer.set(min(raft.deadline(), self._sweep_at, gathered_at, max(self._time_due(now), now + MIN_WAIT_S)))

    def _notice_leadership(self, now: float) -> None:
        """React to a new leader or term, once."""
        leadership = (self._raft.term, self._raft.leader)
        if leadership == self._seen_leadership:
            return
        self._seen_leadership = leadership
        term, leader = leadership
        self._applier.leadership_ended()
        self._reads.leader_lost(now)
        if leader == self.id:
            log.info("replica %d leads term %d", self.id, term)
        elif leader:
            log.info("replica %d follows replica %d in term %d", self.id, leader, term)
            self._send_undecided(leader)
        else:
            log.info("replica %d knows no leader in term %d", self.id, term)

    def _notice_members(self) -> None:
        """Have links to those who are members, and to none who have left for good; be none of those."""
        raft = self._raft
        known = (raft.configuration, raft.committed_configuration)
        if known[0] is self._configurations[0] and known[1] is self._configurations[1]:
            return
        self._configurations = known
        # Who is leaving is linked until that is committed: so it may hear of it.
        self._links.set_peers({**_addresses(known[1]), **_addresses(known[0])})
        for replica in known[1].removed:
            self._links.expel(replica)
        if self.id in known[1].removed and self._refused_task is None:
            self._refused_task = self._loop.create_task(
                self._stay_down(Refusal("removed", f"replica {self.id} was removed from its cluster"))
            )

    def _notice_space(self) -> None:
        """Tell the operator, once, that the disk is full, and once that it is not any more."""
        has_space = self._writer.has_space
        if has_space == self._seen_space:
            return
        self._seen_space = has_space
        if has_space:
            log.info("replica %d: there is room on its disk again", self.id)
        else:
            log.warning("replica %d: its disk is full; it takes no new writes until there is room", self.id)

    def _intake_for_term(self) -> Intake:
        """The intake of this leadership. One of an earlier term is dropped with what waited in it: those slices can
        never stand in this term, and their origins learn so from what they apply."""
        if self._intake.term != self._raft.term:
            self._intake = Intake(self._raft.term)
        return self._intake

    def _propose(self, now: float) -> None:
        """Append what waits here and what followers forwarded, as few entries as the limits allow."""
        intake = self._intake_for_term()
        for _ in range(TURN_BATCHES if self._more_to_append(now) else 0):
            if not self._raft.can_propose:
                return
            own = self._writes.cut(self._raft.term)
            own_bytes = slice_bytes(own) if own is not None else 0
            if own is not None and own_bytes > BATCH_BYTES:
                self._append([own], now)  # alone: two that large would not fit one entry
                continue
            foreign, answers = intake.take(BATCH_BYTES - own_bytes) if intake else ([], [])
            for peer, answer in answers:
                self._queue(peer, answer)
            slices = [own, *foreign] if own is not None else foreign
            if not slices:
                break
            self._append(slices, now)
        self._propose_time(now)

    def _propose_time(self, now: float) -> None:
        """Append a clock entry if the state machine waits for a time that has come: nothing else may tell it so, or
        replicas would differ. The times of other entries do as well, so this is rare under load."""
        if now >= self._time_due(now) and self._may_append(now):
            self._raft.propose(b"", now, kind=EntryKind.CLOCK, awaited_by=())
            self._clock_entry_after = now + CLOCK_ENTRY_S

    def _time_due(self, now: float) -> float:
        """When a clock entry is due, if this replica leads."""
        if self._raft.leader != self.id or (due_ms := self._applier.next_due_ms) is None:
            return NEVER
        return max(self._clock_entry_after, now + (due_ms - self._raft.log_time.at(now)) / 1000)

    def _gathers(self, now: float) -> bool:
        """Whether what comes waits for the next entry. An entry per write of the log, not one per turn, makes the
        fewest entries, frames and fsyncs; but a slow disk of the leader must not hold up a majority that is faster."""
        return now < self._gather_until and not self._writer.idle

    def _may_append(self, now: float) -> bool:
        """Whether an entry may be appended now."""
        return not self._gathers(now) and self._raft.can_propose and self._writer.has_space

    def _append(self, slices: list[Slice], now: float) -> None:
        awaited_by = [piece.origin for piece in slices]
        payload = encode_batch(slices)
        # In the log it would stop every leader that ever has to send it.
        assert len(payload) <= MAX_ENTRY_BYTES, f"an entry of {len(payload)} bytes is larger than any may be"
        self._applier.proposed(self._raft.propose(payload, now, awaited_by=awaited_by), slices)
        self._gather_until = now + GATHER_S

    def _more_to_append(self, now: float) -> bool:
        """Whether commands wait that could be appended or forwarded at once, so that another turn is due."""
        raft = self._raft
        can_cut = self._writes.can_cut(raft.term)
        if raft.leader == self.id:
            return (can_cut or bool(self._intake)) and self._may_append(now)
        return can_cut and raft.leader != NO_REPLICA and self._links.is_connected(raft.leader)

    def _forward(self, leader: ReplicaId) -> None:
        """Cut slices for the leader and send them: a link that cannot take one closes, and all are sent again."""
        while (piece := self._writes.cut(self._raft.term)) is not None:
            self._send_slice(leader, piece)

    def _send_undecided(self, leader: ReplicaId, from_number: int = 1) -> None:
        for piece in self._writes.undecided_slices(self._raft.term, from_number):
            self._send_slice(leader, piece)

    def _send_slice(self, leader: ReplicaId, piece: Slice) -> None:
        self._links.send(leader, [ForwardSlice(self._raft.term, piece)], required=True)

    def _decide_read(self, outcome: ReadConfirmed | ReadRefused, now: float) -> None:
        confirmed, time_ms = (outcome.index, outcome.time_ms) if isinstance(outcome, ReadConfirmed) else (None, 0)
        match outcome.request:
            case Round() as round_ if confirmed is not None:
                self._reads.core_confirmed(round_, confirmed, time_ms)
            case Round() as round_:
                self._reads.core_refused(round_, now)
            case RemoteRound(peer, boot, number):
                self._queue(peer, ReadReply(boot, number, confirmed, time_ms))
            case asyncio.Future() as future if not future.done():
                if isinstance(outcome, ReadConfirmed):
                    future.set_result(outcome.index)
                else:
                    future.set_exception(outcome.error)

    def _made_durable(self, persist: Persist, messages_after: Outgoing) -> None:
        """A write is done: first the messages that waited for it, then the core."""
        for peer, message in messages_after:
            self._queue(peer, message)
        self._flush()
        self._inputs += 1
        self._raft.persisted(persist.mark, self._clock.monotonic_s())
        self._schedule_turn()

    @_fail_stop
    def _fetched(self, stored: StoredSnapshot) -> None:
        """A snapshot of another replica's is durable here."""
        self._inputs += 1
        if self._raft.install(stored.header.point, self._clock.monotonic_s()):
            log.info("replica %d begins anew with the snapshot at index %d", self.id, stored.header.point.index)
            self._snapshots.installed()
        self._schedule_turn()

    async def _restore(self, point: SnapshotPoint) -> None:
        """Make the snapshot that was installed the state of the machine. Nothing is applied meanwhile."""
        try:
            await self._snapshots.restore(point)
            self._raft.applied(point.index)
        except Exception as error:
            self._fail(error)
        else:
            self._schedule_turn()

    def _send_one(self, peer: ReplicaId, message: PeerMessage) -> None:
        self._links.send(peer, [message])

    def _queue(self, peer: ReplicaId, message: PeerMessage) -> None:
        self._outgoing.setdefault(peer, []).append(message)

    def _flush(self) -> None:
        """One frame for each peer."""
        outgoing, self._outgoing = self._outgoing, {}
        for peer, messages in outgoing.items():
            self._links.send(peer, messages)

    def _end_turn(self) -> None:
        if self._when_writable and self._writes.held_bytes < COMFORTABLE_BYTES // 2:
            callbacks, self._when_writable = self._when_writable, []
            for callback in callbacks:
                _call(callback)
        callbacks, self._turn_end = self._turn_end, []  # what comes meanwhile waits for the end of the next turn
        for callback in callbacks:
            _call(callback)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    @_fail_stop
    def _time_passed(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = NEVER
            why = "no leader took the write before its deadline" if self._raft.leader else "no leader is known"
            self._writes.expire(now, why)
            self._reads.expire(now, bool(self._raft.leader))
        if now >= self._raft.deadline():
            self._raft.timeout(now)
        self._schedule_turn()


class _FutureSink:
    """A sink for one caller that waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Sequence[Any]] = loop.create_future()

    @property
    def abandoned(self) -> bool:
        return self.future.done()  # cancelled

    def resolved(self, results: Sequence[Any]) -> None:
        if not self.future.done():
            self.future.set_result(results)

    def failed(self, error: OarlockError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def _addresses(configuration: Configuration) -> dict[ReplicaId, str]:
    return {member.id: member.address for member in configuration.members}


def _see_that_all_can_be_dialled(change: Change) -> None:
    """In a configuration, what is no address would stop every replica that has it.

    :raises ChangeRefused: one is none, or none that others could dial
    """
    members = (*change.add, *(member for _, member in change.replace))
    for address in (*(member.address for member in members), *(address for _, address in change.move)):
        try:
            parse_address(address, to_be_dialled=True)
        except InvalidAddress as error:
            raise ChangeRefused(str(error)) from error


def _call(callback: Callable[[], None]) -> None:
    """What goes wrong in a server's callback must not stop the replica."""
    try:
        callback()
    except Exception:
        log.exception("a callback failed")


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"its disk failed ({error}); nothing more can be promised. Replace the disk, or the replica"
    return f"an error of the program: {error!r}"
