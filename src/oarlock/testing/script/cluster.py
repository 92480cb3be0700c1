"""A cluster of bare cores in virtual time: no node, no sockets, and nothing happens that nobody asked for.

Messages wait on their way until one is delivered, dropped, held or duplicated; timers end, and (if held) fsyncs too,
when told. Messages take no time. After every turn of a core ``checks.py`` holds the whole cluster to what must hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from oarlock.core import Change, Config, Raft, ReadConfirmed
from oarlock.core.messages import AppendAck, AppendReject, CoreMessage, PreVoteReply, RequestVoteReply
from oarlock.core.roles import Leader
from oarlock.testing.script.checks import Checks
from oarlock.testing.script.errors import CannotBeDone
from oarlock.testing.script.network import Envelope, Network
from oarlock.testing.script.replica import DurableState, Read, Replica, Snapshot, past_entry
from oarlock.types import Boot, Configuration, Index, Member, ReplicaId, Term

FOREVER = 10**9
PROMISES = (AppendAck, AppendReject, PreVoteReply, RequestVoteReply)
MAX_TIMERS = 20_000
"""Timers that may end in one ``run``; more can only be a core whose timer ends again and again."""


class Cluster:
    """``voters``: how many, or who; then ``learners``; ``outgoing``: the old half of a joint configuration.

    ``logs`` and ``terms`` give replicas a past: the terms of their entries, and their current terms.
    """

    def __init__(
        self,
        voters: int | Sequence[int] = 3,
        *,
        learners: Sequence[int] = (),
        outgoing: Sequence[int] = (),
        formed: bool = True,
        logs: Mapping[int, Sequence[int]] | None = None,
        terms: Mapping[int, int] | None = None,
        config: Config | None = None,
        seed: int = 0,
    ) -> None:
        voters = range(1, voters + 1) if isinstance(voters, int) else voters
        ids = sorted(map(ReplicaId, {*voters, *learners, *outgoing}))
        members = tuple(Member(number, f"host{number}:7000", 100 + number if formed else 0) for number in ids)
        configuration = Configuration(members, _ids(voters), _ids(outgoing), _ids(learners))
        self.config = config or Config()
        self.configuration = configuration
        """The first one."""
        self.now = 0.0
        self.network = Network()
        self.checks = Checks(self)
        self.replicas: dict[int, Replica] = {}
        self.snapshots: dict[tuple[Index, Term], Snapshot] = {}
        """Every one that was ever taken."""
        self._rng = random.Random(seed)
        for number in ids:
            past = (logs or {}).get(number, ())
            entries = [past_entry(index, term) for index, term in enumerate(past, 1)]
            term = (terms or {}).get(number, past[-1] if past else 0)
            self.replicas[number] = Replica(number, 100 + number, DurableState(configuration, term, entries))
        for replica in self.replicas.values():
            self._start(replica)
        for one in ids:
            for other in ids:
                if one != other:
                    self[one].raft.peer_connected(other, self[other].boot, self.now)

    def __getitem__(self, replica: int) -> Replica:
        if replica not in self.replicas:
            raise CannotBeDone(f"there is no replica {replica}")
        return self.replicas[replica]

    def running(self) -> list[Replica]:
        """Those that have not crashed."""
        return [replica for replica in self.replicas.values() if replica.running]

    @property
    def leader(self) -> int:
        """The leader of the highest term; 0 if none leads."""
        leaders = [replica for replica in self.running() if replica.leads]
        return max(leaders, key=lambda replica: replica.raft.term).id if leaders else 0

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, seconds: float) -> None:
        """The clock goes on; no timer ends, no message arrives."""
        self.now += seconds

    def timeout(self, replica: int) -> None:
        """The clock goes on to its next timer, which ends."""
        raft = self[replica].raft
        self.now = max(self.now, raft.deadline())
        raft.timeout(self.now)
        self._turn(self[replica])

    def heartbeat(self, leader: int) -> None:
        """The clock goes on to this leader's next heartbeat, which it sends."""
        role = self[leader].raft.role
        assert isinstance(role, Leader), f"{leader} does not lead"
        self.now = max(self.now, role.heartbeat_at)
        self[leader].raft.timeout(self.now)
        self._turn(self[leader])

    def run(self, seconds: float) -> None:
        """Time passes and everything works: messages arrive, snapshots are fetched, timers end in their order."""
        end = self.now + seconds
        for _ in range(MAX_TIMERS):
            self.deliver_all()
            while self._fetch_and_restore():
                self.deliver_all()
            live = [replica for replica in self.running() if not replica.paused]
            first = min(live, key=lambda replica: replica.raft.deadline(), default=None)
            if first is None or first.raft.deadline() > end:
                self.now = end
                return
            self.timeout(first.id)
        raise AssertionError("timers end without end")

    def elect(self, replica: int) -> None:
        """Its election timeout ends, everything arrives, and it wins; at once more if it had to learn a newer term."""
        for _ in range(2):
            if not self[replica].leads:
                self.timeout(replica)
                self.deliver_all()
        assert self[replica].leads, f"{replica} did not win"

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────

    def propose(self, replica: int, payload: bytes, awaited_by: Collection[int] | None = None) -> int:
        """A command comes to a leader, which appends it at once.

        :raises NotLeader: not a leader, or one that hands over.
        :raises Overloaded: too much is uncommitted.
        """
        waiting = None if awaited_by is None else _ids(awaited_by)
        index = self[replica].raft.propose(payload, self.now, awaited_by=waiting)
        self._turn(self[replica])
        return index

    def change(self, leader: int, change: Change, *, force: bool = False) -> int:
        """The leader is to change the members.

        :raises NotLeader: not a leader, or one that hands over.
        :raises ChangeRefused: not so, or not now.
        """
        index = self[leader].raft.change(change, self.now, force=force)
        self._turn(self[leader])
        return index

    def read(self, replica: int, request: object = None, *, timeout_s: float = FOREVER, asked_by: int = 0) -> Read:
        """A linearizable read begins; perhaps one that another replica asks for."""
        read = Read(replica, self.checks.commit_known_anywhere())
        request = read if request is None else request
        assert request not in self[replica].reads, f"a read {request} is waiting already"
        self[replica].reads[request] = read
        deadline = self.now + timeout_s
        self[replica].raft.verify_authority(request, self.now, deadline, peer=ReplicaId(asked_by))
        self._turn(self[replica])
        return read

    def hand_over(self, replica: int, target: int | None = None) -> bool:
        """It is to give its leadership away; False if that is impossible."""
        started = self[replica].raft.hand_over(self.now, None if target is None else ReplicaId(target))
        self._turn(self[replica])
        return started

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, sender: int, receiver: int, kind: type | None = None) -> None:
        """The oldest such message arrives."""
        matching = self.network.between(sender, receiver, kind)
        assert matching, f"nothing such is on its way from {sender} to {receiver}"
        self.arrive(matching[0])

    def deliver_all(self, wanted: Callable[[Envelope], bool] | None = None) -> None:
        """Those wanted arrive, in order, until none is on its way. Paused replicas receive nothing."""
        while True:
            for envelope in self.network.on_its_way:
                if not self[envelope.receiver].paused and (wanted is None or wanted(envelope)):
                    break
            else:
                return
            self.arrive(envelope)

    def arrive(self, envelope: Envelope) -> None:
        """This message arrives now, before those sent earlier."""
        self.network.on_its_way.remove(envelope)
        receiver = self[envelope.receiver]
        if receiver.running and not self._promised_by_another(envelope, receiver):
            receiver.raft.receive(ReplicaId(envelope.sender), envelope.message, self.now)
            self._turn(receiver)

    def inject(self, sender: int, receiver: int, message: CoreMessage) -> None:
        """A message from nowhere arrives."""
        envelope = Envelope(sender, receiver, message)
        self.network.on_its_way.append(envelope)
        self.arrive(envelope)

    def reconnect(self, one: int, other: int) -> None:
        """The connections between two replicas are made anew; what was on its way is lost."""
        self.network.drop(self.network.between(one, other) + self.network.between(other, one))
        for here, there in ((self[one], self[other]), (self[other], self[one])):
            if here.running and there.running and self.network.works_between(one, other):
                here.raft.peer_connected(there.id, there.boot, self.now)
                self._turn(here)

    def report_gone(self, peer: int, observer: int) -> None:
        """``observer`` finds that ``peer``'s process is gone: its connections ended, and a dial was refused."""
        self[observer].raft.peer_unreachable(ReplicaId(peer), self.now)
        self._turn(self[observer])

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self, replica: int) -> None:
        """It takes one of what it has applied, which is durable at once."""
        here = self[replica]
        point = here.raft.point()
        self.checks.snapshot_taken(here, point)
        here.disk.snapshot = Snapshot(point, here.applied)
        self.snapshots[point.index, point.term] = here.disk.snapshot
        self.compact(replica, here.raft.log.base_index)

    def compact(self, replica: int, through: int) -> None:
        """It drops what is up to there from its log, in memory and on disk; its newest snapshot has it."""
        here = self[replica]
        if here.disk.snapshot is None:
            raise CannotBeDone(f"{replica} has no snapshot")
        here.raft.compact(here.disk.snapshot.point, Index(through))
        here.disk.compact(min(through, here.raft.log.durable_index))
        self._turn(here)

    def install(self, replica: int) -> bool:
        """The snapshot that it fetches is durable; False if it has no use for it any more."""
        here = self[replica]
        assert here.fetch, f"{replica} fetches nothing"
        fetched, before = self.snapshots[here.fetch.index, here.fetch.term], here.disk.snapshot
        here.fetch, here.disk.snapshot = None, fetched
        installed = here.raft.install(fetched.point, self.now)
        if not installed:
            here.disk.snapshot = before
        self._turn(here)
        return installed

    def restore(self, replica: int) -> None:
        """The snapshot that it has installed is its state now."""
        here = self[replica]
        assert here.restoring, f"{replica} restores nothing"
        here.applied, here.restoring = list(here.restoring.applied), None
        self._turn(here)

    def _fetch_and_restore(self) -> bool:
        """Whether anybody had something to fetch, from a leader it can reach, or to restore."""
        busy = False
        for replica in self.running():
            if replica.restoring and not replica.paused:
                self.restore(replica.id)
                busy = True
            elif replica.fetch and not replica.paused:
                source = self[replica.fetch.leader]
                if source.running and not source.paused and self.network.works_between(replica.id, source.id):
                    self.install(replica.id)
                    busy = True
        return busy

    # ── disks and processes ──────────────────────────────────────────────────────────────────────────────────

    def hold_fsync(self, *replicas: int) -> None:
        """From now on their fsyncs end only when told."""
        for replica in replicas:
            self[replica].fsync_held = True

    def fsync(self, replica: int, count: int = FOREVER) -> None:
        """Its oldest outstanding fsyncs end."""
        for _ in range(min(count, len(self[replica].unsynced))):
            self._sync(self[replica])
            self._turn(self[replica])

    def release_fsync(self, *replicas: int) -> None:
        """Their outstanding fsyncs end, and later ones at once."""
        for replica in replicas:
            self[replica].fsync_held = False
            self._turn(self[replica])

    def pause(self, replica: int) -> None:
        """The process is stopped; what arrives waits in its sockets."""
        self[replica].paused = True

    def wake(self, replica: int) -> None:
        """The process goes on."""
        self[replica].paused = False

    def crash(self, replica: int, keeping: int = 0) -> None:
        """All that is not durable is gone; but ``keeping`` writes whose fsync had not ended are on the disk."""
        self[replica].crash(keeping)

    def restart(self, replica: int) -> None:
        """It starts from its disk, and the others connect to it."""
        assert not self[replica].running, f"{replica} is running"
        self._start(self[replica])
        for other in self.running():
            if other.id != replica:
                self.reconnect(replica, other.id)

    def start_joining(self, replica: int) -> None:
        """It starts with a new data directory, perhaps in place of one that is lost, and knows the leader's
        configuration."""
        configuration = self[self.leader].raft.configuration
        former = self.replicas.get(replica)
        assert not (former and former.running), f"{replica} is running"
        incarnation = former.incarnation + 100 if former else 100 + replica
        self.replicas[replica] = Replica(ReplicaId(replica), incarnation, DurableState(configuration))
        if former:  # what it had sent or was to be sent came and went by its former connections
            for other in self.replicas:
                self.network.drop(self.network.between(replica, other) + self.network.between(other, replica))
            self.network.held = [e for e in self.network.held if replica not in (e.sender, e.receiver)]
        self.restart(replica)

    def member(self, replica: int, address: str = "") -> Member:
        """As a change names it: one that has not been started will have its first data directory."""
        known = self.replicas.get(replica)
        incarnation = known.incarnation if known else 100 + replica
        return Member(ReplicaId(replica), address or f"host{replica}:7000", incarnation)

    # ── what a node does ─────────────────────────────────────────────────────────────────────────────────────

    def _promised_by_another(self, envelope: Envelope, receiver: Replica) -> bool:
        """What a node keeps from its core: votes and acknowledgements of a replica whose data directory is not the one
        that the configuration names. What such a replica asks is answered: it may have rejoined without the receiver
        knowing yet, and lead by now."""
        known = receiver.raft.configuration.member(ReplicaId(envelope.sender))
        other_directory = known and known.incarnation not in (0, self[envelope.sender].incarnation)
        return bool(other_directory) and isinstance(envelope.message, PROMISES)

    def _start(self, replica: Replica) -> None:
        replica.boot = Boot(replica.boot + 1)
        rng = random.Random(self._rng.getrandbits(64))
        replica.raft = Raft(replica.id, replica.incarnation, self.config, replica.disk.restored(), rng, self.now)
        replica.running = True
        replica.applied = list(replica.disk.snapshot.applied) if replica.disk.snapshot else []
        self.checks.restarted(replica)

    def _turn(self, replica: Replica) -> None:
        """Take what the core wants done, and do it in the order that ``ready.py`` demands."""
        while replica.running:
            ready = replica.raft.ready()
            self._send(replica, ready.messages)
            assert ready.persist or not ready.messages_after_persist, "messages wait for a persist that never comes"
            if ready.persist:
                replica.unsynced.append((ready.persist, ready.messages_after_persist))
            replica.fetch = ready.fetch or replica.fetch
            if ready.restore is not None:
                replica.restoring = self.snapshots[ready.restore.index, ready.restore.term]
            assert not (ready.committed and replica.restoring), "nothing is applied before what is being restored"
            for entry in ready.committed:
                assert entry.index == len(replica.applied) + 1, "entries are applied in order, once"
                replica.applied.append(entry)
            replica.raft.applied(Index(len(replica.applied)))
            self.checks.stepped(replica)
            for outcome in ready.reads:
                assert outcome.request in replica.reads, f"read {outcome.request} ended twice"
                read = replica.reads.pop(outcome.request)
                if isinstance(outcome, ReadConfirmed):
                    self.checks.read_confirmed(read, outcome.index)
                    read.outcome = outcome.index
                else:
                    read.outcome = outcome.error
            replica.dials += ready.probes
            if replica.unsynced and not replica.fsync_held:
                self._sync(replica)
            elif not replica.raft.has_more_to_apply:
                return

    def _sync(self, replica: Replica) -> None:
        persist, messages_after = replica.unsynced.popleft()
        replica.disk.write(persist)
        replica.raft.persisted(persist.mark, self.now)
        self._send(replica, messages_after)

    def _send(self, sender: Replica, messages: Iterable[tuple[ReplicaId, CoreMessage]]) -> None:
        for receiver, message in messages:
            self.checks.sent(sender.id, receiver, message)
            self.network.post(sender.id, receiver, message)


def _ids(numbers: Iterable[int]) -> tuple[ReplicaId, ...]:
    return tuple(map(ReplicaId, numbers))
