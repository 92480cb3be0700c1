"""One random schedule of a cluster, from a seed: first safety under every kind of trouble, then liveness without any.

Every step is a line of a script, held to the invariants as any other; a failure tells the script, which replays it.
"""

from __future__ import annotations

import random

from oarlock.testing.script import Player, ScenarioFailed
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.network import Envelope
from oarlock.testing.script.replica import Read
from oarlock.testing.script.wording import attributes_of
from oarlock.types import Configuration

MOST_REPLICAS = 8
LIVENESS_BOUND_S = 15
"""Healed, a cluster has a leader, and everyone everything, within this much virtual time."""


class RandomRun:
    """``RandomRun(seed).run()`` raises if anything does not hold."""

    def __init__(self, seed: int, steps: int = 400) -> None:
        self.rng = rng = random.Random(seed)
        self.steps = steps
        self.proposals = 0
        self.player = Player(f"seed {seed}")
        self.begin(seed, voters=rng.choice((1, 2, 3, 3, 3, 4, 5, 5)), learners=rng.choice((0, 0, 1)))
        self.c: Cluster = self.player.steps.cluster
        self.changes = rng.random() < 0.5
        """Whether members change in this run."""
        self.reads: list[Read] = []
        self.loss = rng.choice((0.0, 0.02, 0.1))
        self.trouble = rng.choice((0.2, 0.6, 2.0))

    @property
    def ids(self) -> list[int]:
        """All that there ever were."""
        return sorted(self.c.replicas)

    @property
    def everyone(self) -> str:
        return " ".join(map(str, self.ids))

    def begin(self, seed: int, voters: int, learners: int) -> None:
        self.say(f"replicas {voters}")
        if learners:
            self.say(f"learners {voters + 1}")
        if self.rng.random() < 0.2:
            self.say("unformed")
        self.say(f"limit max_append_bytes {self.rng.choice((1, 8, 1024))}")
        self.say(f"limit max_inflight_messages {self.rng.choice((1, 3, 128))}")
        self.say(f"limit max_reads {self.rng.choice((3, 4096))}")
        self.say(f"limit max_apply_bytes {self.rng.choice((1, 64, 4096))}")
        self.say(f"seed {seed}")

    def say(self, line: str) -> None:
        self.player.play(line)

    def run(self) -> None:
        try:
            self.make_trouble()
            self.settle_down()
        except ScenarioFailed as failure:
            script = "\n".join(self.player.said)
            raise ScenarioFailed(f"{failure}\n\nthe script that leads there:\n\n{script}") from failure

    def make_trouble(self) -> None:
        self.say(f"hold fsync {self.everyone}")  # every fsync ends by a step of its own
        actions = {
            self.arrive: 50,
            self.sync: 25,
            self.pass_time: 12,
            self.propose: 8,
            self.read: 8,
            self.delay: 2 * self.trouble,
            self.release: 2 * self.trouble,
            self.crash: 0.4 * self.trouble,
            self.restart: 1.5 * self.trouble,
            self.partition: 0.4 * self.trouble,
            self.heal: 0.8 * self.trouble,
            self.reconnect: 1.0 * self.trouble,
            self.hand_over: 0.5 * self.trouble,
            self.process_gone: 0.8 * self.trouble,
            self.pause: 0.3 * self.trouble,
            self.wake: 0.6 * self.trouble,
            self.snapshot: 3,
            self.compact: 3,
            self.forget: 2,
            self.install: 8,
            self.restore: 4,
            self.calm: 1.5,
            self.change_members: 4 if self.changes else 0,
        }
        for action in self.rng.choices(list(actions), list(actions.values()), k=self.steps):
            action()

    # ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────

    def one(self, *, running: bool = True) -> int | None:
        candidates = [number for number in self.ids if self.c[number].running is running]
        return self.rng.choice(candidates) if candidates else None

    def some_message(self, *, in_order: float) -> Envelope | None:
        """On its way to somebody who can take it."""
        able = [e for e in self.c.network.on_its_way if self.c[e.receiver].running and not self.c[e.receiver].paused]
        if not able:
            return None
        return able[0] if self.rng.random() < in_order else self.rng.choice(able)

    def named(self, envelope: Envelope, among: list[Envelope]) -> str:
        """As a script means exactly this one."""
        kind, _ = attributes_of(envelope.message)
        alike = [
            other
            for other in among
            if (other.sender, other.receiver) == (envelope.sender, envelope.receiver)
            and type(other.message) is type(envelope.message)
        ]
        return f"{alike.index(envelope) + 1}th {envelope.sender}→{envelope.receiver} {kind}"

    def arrive(self) -> None:
        """Messages arrive, mostly in order, sometimes twice or not at all."""
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            if envelope := self.some_message(in_order=0.7):
                name, fate = self.named(envelope, self.c.network.on_its_way), self.rng.random()
                if fate < self.loss:
                    self.say(f"drop {name}")
                    continue
                if fate < self.loss + 0.05:
                    self.say(f"duplicate {name}")
                self.say(f"deliver {name}")

    def delay(self) -> None:
        if envelope := self.some_message(in_order=0.2):
            self.say(f"hold {self.named(envelope, self.c.network.on_its_way)}")

    def release(self) -> None:
        if self.c.network.held:
            self.say(f"release {self.named(self.rng.choice(self.c.network.held), self.c.network.held)}")

    def sync(self) -> None:
        waiting = [number for number in self.ids if self.c[number].running and self.c[number].unsynced]
        if waiting:
            self.say(f"fsync {self.rng.choice(waiting)} {self.rng.choice((1, 1, 9))} times")

    def pass_time(self) -> None:
        self.say(f"wait {self.rng.choice((1, 20, 100, 300, self.rng.randrange(2000)))}ms")
        for number in self.rng.sample(self.ids, len(self.ids)):
            replica = self.c[number]
            due = replica.running and not replica.paused and replica.raft.deadline() <= self.c.now
            if due and self.rng.random() < 0.8:
                self.say(f"timeout {number}")

    def propose(self) -> None:
        for number in self.ids:
            if self.c[number].leads and self.rng.random() < 0.7:
                self.proposals += 1
                self.player.attempt(f"propose {number} {self.proposals}")

    def read(self) -> None:
        number = self.c.leader if self.c.leader and self.rng.random() < 0.5 else self.one()
        if number:
            name = f"r{len(self.reads)}"
            self.say(f"read {number} {name} within {self.rng.choice((50, 1000, 5000))}ms")
            self.reads.append(self.player.steps.reads[name])

    def crash(self) -> None:
        if number := self.one():
            self.say(f"crash {number} keeping {self.rng.choice((0, 0, 1, 2))}")

    def restart(self) -> None:
        if number := self.one(running=False):
            self.say(f"restart {number}")

    def partition(self) -> None:
        shuffled = self.rng.sample(self.ids, len(self.ids))
        cut = self.rng.randint(0, len(shuffled))
        if 0 < cut < len(shuffled):
            sides = [" ".join(map(str, side)) for side in (shuffled[:cut], shuffled[cut:])]
            self.say(
                f"cut {shuffled[0]}→{shuffled[-1]}" if self.rng.random() < 0.3 else f"partition {' | '.join(sides)}"
            )

    def heal(self) -> None:
        self.say("heal")

    def reconnect(self) -> None:
        if len(self.ids) > 1:
            one, other = self.rng.sample(self.ids, 2)
            self.say(f"reconnect {one} {other}")

    def hand_over(self) -> None:
        if self.c.leader:
            target = self.rng.choice(("", *(f" to {number}" for number in self.ids)))
            self.player.attempt(f"hand over {self.c.leader}{target}")

    def process_gone(self) -> None:
        """Sometimes true, sometimes not."""
        if observer := self.one():
            self.say(f"report {self.rng.choice(self.ids)} gone to {observer}")

    def pause(self) -> None:
        if number := self.one():
            self.say(f"pause {number}")

    def wake(self) -> None:
        for number in self.ids:
            if self.c[number].paused and self.rng.random() < 0.5:
                self.say(f"wake {number}")

    def snapshot(self) -> None:
        able = [replica for replica in self.c.running() if not replica.restoring]
        if able:
            self.say(f"snapshot {self.rng.choice(able).id}")

    def compact(self) -> None:
        """Mostly as far as possible, so that somebody falls behind."""
        able = [replica for replica in self.c.running() if replica.raft.snapshot and not replica.restoring]
        if able:
            replica = self.rng.choice(able)
            assert replica.raft.snapshot
            through = replica.raft.snapshot.index
            self.say(f"compact {replica.id} to {through if self.rng.random() < 0.7 else self.rng.randint(0, through)}")

    def forget(self) -> None:
        """A leader keeps a snapshot and nothing else, just when somebody may lack some of it."""
        leader = self.c.leader
        if leader and not self.c[leader].restoring:
            self.say(f"snapshot {leader}")
            self.say(f"compact {leader} to {self.c[leader].raft.applied_index}")

    def install(self) -> None:
        for number in self.ids:
            if self.c[number].fetch and self.rng.random() < 0.5:
                self.player.attempt(f"install {number}")

    def restore(self) -> None:
        for number in self.ids:
            if self.c[number].restoring and self.rng.random() < 0.5:
                self.say(f"restored {number}")

    def calm(self) -> None:
        """A while in which everything works for whoever is connected, so that runs get somewhere."""
        if running := " ".join(str(replica.id) for replica in self.c.running()):
            self.say(f"release fsync {running}")
        self.say(f"run {self.rng.choice((50, 500, 3000))}ms")
        self.say(f"hold fsync {self.everyone}")

    # ── members ──────────────────────────────────────────────────────────────────────────────────────────────

    def change_members(self) -> None:
        """Somebody is added, replaced, removed, moved, or loses its disk; mostly at the leader, and often refused."""
        leader = self.c.leader
        if not leader:
            return
        configuration = self.c[leader].raft.configuration
        present = [member.id for member in configuration.members]
        wish = self.rng.choice(("add", "add", "replace", "replace", "remove", "move", "lose"))
        if wish in ("add", "replace"):
            new = self.newcomer()
            old = self.rng.choice(present)
            learner = " as learners" if self.rng.random() < 0.2 else ""
            wanted = f"add {new}{learner}" if wish == "add" else f"replace {old} by {new}"
        elif wish == "remove":
            wanted = f"remove {self.rng.choice(present)}"
        elif wish == "move":
            wanted = f"move {self.rng.choice(present)} to other{self.rng.randrange(9)}:7000"
        else:
            self.lose_disk()
            return
        force = ", by force" if self.rng.random() < 0.2 else ""
        self.player.attempt(f"change {self.rng.choice((leader, leader, self.one()))} {wanted}{force}")

    def newcomer(self) -> int:
        """One that was started to join and has not been admitted yet, or another one."""
        named = {member.id for replica in self.c.running() for member in replica.raft.configuration.members}
        named |= {removed for replica in self.c.running() for removed in replica.raft.configuration.removed}
        idle = [number for number in self.ids if number not in named]
        if idle or len(self.ids) >= MOST_REPLICAS:
            return self.rng.choice(idle or self.ids)
        number = self.ids[-1] + 1
        self.say(f"start {number} joining")
        self.say(f"hold fsync {number}")
        return number

    def lose_disk(self) -> None:
        """One at a time, and only where a majority is left of every configuration that may count."""
        settled = self.settled()
        if settled is None:
            return
        number = self.rng.choice(settled.voters)
        if len(settled.voters) < 3 or number == self.c.leader:
            return
        if self.c[number].running:
            self.say(f"crash {number}")
        self.say(f"start {number} joining")
        self.say(f"hold fsync {number}")
        self.player.attempt(f"change {self.c.leader} replace {number} by {number}")

    def settled(self) -> Configuration | None:
        """The one configuration that every member has in force and knows to be committed, if there is one."""
        leader = self.c.leader
        if not leader:
            return None
        configuration = self.c[leader].raft.configuration
        for member in configuration.members:
            raft, replica = self.c[member.id].raft, self.c[member.id]
            known = raft.configuration == raft.committed_configuration == configuration
            if not known or replica.incarnation != member.incarnation:
                return None
        return configuration if not configuration.outgoing else None

    # ── liveness ─────────────────────────────────────────────────────────────────────────────────────────────

    def settle_down(self) -> None:
        c = self.c
        self.say("release all")
        self.say("heal")
        for number in self.ids:
            self.say(f"wake {number}" if c[number].running else f"restart {number}")
        self.say(f"release fsync {self.everyone}")
        for one in self.ids:
            for other in self.ids:
                if one < other:
                    self.say(f"reconnect {one} {other}")
        self.say(f"run {LIVENESS_BOUND_S}s")
        self.say("expect a leader")
        leader = c.leader
        for number, replica in c.replicas.items():
            known = c[leader].raft.configuration.member(replica.id)
            if known and known.incarnation != replica.incarnation:
                self.say(f"change {leader} replace {number} by {number}")
        self.say(f"run {LIVENESS_BOUND_S}s")
        leader = c.leader
        configuration = c[leader].raft.configuration
        if configuration.outgoing or configuration.joining:
            raise ScenarioFailed(f"a change of the members never ended: {configuration}")
        members = " ".join(str(member.id) for member in configuration.members)
        self.say(f"expect {members} follow {leader}")
        self.say(f"propose {leader} last")
        self.say(f"read {leader} last")
        self.say("run 1s")
        self.say("expect read last confirmed")
        self.say(f"expect {members} same log")
        self.say(f"expect {members} applied {' '.join(p.decode() for p in c[leader].payloads)}")
        self.say(f"expect {members} durable {c[leader].raft.log.last_index}")
        self.say(f"expect {members} voters {' '.join(map(str, configuration.voters))}")
        if c[leader].payloads[-1] != b"last":
            raise ScenarioFailed(f"{leader} has not applied the last proposal")
        self.say("run 5s")  # the longest deadline of a read
        unended = [read for read in self.reads if read.waiting and not read.lost]
        if unended:
            raise ScenarioFailed(f"{len(unended)} reads never ended")
