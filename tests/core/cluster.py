"""A cluster of bare cores, driven message by message in virtual time, so that a test reads like its scenario.

    c = Cluster(3)
    c.elect(1)                          # 1's election timeout ends, and it wins
    c.stall_disk(2)                     # from now on 2's fsyncs end only when told: c.persist(2)
    c.propose(1, b"x")                  # the messages wait in the network ...
    c.deliver(1, 3, AppendEntries)      # ... until one is delivered, dropped, held, duplicated,
    c.settle()                          # or all are, in order, until nothing is on its way
    c.advance(0.5)                      # time passes; timers end in their order; messages take no time

After every step ``checks.py`` holds the whole cluster to the invariants. A failure prints the script so far.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from oarlock.core import Config, Persist, Raft, ReadConfirmed
from oarlock.core.messages import CoreMessage, PreVote, PreVoteReply, RequestVote, RequestVoteReply
from oarlock.core.roles import Leader
from oarlock.errors import NotExecuted, NotLeader, Overloaded
from oarlock.types import Boot, Configuration, Entry, EntryKind, Index, Member, ReplicaId, Term
from tests.core.checks import Checks
from tests.core.durable import DurableState

Step = TypeVar("Step", bound=Callable[..., Any])
Kind = type | None
FOREVER = 10**9


class ScriptFailed(AssertionError):
    """A step broke an invariant or an expectation; the message holds the script that led there."""


def step(method: Step) -> Step:
    """A word of the vocabulary: recorded, so that a failure can be told as a script."""

    @functools.wraps(method)
    def recorded(self: Cluster, *args: Any, **kwargs: Any) -> Any:
        if self.depth == 0:
            words = [_word(arg) for arg in args] + [f"{key}={_word(value)}" for key, value in kwargs.items()]
            self.script.append(f"c.{method.__name__}({', '.join(words)})")
        self.depth += 1
        try:
            return method(self, *args, **kwargs)
        except ScriptFailed:
            raise
        except Exception as error:
            if self.depth > 1:
                raise
            script = "\n    ".join(self.script)
            raise ScriptFailed(f"{type(error).__name__}: {error}\nafter\n    {script}") from error
        finally:
            self.depth -= 1

    return recorded  # type: ignore[return-value]


def _word(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


class Read:
    """A ``verify_authority`` and how it ended."""

    def __init__(self, replica: int, floor: int) -> None:
        self.replica = replica
        self.floor = floor
        """The highest index committed anywhere when the read began."""
        self.outcome: Index | NotExecuted | None = None
        self.lost = False
        """Its replica crashed before it ended; whoever waited for it crashed too."""

    @property
    def pending(self) -> bool:
        return self.outcome is None

    @property
    def index(self) -> int:
        """Where it was confirmed."""
        assert isinstance(self.outcome, int), f"not confirmed, but {self.outcome!r}"
        return self.outcome

    @property
    def error(self) -> NotExecuted:
        """Why it was refused."""
        assert isinstance(self.outcome, NotExecuted), f"not refused, but {self.outcome!r}"
        return self.outcome


class Replica:
    """One core, with its disk and what its process holds."""

    def __init__(self, replica: ReplicaId, disk: DurableState) -> None:
        self.id = replica
        self.disk = disk
        self.boot = Boot(0)
        self.raft: Raft = None  # type: ignore[assignment]  # set by the first start
        self.running = False
        self.paused = False
        self.disk_stalled = False
        self.unsynced: deque[tuple[Persist, list[tuple[ReplicaId, CoreMessage]]]] = deque()
        self.applied: list[Entry] = []
        self.reads: dict[int, Read] = {}
        self.probes: list[ReplicaId] = []

    @property
    def leads(self) -> bool:
        return self.running and isinstance(self.raft.role, Leader)

    @property
    def terms(self) -> list[int]:
        """Of its log's entries."""
        return [entry.term for entry in self.raft.log.between(1, self.raft.log.last_index)]

    @property
    def payloads(self) -> list[bytes]:
        """Of the commands it has applied."""
        return [entry.payload for entry in self.applied if entry.kind == EntryKind.BATCH]


class Envelope:
    """A message on its way."""

    def __init__(self, sender: int, receiver: int, message: CoreMessage) -> None:
        self.sender = sender
        self.receiver = receiver
        self.message = message
        self.delayed = False
        """It was already past the cuts when it was held up: it will arrive whatever has been cut since."""

    def matches(self, sender: int | None, receiver: int | None, kind: Kind) -> bool:
        return (
            sender in (None, self.sender)
            and receiver in (None, self.receiver)
            and (kind is None or isinstance(self.message, kind))
        )


class Cluster:
    """``voters`` replicas 1, 2, …, then ``learners``. ``logs`` gives some a past: the terms of their entries."""

    def __init__(
        self,
        voters: int = 3,
        *,
        learners: int = 0,
        outgoing: Sequence[int] = (),
        formed: bool = True,
        logs: dict[int, Sequence[int]] | None = None,
        terms: dict[int, int] | None = None,
        config: Config | None = None,
        seed: int = 0,
    ) -> None:
        ids = [ReplicaId(number) for number in range(1, voters + learners + 1)]
        ids += [ReplicaId(number) for number in outgoing if number not in ids]
        members = tuple(Member(number, f"host{number}:7000", 100 + number if formed else 0) for number in ids)
        configuration = Configuration(
            members, tuple(ids[:voters]), tuple(map(ReplicaId, outgoing)), tuple(ids[voters : voters + learners])
        )
        self.config = config or Config()
        self.rng = random.Random(seed)
        self.now = 0.0
        self.script: list[str] = [f"c = Cluster({voters}, learners={learners}, outgoing={outgoing!r}, seed={seed})"]
        self.depth = 0
        self.reads = 0
        self.network: list[Envelope] = []
        self.cut: set[tuple[int, int]] = set()
        self.checks = Checks(self)
        self.replicas: dict[int, Replica] = {}
        for number in ids:
            past = (logs or {}).get(number, [])
            entries = [past_entry(index, term) for index, term in enumerate(past, 1)]
            term = (terms or {}).get(number, past[-1] if past else 0)
            self.replicas[number] = Replica(number, DurableState(configuration, term, 0, entries))
        for replica in self.replicas.values():
            self._start(replica)
        for one in ids:
            for other in ids:
                if one != other:
                    self[one].raft.peer_connected(other, self[other].boot, self.now)

    def __getitem__(self, replica: int) -> Replica:
        return self.replicas[replica]

    def running(self) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.running]

    @property
    def leader(self) -> int:
        """The leader of the highest term; 0 if none leads."""
        leaders = [replica for replica in self.running() if replica.leads]
        return max(leaders, key=lambda replica: replica.raft.term).id if leaders else 0

    # ── elections and time ───────────────────────────────────────────────────────────────────────────────────

    @step
    def stand(self, replica: int) -> None:
        """Its election timeout ends; its (pre-)vote requests wait in the network."""
        raft = self[replica].raft
        assert raft.deadline() < float("inf"), f"{replica} may not stand"
        self.now = max(self.now, raft.deadline())
        raft.timeout(self.now)
        self._turn(self[replica])

    @step
    def elect(self, replica: int) -> None:
        """It stands, once more if it had to learn of a newer term first, and wins."""
        for _ in range(2):
            if not self[replica].leads:
                self.stand(replica)
                self.settle()
        assert self[replica].leads, f"{replica} did not win"

    @step
    def elect_without_delivering_appends(self, replica: int) -> None:
        """It stands, and wins; its first AppendEntries wait in the network."""
        self.stand(replica)
        for kind in (PreVote, PreVoteReply, RequestVote, RequestVoteReply):
            self.settle_only(kind)
        assert self[replica].leads, f"{replica} did not win"

    @step
    def advance(self, seconds: float) -> None:
        """Let time pass. Timers end in their order, and messages are delivered in between."""
        end = self.now + seconds
        for _ in range(20_000):
            self.settle()
            live = [replica for replica in self.running() if not replica.paused]
            first = min(live, key=lambda replica: replica.raft.deadline(), default=None)
            if first is None or first.raft.deadline() > end:
                self.now = end
                return
            self.now = max(self.now, first.raft.deadline())
            first.raft.timeout(self.now)
            self._turn(first)
        raise AssertionError("timers end without end")

    @step
    def wait(self, seconds: float) -> None:
        """Time passes for the cluster's clock alone: no timer ends, no message arrives."""
        self.now += seconds

    @step
    def timeout(self, replica: int) -> None:
        """Whatever timer of its has ended is acted on now."""
        self[replica].raft.timeout(self.now)
        self._turn(self[replica])

    @step
    def hand_over(self, replica: int, target: int | None = None) -> bool:
        started = self[replica].raft.hand_over(self.now, None if target is None else ReplicaId(target))
        self._turn(self[replica])
        return started

    @step
    def process_gone(self, observer: int, peer: int) -> None:
        """``observer`` finds that ``peer``'s process is gone (its connections ended, a dial refused)."""
        self[observer].raft.peer_unreachable(ReplicaId(peer), self.now)
        self._turn(self[observer])

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────

    @step
    def propose(self, replica: int, payload: bytes, awaited_by: Collection[int] | None = None) -> int:
        waiting = None if awaited_by is None else list(map(ReplicaId, awaited_by))
        index = self[replica].raft.propose(payload, self.now, awaited_by=waiting)
        self._turn(self[replica])
        return index

    @step
    def try_to_propose(self, replica: int, payload: bytes) -> None:
        """It may refuse, as it may during a hand-over or past its quota."""
        with contextlib.suppress(NotLeader, Overloaded):
            self.propose(replica, payload)

    @step
    def expect(self, holds: bool, what: str) -> None:
        assert holds, f"expected {what}"

    @step
    def read(self, replica: int, timeout_s: float = FOREVER, asked_by: int = 0) -> Read:
        """A linearizable read begins; perhaps one that another replica asks for."""
        read = Read(replica, self.checks.commit_known_anywhere())
        self.reads += 1
        number = self.reads
        self[replica].reads[number] = read
        self[replica].raft.verify_authority(number, self.now, self.now + timeout_s, peer=ReplicaId(asked_by))
        self._turn(self[replica])
        return read

    # ── the network ──────────────────────────────────────────────────────────────────────────────────────────

    def in_flight(self, sender: int | None = None, receiver: int | None = None, kind: Kind = None) -> list[CoreMessage]:
        return [envelope.message for envelope in self._matching(sender, receiver, kind)]

    @step
    def deliver(self, sender: int, receiver: int, kind: Kind = None) -> CoreMessage:
        """The oldest such message arrives."""
        matching = self._matching(sender, receiver, kind)
        assert matching, f"nothing such on its way from {sender} to {receiver}"
        self.network.remove(matching[0])
        self._arrive(matching[0])
        return matching[0].message

    @step
    def drop(self, sender: int | None = None, receiver: int | None = None, kind: Kind = None) -> int:
        """All such messages on their way are lost."""
        return len(self.hold(sender, receiver, kind))

    @step
    def hold(self, sender: int | None = None, receiver: int | None = None, kind: Kind = None) -> list[Envelope]:
        """All such messages on their way are delayed until ``release``."""
        held = self._matching(sender, receiver, kind)
        self.network = [envelope for envelope in self.network if envelope not in held]
        return held

    @step
    def release(self, held: Iterable[Envelope]) -> None:
        for envelope in held:
            envelope.delayed = True
            self.network.append(envelope)

    @step
    def duplicate(self, sender: int, receiver: int, kind: Kind = None) -> list[Envelope]:
        """A copy of each such message; it arrives when released."""
        return [Envelope(e.sender, e.receiver, e.message) for e in self._matching(sender, receiver, kind)]

    @step
    def arrives_at_once(self, position: int, *, again: bool = False) -> None:
        """The message at this place of the queue overtakes the others; ``again``: and stays, to arrive once more."""
        self._arrive(self.network[position] if again else self.network.pop(position))

    @step
    def lose(self, position: int) -> None:
        del self.network[position]

    @step
    def inject(self, sender: int, receiver: int, message: CoreMessage) -> None:
        """A message from nowhere arrives."""
        self.release([Envelope(sender, receiver, message)])
        self._arrive(self.network.pop())

    @step
    def settle(self) -> None:
        """Deliver what is on its way, in order, until nothing is. Paused replicas receive nothing."""
        while deliverable := [envelope for envelope in self.network if not self[envelope.receiver].paused]:
            self.network.remove(deliverable[0])
            self._arrive(deliverable[0])

    @step
    def settle_nothing_from(self, sender: int) -> None:
        """Deliver everything but what ``sender`` sends."""
        while deliverable := [envelope for envelope in self.network if envelope.sender != sender]:
            self.network.remove(deliverable[0])
            self._arrive(deliverable[0])

    @step
    def settle_only(self, kind: type) -> None:
        """Deliver the messages of one kind, in order, until none is on its way."""
        while matching := self._matching(None, None, kind):
            self.network.remove(matching[0])
            self._arrive(matching[0])

    @step
    def partition(self, *sides: Iterable[int]) -> None:
        """Cut every link between different sides."""
        groups = [set(side) for side in sides]
        for number, group in enumerate(groups):
            for other in groups[number + 1 :]:
                self.cut |= {(a, b) for a in group for b in other} | {(b, a) for a in group for b in other}

    @step
    def silence(self, sender: int, receiver: int) -> None:
        """Cut one direction of a link."""
        self.cut.add((sender, receiver))

    @step
    def heal(self) -> None:
        self.cut.clear()

    @step
    def reconnect(self, one: int, other: int) -> None:
        """The link between two replicas is made anew; what was on its way is lost."""
        self.hold(one, other)
        self.hold(other, one)
        for here, there in ((self[one], self[other]), (self[other], self[one])):
            if here.running and there.running and not {(one, other), (other, one)} & self.cut:
                here.raft.peer_connected(there.id, there.boot, self.now)
                self._turn(here)

    # ── disks and processes ──────────────────────────────────────────────────────────────────────────────────

    @step
    def stall_disk(self, *replicas: int) -> None:
        """From now on their fsyncs end only when told."""
        for replica in replicas:
            self[replica].disk_stalled = True

    @step
    def persist(self, replica: int, count: int = FOREVER) -> None:
        """Its oldest outstanding fsyncs end."""
        for _ in range(min(count, len(self[replica].unsynced))):
            self._sync(self[replica])
            self._turn(self[replica])

    @step
    def recover_disk(self, *replicas: int) -> None:
        for replica in replicas:
            self[replica].disk_stalled = False
            self._turn(self[replica])

    @step
    def pause(self, replica: int) -> None:
        """The process is stopped; what arrives waits in its sockets."""
        self[replica].paused = True

    @step
    def wake(self, replica: int) -> None:
        self[replica].paused = False

    @step
    def crash(self, replica: int, written: int = 0) -> None:
        """All that is not durable is gone; but ``written`` frames whose fsync had not ended are on the disk."""
        victim = self[replica]
        for _ in range(min(written, len(victim.unsynced))):
            victim.disk.write(victim.unsynced.popleft()[0])
        victim.unsynced.clear()
        victim.running = victim.paused = False
        for read in victim.reads.values():
            read.lost = read.pending
        victim.reads.clear()

    @step
    def restart(self, replica: int) -> None:
        assert not self[replica].running
        self._start(self[replica])
        for other in self.running():
            if other.id != replica:
                self.reconnect(replica, other.id)

    # ── the machinery below the vocabulary ───────────────────────────────────────────────────────────────────

    def _start(self, replica: Replica) -> None:
        replica.boot = Boot(replica.boot + 1)
        restored = replica.disk.restored()
        rng = random.Random(self.rng.getrandbits(64))
        replica.raft = Raft(replica.id, 100 + replica.id, self.config, restored, rng, self.now)
        replica.running, replica.applied = True, []
        self.checks.restarted(replica)

    def _matching(self, sender: int | None, receiver: int | None, kind: Kind) -> list[Envelope]:
        return [envelope for envelope in self.network if envelope.matches(sender, receiver, kind)]

    def _arrive(self, envelope: Envelope) -> None:
        receiver = self[envelope.receiver]
        if receiver.running and (envelope.delayed or (envelope.sender, envelope.receiver) not in self.cut):
            receiver.raft.receive(ReplicaId(envelope.sender), envelope.message, self.now)
            self._turn(receiver)

    def _turn(self, replica: Replica) -> None:
        """Take what the core wants done, and do it in the order that ``ready.py`` demands."""
        while replica.running:
            ready = replica.raft.ready()
            self._send(replica, ready.messages)
            assert ready.persist or not ready.messages_after_persist, "messages wait for a persist that never comes"
            if ready.persist:
                replica.unsynced.append((ready.persist, ready.messages_after_persist))
            for entry in ready.committed:
                assert entry.index == len(replica.applied) + 1, "entries are applied in order, once"
                replica.applied.append(entry)
            replica.raft.applied(Index(len(replica.applied)))
            self.checks.stepped(replica)
            for outcome in ready.reads:
                read = replica.reads[outcome.request]
                if isinstance(outcome, ReadConfirmed):
                    self.checks.read_confirmed(read, outcome.index)
                    read.outcome = outcome.index
                else:
                    assert read.outcome is None, "a read ended twice"
                    read.outcome = outcome.error
            replica.probes += ready.probes
            if replica.unsynced and not replica.disk_stalled:
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
            self.network.append(Envelope(sender.id, receiver, message))


def past_entry(index: int, term: int) -> Entry:
    """An entry that was in a log before the script began. Equal (index, term) is equal payload, as Raft has it."""
    return Entry(Index(index), Term(term), EntryKind.BATCH, 0, f"{term}.{index}".encode())
