"""A simulated cluster with its clients, and everyone who watches it."""

from __future__ import annotations

from random import Random
from typing import Any

from oarlock.core.config import Config
from oarlock.errors import InvariantViolated, ReplicaRefused, StartupError
from oarlock.state_machine import StateMachine
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


class Cluster:
    """Replicas, their network, their clients, and what was seen of them."""

    def __init__(self, subject: Subject, replicas: int, random: Random, trace: Trace) -> None:
        self.subject = subject
        self.trace = trace
        self.loop = VirtualLoop(Random(random.getrandbits(64)), trace)  # type: ignore[abstract]  # all that is used
        self.wires = Wires(self.loop, Random(random.getrandbits(64)))
        self.record = Record()
        self.history = History(self.record, subject)
        self.safety = Safety()
        self._recovered = Recovered()
        self.violations: list[str] = []
        self.clients: list[Participant] = []
        self._random = random
        members = {ReplicaId(id): f"{address(id)}:{RAFT_PORT}" for id in range(1, replicas + 1)}
        self.hosts = [
            Host(id, members, self.wires, Random(random.getrandbits(64)), Config(), subject.serve, self)
            for id in members
        ]
        self._committed = Committed(self.hosts)
        self._timekeeping = Timekeeping([host.clock for host in self.hosts])
        self._standings: dict[int, tuple[object, ...]] = {}
        """By replica: what was watched of it last."""
        self._by_address = {host.address: host for host in self.hosts}
        self.wires.on_frames = self._sent

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
        return self.history.observed(self.subject.machine(), f"replica {host.id} (life {host.lives})")

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
        except InvariantViolated as broken:
            self.violated(str(broken))

    def _sent(self, path: Path, data: bytes) -> None:
        sender, receiver = (self._by_address[address] for address in path)
        try:
            require_durable(sender, ReplicaId(receiver.id), data)
        except InvariantViolated as broken:
            self.violated(str(broken))

    def failed(self, host: Host, error: BaseException) -> None:
        if isinstance(error.__cause__, Divergence):
            self.violated(str(error.__cause__))
            return
        text = str(error)
        of_disk = "disk" in text or "writing the log" in text or "no room" in text
        failing = host.disk_failed or host.disk.capacity_bytes is not None
        allowed = (failing and of_disk) or (
            host.damaged and (of_disk or isinstance(error, StartupError | ReplicaRefused))
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
        log.epoch,
        log.last_index,
        log.durable_index,
        wal._term,
        wal._vote,
        wal._last_index,
        wal._appending,
        wal._failure,
    )
