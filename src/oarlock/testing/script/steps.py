"""What a script can do: to time, clients, messages, links, snapshots, disks and processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oarlock.core.roles import NEVER
from oarlock.errors import NotExecuted
from oarlock.testing.script.changes import Changes
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.errors import CannotBeDone, Refused
from oarlock.testing.script.network import Envelope
from oarlock.testing.script.phrases import Phrasebook, phrase
from oarlock.testing.script.replica import Read
from oarlock.testing.script.wording import Pattern, message_of, pattern_of

CHANGES = Phrasebook(Changes)


class Steps:
    """The steps, on a cluster. Of several phrases that fit a line the first one counts."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.reads: dict[str, Read] = {}
        """By the names that the script gave them."""

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("wait {time}")
    def wait(self, seconds: float) -> None:
        """The clock goes on; no timer ends, no message arrives."""
        self.cluster.wait(seconds)

    @phrase("run {time}")
    def run(self, seconds: float) -> None:
        """Everything works for so long: messages arrive, snapshots are fetched and restored, timers end."""
        self.cluster.run(seconds)

    @phrase("timeout {replica}")
    def timeout(self, replica: int) -> None:
        """The clock goes on to its next timer, which ends: a follower's or a candidate's is its election timeout."""
        self._running(replica)
        if self.cluster[replica].raft.deadline() == NEVER:
            raise Refused(f"{replica} has no timer: it may not stand")
        self.cluster.timeout(replica)

    @phrase("heartbeat {replica}")
    def heartbeat(self, replica: int) -> None:
        """The clock goes on to this leader's next heartbeat, which it sends."""
        self._running(replica)
        self.cluster.heartbeat(replica)

    @phrase("elect {replica}")
    def elect(self, replica: int) -> None:
        """Its election timeout ends, all messages arrive, and it wins."""
        self._running(replica)
        self.cluster.elect(replica)

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("propose {replica} {words} for nobody")
    def propose_for_nobody(self, replica: int, commands: list[str]) -> None:
        """No client waits for these commands (any more)."""
        self._propose(replica, commands, [])

    @phrase("propose {replica} {words} for {replicas}")
    def propose_for(self, replica: int, commands: list[str], waiting: list[int]) -> None:
        """Only clients of these replicas wait."""
        self._propose(replica, commands, waiting)

    @phrase("propose {replica} {words}")
    def propose(self, replica: int, commands: list[str]) -> None:
        """A leader is given commands, an entry each."""
        self._propose(replica, commands, None)

    @phrase("change {replica} {step}")
    def change(self, replica: int, clauses: str) -> None:
        """A leader is to change the members; what may be said is in ``changes.py``."""
        self._running(replica)
        changes = Changes(self.cluster)
        for clause in clauses.split(", "):
            method, arguments = CHANGES.understand(clause)
            getattr(changes, method)(*arguments)
        with _refusals():
            self.cluster.change(replica, changes.change, force=changes.force)

    @phrase("read {replica} {word} within {time}")
    def read_within(self, replica: int, name: str, timeout_s: float) -> None:
        """It gives up after this long."""
        self._running(replica)
        self.reads[name] = self.cluster.read(replica, name, timeout_s=timeout_s)

    @phrase("read {replica} {word} for {replica}")
    def read_for(self, replica: int, name: str, asker: int) -> None:
        """Another replica asks for it."""
        self._running(replica)
        self.reads[name] = self.cluster.read(replica, name, asked_by=asker)

    @phrase("read {replica} {words}")
    def read(self, replica: int, names: list[str]) -> None:
        """Linearizable reads begin."""
        self._running(replica)
        for name in names:
            self.reads[name] = self.cluster.read(replica, name)

    @phrase("hand over {replica} to {replica}")
    def hand_over_to(self, replica: int, target: int) -> None:
        """A leader is to give its leadership to this one."""
        self._hand_over(replica, target)

    @phrase("hand over {replica}")
    def hand_over(self, replica: int) -> None:
        """A leader is to give its leadership to whom it finds best."""
        self._hand_over(replica, None)

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("snapshot {replicas}")
    def snapshot(self, replicas: list[int]) -> None:
        """They take a snapshot of what they have applied, which is durable at once."""
        for replica in replicas:
            self._running(replica)
            self.cluster.snapshot(replica)

    @phrase("compact {replicas} to {count}")
    def compact(self, replicas: list[int], through: int) -> None:
        """They drop the entries up to there, which are in their snapshots."""
        for replica in replicas:
            self._running(replica)
            self.cluster.compact(replica, through)

    @phrase("install {replicas}")
    def install(self, replicas: list[int]) -> None:
        """The snapshots that they fetch are durable."""
        for replica in replicas:
            self._running(replica)
            if self.cluster[replica].fetch is None:
                raise CannotBeDone(f"{replica} fetches nothing")
            if not self.cluster.install(replica):
                raise Refused(f"{replica} has no use for it any more")

    @phrase("restored {replicas}")
    def restored(self, replicas: list[int]) -> None:
        """The snapshots that they have installed are their state now."""
        for replica in replicas:
            self._running(replica)
            if self.cluster[replica].restoring is None:
                raise CannotBeDone(f"{replica} restores nothing")
            self.cluster.restore(replica)

    # ── disks ────────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("hold fsync {replicas}")
    def hold_fsync(self, replicas: list[int]) -> None:
        """Their disks hang: from now on fsyncs end only when told."""
        self.cluster.hold_fsync(*replicas)

    @phrase("release fsync {replicas}")
    def release_fsync(self, replicas: list[int]) -> None:
        """Their disks work again."""
        self.cluster.release_fsync(*replicas)

    @phrase("fsync {replica} all")
    def fsync_all(self, replica: int) -> None:
        """All fsyncs that are outstanding now end."""
        self.fsync(replica, len(self.cluster[replica].unsynced))

    @phrase("fsync {replica}", "fsync {replica} {count} times")
    def fsync(self, replica: int, count: int = 1) -> None:
        """The oldest outstanding fsyncs end."""
        self._running(replica)
        if not self.cluster[replica].unsynced:
            raise CannotBeDone(f"{replica} has no fsync outstanding")
        self.cluster.fsync(replica, count)

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("crash {replica} keeping {count}")
    def crash_keeping(self, replica: int, writes: int) -> None:
        """It is gone; so many writes whose fsync had not ended are on its disk all the same."""
        self._running(replica)
        self.cluster.crash(replica, writes)

    @phrase("crash {replicas}")
    def crash(self, replicas: list[int]) -> None:
        """They are gone, and all that is not durable with them."""
        for replica in replicas:
            self._running(replica)
            self.cluster.crash(replica)

    @phrase("restart {replicas}")
    def restart(self, replicas: list[int]) -> None:
        """They start from their disks, and all connect."""
        for replica in replicas:
            if self.cluster[replica].running:
                raise CannotBeDone(f"{replica} is running")
            self.cluster.restart(replica)

    @phrase("start {replica} joining")
    def start_joining(self, replica: int) -> None:
        """It starts for the first time, or with a new data directory in place of the one that it has lost."""
        if not self.cluster.leader:
            raise CannotBeDone("nobody leads who could tell it the configuration")
        if replica in self.cluster.replicas and self.cluster[replica].running:
            raise CannotBeDone(f"{replica} is running")
        self.cluster.start_joining(replica)

    @phrase("pause {replica}")
    def pause(self, replica: int) -> None:
        """The process is stopped; what arrives waits."""
        self._running(replica)
        self.cluster.pause(replica)

    @phrase("wake {replica}")
    def wake(self, replica: int) -> None:
        """It goes on."""
        self.cluster.wake(replica)

    # ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("partition {sides}")
    def partition(self, sides: list[list[int]]) -> None:
        """Nothing passes between the sides; what is on its way there is lost."""
        self._exist(*(replica for side in sides for replica in side))
        self.cluster.network.partition(*sides)

    @phrase("cut {replica}→{replica}")
    def cut(self, sender: int, receiver: int) -> None:
        """Nothing passes in this direction."""
        self._exist(sender, receiver)
        self.cluster.network.cut(sender, receiver)

    @phrase("heal")
    def heal(self) -> None:
        """Every link works again."""
        self.cluster.network.heal()

    @phrase("reconnect {replica} {replica}")
    def reconnect(self, one: int, other: int) -> None:
        """Their connections are made anew; what was on its way is lost."""
        self.cluster.reconnect(one, other)

    @phrase("report {replica} gone to {replica}")
    def report_gone(self, peer: int, observer: int) -> None:
        """The second one's connections to the first have ended, and a new dial is refused."""
        self._running(observer)
        self.cluster.report_gone(peer, observer)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("deliver all")
    def deliver_all(self) -> None:
        """Messages arrive, in order, and those sent in answer, until none is on its way."""
        self.cluster.deliver_all()

    @phrase("deliver all but {messages}")
    def deliver_all_but(self, excepted: Pattern) -> None:
        """The same, without these."""
        self.cluster.deliver_all(lambda envelope: not excepted.matches(envelope))

    @phrase("deliver all {messages}")
    def deliver_all_of(self, wanted: Pattern) -> None:
        """The same, only these."""
        self.cluster.deliver_all(wanted.matches)

    @phrase("deliver {messages}")
    def deliver(self, wanted: Pattern) -> None:
        """The oldest such message arrives."""
        envelope = self._one(wanted, self.cluster.network.on_its_way, "on its way")
        self._running(envelope.receiver)
        if self.cluster[envelope.receiver].paused:
            raise CannotBeDone(f"{envelope.receiver} is paused")
        self.cluster.arrive(envelope)

    @phrase("drop all")
    def drop_all(self) -> None:
        """All messages on their way are lost."""
        self.cluster.network.drop(self.cluster.network.on_its_way)

    @phrase("drop all {messages}")
    def drop_all_of(self, wanted: Pattern) -> None:
        """All such messages are lost."""
        self.cluster.network.drop(wanted.among(self.cluster.network.on_its_way))

    @phrase("drop {messages}")
    def drop(self, wanted: Pattern) -> None:
        """The oldest such message is lost."""
        self.cluster.network.drop([self._one(wanted, self.cluster.network.on_its_way, "on its way")])

    @phrase("hold all {messages}")
    def hold_all_of(self, wanted: Pattern) -> None:
        """All such messages are delayed, until ``release``: what is cut or connected meanwhile does not stop them."""
        self.cluster.network.hold(wanted.among(self.cluster.network.on_its_way))

    @phrase("hold {messages}")
    def hold(self, wanted: Pattern) -> None:
        """The oldest such message is delayed."""
        self.cluster.network.hold([self._one(wanted, self.cluster.network.on_its_way, "on its way")])

    @phrase("duplicate {messages}")
    def duplicate(self, wanted: Pattern) -> None:
        """A second copy of the oldest such message is delayed, while the first goes on."""
        self.cluster.network.duplicate([self._one(wanted, self.cluster.network.on_its_way, "on its way")])

    @phrase("release all")
    def release_all(self) -> None:
        """All that was delayed is on its way again, behind the others."""
        self.cluster.network.release(self.cluster.network.held)

    @phrase("release {messages}")
    def release(self, wanted: Pattern) -> None:
        """The one delayed first of these is on its way again."""
        self.cluster.network.release([self._one(wanted, self.cluster.network.held, "held")])

    @phrase("inject {replica}→{replica} {step}")
    def inject(self, sender: int, receiver: int, text: str) -> None:
        """A message that nobody sent, or that somebody did long ago, arrives."""
        self._running(receiver)
        self.cluster.inject(sender, receiver, message_of(pattern_of(f"{sender}→{receiver} {text}")))

    # ── the machinery below the vocabulary ───────────────────────────────────────────────────────────────────

    def _exist(self, *replicas: int) -> None:
        for replica in replicas:
            assert self.cluster[replica]

    def _running(self, replica: int) -> None:
        if not self.cluster[replica].running:
            raise CannotBeDone(f"{replica} is not running")

    def _one(self, wanted: Pattern, envelopes: list[Envelope], where: str) -> Envelope:
        matching = wanted.among(envelopes)
        if len(matching) < wanted.ordinal:
            raise CannotBeDone(f"{'no' if not matching else f'only {len(matching)}'} such message is {where}")
        return matching[wanted.ordinal - 1]

    def _propose(self, replica: int, commands: list[str], waiting: list[int] | None) -> None:
        self._running(replica)
        with _refusals():
            for command in commands:
                self.cluster.propose(replica, command.encode(), waiting)

    def _hand_over(self, replica: int, target: int | None) -> None:
        self._running(replica)
        if not self.cluster.hand_over(replica, target):
            raise Refused(f"{replica} cannot hand over")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except NotExecuted as refusal:
        raise Refused(f"refused: {refusal}") from refusal
