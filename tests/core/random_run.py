"""One random schedule of a cluster, from a seed: first safety under every kind of trouble, then liveness without any.

Every step goes through ``Cluster``, so ``checks.py`` holds it to the invariants, and a failure prints the script.
"""

from __future__ import annotations

import random

from oarlock.core import Config
from oarlock.types import ReplicaId
from tests.core.cluster import Cluster, Envelope, Read

LIVENESS_BOUND_S = 15.0
"""Healed, a cluster has a leader, and everyone everything, within this much virtual time."""


class RandomRun:
    """``RandomRun(seed).run()`` raises if anything does not hold."""

    def __init__(self, seed: int, steps: int = 400) -> None:
        self.seed = seed
        self.steps = steps
        self.rng = rng = random.Random(seed)
        voters = rng.choice((1, 2, 3, 3, 3, 4, 5, 5))
        self.config = Config(
            max_append_bytes=rng.choice((1, 8, 1024)),
            max_inflight_messages=rng.choice((1, 3, 128)),
            max_reads=rng.choice((3, 4096)),
            max_apply_bytes=rng.choice((1, 64, 4096)),
        )
        learners = rng.choice((0, 0, 1))
        self.c = Cluster(
            voters,
            learners=learners,
            formed=learners > 0 or rng.random() < 0.8,
            config=self.config,
            seed=seed,
        )
        self.ids = sorted(self.c.replicas)
        self.reads: list[Read] = []
        self.proposals = 0
        self.loss = rng.choice((0.0, 0.02, 0.1))
        self.trouble = rng.choice((0.2, 0.6, 2.0))

    def run(self) -> None:
        self.c.stall_disk(*self.ids)  # every fsync ends by a step of its own
        actions = {
            self.arrive: 50,
            self.sync: 25,
            self.pass_time: 12,
            self.propose: 8,
            self.read: 8,
            self.crash: 0.4 * self.trouble,
            self.restart: 1.5 * self.trouble,
            self.partition: 0.4 * self.trouble,
            self.heal: 0.8 * self.trouble,
            self.reconnect: 1.0 * self.trouble,
            self.hand_over: 0.5 * self.trouble,
            self.process_gone: 0.8 * self.trouble,
            self.pause: 0.3 * self.trouble,
            self.wake: 0.6 * self.trouble,
            self.calm: 1.5,
        }
        for action in self.rng.choices(list(actions), list(actions.values()), k=self.steps):
            action()
        self.settle_down()

    # ── trouble ──────────────────────────────────────────────────────────────────────────────────────────────

    def one(self, *, running: bool = True) -> int | None:
        candidates = [number for number in self.ids if self.c[number].running is running]
        return self.rng.choice(candidates) if candidates else None

    def arrive(self) -> None:
        """Messages arrive, mostly in order, sometimes twice or not at all."""
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            if self.c.network:
                self.arrive_once(self.c.network)

    def arrive_once(self, network: list[Envelope]) -> None:
        position = 0 if self.rng.random() < 0.7 else self.rng.randrange(len(network))
        envelope = network[position]
        if self.c[envelope.receiver].paused:
            return
        fate = self.rng.random()
        if fate < self.loss:
            self.c.lose(position)
        elif fate < self.loss + 0.05:
            self.c.arrives_at_once(position, again=True)
        else:
            self.c.arrives_at_once(position)

    def sync(self) -> None:
        waiting = [number for number in self.ids if self.c[number].unsynced]
        if waiting:
            self.c.persist(self.rng.choice(waiting), self.rng.choice((1, 1, 9)))

    def pass_time(self) -> None:
        self.c.wait(self.rng.choice((0.001, 0.02, 0.1, 0.3, self.rng.uniform(0, 2))))
        for number in self.rng.sample(self.ids, len(self.ids)):
            replica = self.c[number]
            if replica.running and not replica.paused and self.rng.random() < 0.8:
                self.c.timeout(number)

    def propose(self) -> None:
        for number in self.ids:
            if self.c[number].leads and self.rng.random() < 0.7:
                self.proposals += 1
                self.c.try_to_propose(number, b"%d" % self.proposals)

    def read(self) -> None:
        number = self.c.leader if self.c.leader and self.rng.random() < 0.5 else self.one()
        if number:
            self.reads.append(self.c.read(number, timeout_s=self.rng.choice((0.05, 1.0, 5.0))))

    def crash(self) -> None:
        if number := self.one():
            self.c.crash(number, written=self.rng.choice((0, 0, 1, 2)))

    def restart(self) -> None:
        if number := self.one(running=False):
            self.c.restart(number)

    def partition(self) -> None:
        shuffled = self.rng.sample(self.ids, len(self.ids))
        cut = self.rng.randint(0, len(shuffled))
        if self.rng.random() < 0.3 and cut:
            self.c.silence(shuffled[0], shuffled[-1])
        else:
            self.c.partition(shuffled[:cut], shuffled[cut:])

    def heal(self) -> None:
        self.c.heal()

    def reconnect(self) -> None:
        if len(self.ids) > 1:
            self.c.reconnect(*self.rng.sample(self.ids, 2))

    def hand_over(self) -> None:
        if self.c.leader:
            target = self.rng.choice((None, *self.ids))
            self.c.hand_over(self.c.leader, None if target is None else ReplicaId(target))

    def process_gone(self) -> None:
        """Sometimes true, sometimes not."""
        if observer := self.one():
            self.c.process_gone(observer, self.rng.choice(self.ids))

    def pause(self) -> None:
        if number := self.one():
            self.c.pause(number)

    def wake(self) -> None:
        for number in self.ids:
            if self.c[number].paused and self.rng.random() < 0.5:
                self.c.wake(number)

    def calm(self) -> None:
        """A while in which everything works for whoever is connected, so that runs get somewhere."""
        self.c.recover_disk(*(replica.id for replica in self.c.running()))
        self.c.advance(self.rng.choice((0.05, 0.5, 3.0)))
        self.c.stall_disk(*self.ids)

    # ── liveness ─────────────────────────────────────────────────────────────────────────────────────────────

    def settle_down(self) -> None:
        c = self.c
        c.heal()
        for number in self.ids:
            c.wake(number)
        for number in self.ids:
            if not c[number].running:
                c.restart(number)
        c.recover_disk(*self.ids)
        for one in self.ids:
            for other in self.ids:
                if one < other:
                    c.reconnect(one, other)
        c.advance(LIVENESS_BOUND_S)
        leaders = [replica.id for replica in c.running() if replica.leads]
        c.expect(len(leaders) == 1, f"one leader, not {leaders}")
        c.propose(leaders[0], b"last")
        last_read = c.read(leaders[0])
        c.advance(1.0)
        for replica in c.running():
            c.expect(replica.payloads[-1:] == [b"last"], f"{replica.id} has not caught up")
            c.expect(replica.applied == c[leaders[0]].applied, f"{replica.id} has applied something else")
            c.expect(
                replica.raft.log.durable_index == replica.raft.log.last_index, f"{replica.id} has undurable entries"
            )
        c.expect(isinstance(last_read.outcome, int), f"the last read is confirmed, not {last_read.outcome!r}")
        c.advance(5.0)  # the longest deadline of a read
        unended = [read for read in self.reads if read.pending and not read.lost]
        c.expect(not unended, f"{len(unended)} reads never ended")
