"""A simulated cluster with its clients, and everyone who watches it."""

from __future__ import annotations

from random import Random
from typing import Any

from oarlock.core.config import Config
from oarlock.errors import InvariantViolated, ReplicaRefused, ReplicaRemoved, StartupError
from oarlock.state_machine import StateMachine
from oarlock.testing.simulation.agreement import Agreement
from oarlock.testing.simulation.applied import Divergence, History
from oarlock.testing.simulation.committed import Committed
from oarlock.testing.simulation.host import RAFT_PORT, Host, address
from oarlock.testing.simulation.loop import VirtualLoop
from oarlock.testing.simulation.network import Path, Wires
from oarlock.testing.simulation.promises import require_durable
from oarlock.testing.simulation.record import Record
from oarlock.testing.simulation.recovered import Recovered
from oarlock.testing.simulation.safety import Safety
from oarlock.testing.simulation.subject import Participant, Subject
from oarlock.testing.simulation.timekeeping import Timekeeping
from oarlock.testing.simulation.trace import Trace
from oarlock.types import ReplicaId

SNAPSHOT_AFTER_BYTES = (2 * 1024, 8 * 1024, 32 * 1024)
"""How much is applied between two snapshots, in different runs: several in most."""


class Cluster:
    """Replicas, their network, their clients, and what was seen of them."""

    def __init__(self, subject: Subject, replicas: int, random: Random, trace: Trace) -> None:
        self.subject = subject
        self.trace = trace
        self._random = random
        self.loop = VirtualLoop(Random(random.getrandbits(64)), trace)  # type: ignore[abstract]  # all that is used
        self.wires = Wires(self.loop, Random(random.getrandbits(64)))
        self.record = Record()
        self.history = History(self.record, subject)
        self.safety = Safety()
        self._recovered = Recovered()
        self._agreement = Agreement()
        self.violations: list[str] = []
        self.clients: list[Participant] = []
        self._members = {ReplicaId(id): f"{address(id)}:{RAFT_PORT}" for id in range(1, replicas + 1)}
        self._snapshot_after_bytes = random.choice(SNAPSHOT_AFTER_BYTES)
        self.hosts: list[Host] = []
        self._by_address: dict[str, Host] = {}
        for id in self._members:
            self._new_host(id)
        self.departed: list[int] = []
        """Ids that somebody has asked to be removed."""
        self.members_change = False
        """Who is a member changes in this run; then no more than one disk at a time may be of no use."""
        self._committed = Committed(self.safety.committed)
        self._timekeeping = Timekeeping([host.clock for host in self.hosts])
        self._standings: dict[int, tuple[object, ...]] = {}
        """By replica: what was watched of it last."""
        self.wires.on_frames = self._sent

    def add_host(self) -> Host:
        """One more machine, with an empty disk."""
        host = self._new_host(ReplicaId(len(self.hosts) + 1))
        self._timekeeping.watch(host.clock)
        return host

    def _new_host(self, id: ReplicaId) -> Host:
        random = Random(self._random.getrandbits(64))
        host = Host(
            id, self._members, self.wires, random, Config(), self.subject.serve, self, self._snapshot_after_bytes
        )
        self.hosts.append(host)
        self._by_address[host.address] = host
        return host

    def wipe(self, host: Host) -> None:
        """Its disk is replaced by an empty one."""
        host.wiped, host.damaged = True, False
        self._recovered.forget(host)

    def bad_disks(self) -> list[Host]:
        """The members that could not keep a promise of theirs: of a damaged disk, or of an empty one that has not been
        filled yet."""
        leader = self.leader()
        if leader is not None and leader.node is not None:
            committed = leader.node._raft.committed_configuration
            for host in self.hosts:
                member = committed.member(ReplicaId(host.id))
                if host.wiped and member and member.incarnation == host.incarnation and host.id in committed.voters:
                    host.wiped = False
        known = self._known()
        return [host for host in self.hosts if (host.damaged or host.wiped) and host.id in known]

    def members(self) -> list[Host]:
        """The hosts of the replicas that are members by the configuration of the leader, or of whoever knows most."""
        known = self._known()
        # A replica that lost its disk is none until it has been let in again.
        return [host for host in self.hosts if known.get(host.id) in (0, host.incarnation)]

    def _known(self) -> dict[int, int]:
        """The incarnations of the members, by id."""
        nodes = [host.node for host in self.hosts if host.node is not None]
        if not nodes:
            return {host.id: host.incarnation for host in self.hosts}
        newest = max(nodes, key=lambda node: (node._raft.leader == node.id, node._raft.term, node._raft.log.last_index))
        return {member.id: member.incarnation for member in newest._raft.configuration.members}

    def start(self, clients: int) -> None:
        """Start every replica, and so many clients."""
        for host in self.hosts:
            host.start()
        self.more_clients(clients)

    def tell(self, what: str) -> None:
        """A line of the story, by nobody in particular."""
        self.trace.tell(self.loop.now, "·", what)

    def bite(self, kind: str) -> None:
        """A fault hit somebody."""
        self.wires.bite(kind)

    def leader(self) -> Host | None:
        """A host whose replica says that it leads, in the highest term of such."""
        leading = [
            (host.node._raft.term, host.id, host)
            for host in self.hosts
            if host.node is not None and host.node._raft.leader == host.id
        ]
        return max(leading)[2] if leading else None

    def more_clients(self, count: int) -> list[Participant]:
        """Start more clients."""
        more = []
        for _ in range(count):
            client = self.subject.client(len(self.clients) + 1, self, Random(self._random.getrandbits(64)))
            self.clients.append(client)
            more.append(client)
            client.start()
        return more

    def violated(self, what: str) -> None:
        """Something happened that must never happen."""
        self.violations.append(what)
        self.tell(f"VIOLATION: {what}")

    # A Watcher of hosts

    def machine(self, host: Host) -> StateMachine:
        return self.history.observed(
            self.subject.machine(), f"replica {host.id} (life {host.lives})", host.id,
            lambda: self._timekeeping.latest_ms(self.loop.now),
        )  # fmt: skip

    def stepped(self, host: Host) -> None:
        # Most steps move nothing that is watched: a beat goes out, an echo comes back.
        standing = _standing(host)
        if standing == self._standings.get(host.id):
            return
        self._standings[host.id] = standing
        try:
            self.safety.stepped(host)
            self._recovered.stepped(host)
            self._committed.stepped(host)
            self._timekeeping.stepped(host)
            self._agreement.stepped(host)
        except InvariantViolated as broken:
            self.violated(str(broken))

    def _sent(self, path: Path, data: bytes) -> None:
        sender, receiver = (self._by_address[address] for address in path)
        try:
            require_durable(sender, ReplicaId(receiver.id), data)
        except InvariantViolated as broken:
            self.violated(str(broken))

    def failed(self, host: Host, error: BaseException) -> None:
        if host.id in self.departed and (isinstance(error, ReplicaRemoved) or "was removed from" in str(error)):
            return
        if isinstance(error.__cause__, Divergence):
            self.violated(str(error.__cause__))
            return
        text = str(error)
        of_disk = "disk" in text or "writing the log" in text or "no room" in text
        failing = host.disk_failed or host.disk.capacity_bytes is not None
        allowed = (failing and of_disk) or (
            (host.damaged or host.wiped) and (of_disk or isinstance(error, StartupError | ReplicaRefused))
        )
        if not allowed:
            self.violated(f"replica {host.id} must not have stopped: {text}")

    # Afterwards

    def digest_now(self, host: Host) -> Any:
        """Of the state of a replica that runs."""
        assert host.node is not None
        return self.subject.digest(host.node._applier._machine)


def _standing(host: Host) -> tuple[object, ...]:
    """Everything of a replica that those who watch its steps look at, except the time."""
    assert host.node is not None
    raft, wal = host.node._raft, host.node._wal
    log = raft.log
    return (
        host.lives,
        raft.term,
        raft.leader,
        raft.commit_index,
        raft.applied_index,
        raft.configuration,
        log.base_index,
        log.epoch,
        log.last_index,
        log.durable_index,
        wal._term,
        wal._vote,
        wal._last_index,
        wal._appending,
        wal._failure,
        host.node._snapshots.newest,
    )
