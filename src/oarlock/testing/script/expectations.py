"""What a script can expect, once a step is done."""

from __future__ import annotations

from collections.abc import Callable

from oarlock.core import Raft
from oarlock.core.progress import Progress
from oarlock.core.roles import Follower, Leader, PreCandidate
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.errors import CannotBeDone, NotAsExpected
from oarlock.testing.script.phrases import phrase
from oarlock.testing.script.replica import Read
from oarlock.testing.script.wording import Pattern
from oarlock.types import ReplicaId


def role_of(raft: Raft) -> str:
    """As scripts call it: ``pre-candidate`` while it asks for pre-votes."""
    return "pre-candidate" if isinstance(raft.role, PreCandidate) else raft.status().role


class Expectations:
    """The phrases after ``expect``, about a cluster and the reads that were begun in it."""

    def __init__(self, cluster: Cluster, reads: dict[str, Read]) -> None:
        self.cluster = cluster
        self.reads = reads

    # ── leaders and terms ────────────────────────────────────────────────────────────────────────────────────

    @phrase("no leader")
    def no_leader(self) -> None:
        """Nobody takes itself for one."""
        self._same("the leader", self.cluster.leader or "nobody", "nobody")

    @phrase("a leader")
    def a_leader(self) -> None:
        """Somebody leads, whoever it is."""
        if not self.cluster.leader:
            raise NotAsExpected("there is no leader")

    @phrase("leader {replica}")
    def leader(self, replica: int) -> None:
        """It leads, in the highest term that is led."""
        self._same("the leader", self.cluster.leader or "nobody", replica)

    @phrase("leader {replica} or {replica}")
    def leader_or(self, one: int, other: int) -> None:
        """One of them does."""
        if self.cluster.leader not in (one, other):
            raise NotAsExpected(f"the leader is {self.cluster.leader or 'nobody'}, not {one} or {other}")

    @phrase("{replicas} role {word}")
    def role(self, replicas: list[int], role: str) -> None:
        """leader, candidate, pre-candidate, follower or learner."""
        self._each(replicas, "role", role_of, role)

    @phrase("{replicas} follow {replica}", "{replicas} follows {replica}")
    def follow(self, replicas: list[int], leader: int) -> None:
        """They know this leader of their term."""
        self._each(replicas, "leader", lambda raft: raft.leader, leader)

    @phrase("{replicas} follows nobody")
    def follow_nobody(self, replicas: list[int]) -> None:
        """They know no leader of their term."""
        self._each(replicas, "leader", lambda raft: raft.leader, 0)

    @phrase("{replicas} term {count}")
    def term(self, replicas: list[int], term: int) -> None:
        """Their current term."""
        self._each(replicas, "term", lambda raft: raft.term, term)

    @phrase("{replicas} voted for {replica}", "{replicas} voted for nobody")
    def voted_for(self, replicas: list[int], candidate: int = 0) -> None:
        """In their current term."""
        self._each(replicas, "vote", lambda raft: raft.vote, candidate)

    @phrase("{replicas} voters {replicas}")
    def voters(self, replicas: list[int], voters: list[int]) -> None:
        """Of the configuration in force at them."""
        self._each(replicas, "voters", lambda raft: list(map(int, raft.configuration.voters)), voters)

    @phrase("{replicas} learners {replicas}", "{replicas} learners nobody")
    def learners(self, replicas: list[int], learners: list[int] | None = None) -> None:
        """Of the same."""
        self._each(replicas, "learners", lambda raft: list(map(int, raft.configuration.learners)), learners or [])

    @phrase("{replicas} removed {replicas}")
    def removed(self, replicas: list[int], removed: list[int]) -> None:
        """Who has left for good, by the last configuration that they know to be committed."""
        self._each(replicas, "removed", lambda raft: list(map(int, raft.committed_configuration.removed)), removed)

    @phrase("{replicas} joint")
    def joint(self, replicas: list[int]) -> None:
        """Two sets of voters must agree, by the configuration in force at them."""
        self._each(replicas, "being joint", lambda raft: bool(raft.configuration.outgoing), True)

    @phrase("{replicas} not joint")
    def not_joint(self, replicas: list[int]) -> None:
        """One set of voters decides."""
        self._each(replicas, "being joint", lambda raft: bool(raft.configuration.outgoing), False)

    @phrase("{replicas} knows {replica} at {word}", "{replicas} know {replica} at {word}")
    def knows_at(self, replicas: list[int], member: int, address: str) -> None:
        """The address of a member, by the configuration in force at them."""
        at = {number: self._raft(number).configuration.member(ReplicaId(member)) for number in replicas}
        for number, known in at.items():
            self._same(f"the address of {member} that {number} knows", known and known.address, address)

    @phrase("{replicas} formed")
    def formed(self, replicas: list[int]) -> None:
        """They know the cluster as formed, with everyone's true incarnation."""
        truth = {number: replica.incarnation for number, replica in self.cluster.replicas.items()}
        for replica in replicas:
            known = {member.id: member.incarnation for member in self._raft(replica).configuration.members}
            self._same(f"incarnations that {replica} knows", known, truth)

    @phrase("{replicas} not formed")
    def not_formed(self, replicas: list[int]) -> None:
        """They do not."""
        self._each(replicas, "being formed", lambda raft: raft.configuration.formed, False)

    # ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────

    @phrase("{replicas} log {terms}", "{replicas} log nothing")
    def log(self, replicas: list[int], terms: list[int] | None = None) -> None:
        """The terms of the entries that they hold, without those that were compacted."""
        for replica in replicas:
            self._raft(replica)
            self._same(f"{replica}'s log", self.cluster[replica].terms, terms or [])

    @phrase("{replicas} same log")
    def same_log(self, replicas: list[int]) -> None:
        """They hold the same entries, after what any of them has compacted."""
        base = max(self._raft(replica).log.base_index for replica in replicas)
        first, *others = replicas
        for other in others:
            self._same(f"{other}'s log, {first}'s being other,", self._terms(other, base), self._terms(first, base))

    @phrase("{replicas} base {count}")
    def base(self, replicas: list[int], index: int) -> None:
        """The last index that their logs do not hold any more."""
        self._each(replicas, "base", lambda raft: raft.log.base_index, index)

    @phrase("{replicas} snapshot {count}")
    def snapshot(self, replicas: list[int], index: int) -> None:
        """Where their newest snapshot stands, as far as they know; 0 for none."""
        self._each(replicas, "newest snapshot", lambda raft: raft.snapshot.index if raft.snapshot else 0, index)

    @phrase("{replica} fetches nothing")
    def fetches_nothing(self, replica: int) -> None:
        """It is not told of a snapshot that it needs."""
        self._same(f"what {replica} fetches", self._fetched(replica), 0)

    @phrase("{replica} fetches {count}", "{replica} fetches {count} from {replica}")
    def fetches(self, replica: int, index: int, source: int = 0) -> None:
        """It needs the snapshot there, which this one has."""
        self._same(f"what {replica} fetches", self._fetched(replica), index)
        fetch = self.cluster[replica].fetch
        if fetch and source:
            self._same(f"from whom {replica} fetches", fetch.leader, source)

    @phrase("{replica} restores {count}", "{replica} restores nothing")
    def restores(self, replica: int, index: int = 0) -> None:
        """It has installed the snapshot there, which is not its state yet."""
        restoring = self.cluster[replica].restoring
        self._same(f"what {replica} restores", restoring.point.index if restoring else 0, index)

    @phrase("{replicas} commit {count}")
    def commit(self, replicas: list[int], index: int) -> None:
        """Their commit index."""
        self._each(replicas, "commit index", lambda raft: raft.commit_index, index)

    @phrase("{replicas} durable {count}")
    def durable(self, replicas: list[int], index: int) -> None:
        """How far their log is on their disk, as far as they know."""
        self._each(replicas, "durable index", lambda raft: raft.log.durable_index, index)

    @phrase("{replicas} applied nothing")
    def applied_nothing(self, replicas: list[int]) -> None:
        """No command, at any rate."""
        self.applied(replicas, [])

    @phrase("{replicas} applied {words}")
    def applied(self, replicas: list[int], commands: list[str]) -> None:
        """The commands that they have applied, in order; a past entry's is ``term.index``."""
        for replica in replicas:
            actual = [payload.decode() for payload in self.cluster[replica].payloads]
            self._same(f"what {replica} has applied", actual, commands)

    @phrase("{replicas} log time at least {time}")
    def log_time(self, replicas: list[int], seconds: float) -> None:
        """The cluster's own time, as far as they know it."""
        for replica in replicas:
            known = self._raft(replica).log_time.at(self.cluster.now) / 1000
            if known < seconds:
                raise NotAsExpected(f"{replica}'s log time is {known} s")

    @phrase("{replicas} due")
    def due(self, replicas: list[int]) -> None:
        """Their next timer has ended: a node would act on it now."""
        self._each(replicas, "timer having ended", lambda raft: raft.deadline() <= self.cluster.now, True)

    @phrase("{replicas} not due")
    def not_due(self, replicas: list[int]) -> None:
        """It has not."""
        self._each(replicas, "timer having ended", lambda raft: raft.deadline() <= self.cluster.now, False)

    @phrase("{replica} unsynced {count}")
    def unsynced(self, replica: int, count: int) -> None:
        """Its outstanding fsyncs."""
        self._same(f"the number of {replica}'s fsyncs", len(self.cluster[replica].unsynced), count)

    # ── what a leader knows ──────────────────────────────────────────────────────────────────────────────────

    @phrase("{replica} match {pairs}")
    def match(self, leader: int, match: dict[int, int]) -> None:
        """How far a leader knows its followers to match: ``follower:index``."""
        for follower, index in match.items():
            self._same(f"match index of {follower}", self._progress(leader, follower).match, index)

    @phrase("{replica} next {pairs}")
    def next(self, leader: int, next_index: dict[int, int]) -> None:
        """What a leader sends its followers next: ``follower:index``."""
        for follower, index in next_index.items():
            self._same(f"next index of {follower}", self._progress(leader, follower).next, index)

    @phrase("{replica} probes {replicas}")
    def probes(self, leader: int, followers: list[int]) -> None:
        """It does not know yet where their logs agree with its own."""
        for follower in followers:
            self._same(f"whether {follower} is probed", self._progress(leader, follower).probing, True)

    @phrase("{replica} pipelines {replicas}")
    def pipelines(self, leader: int, followers: list[int]) -> None:
        """It does, and sends entries as they come."""
        for follower in followers:
            self._same(f"whether {follower} is probed", self._progress(leader, follower).probing, False)

    @phrase("{replica} finds {replicas} behind")
    def finds_behind(self, leader: int, followers: list[int]) -> None:
        """Its log does not reach them any more: they need a snapshot."""
        base = self._raft(leader).log.base_index
        for follower in followers:
            self._same(f"whether {follower} is behind", self._progress(leader, follower).behind(base), True)

    @phrase("{replica} beat {count}")
    def beat(self, leader: int, beat: int) -> None:
        """The newest beat that it has sent."""
        self._same(f"{leader}'s beat", self._leader(leader).beat, beat)

    @phrase("{replica} confirmed {count}")
    def confirmed(self, leader: int, beat: int) -> None:
        """The newest beat that a majority has echoed."""
        self._same(f"{leader}'s confirmed beat", self._leader(leader).confirmed, beat)

    @phrase("{replica} takes {replica} for dead")
    def takes_for_dead(self, follower: int, leader: int) -> None:
        """It follows this one and does not stick to it."""
        self._same(f"whom {follower} takes for dead", self._leader_taken_for_dead(follower), leader)

    @phrase("{replica} takes nobody for dead")
    def takes_nobody_for_dead(self, follower: int) -> None:
        """Its leader is alive, as far as it knows."""
        self._same(f"whom {follower} takes for dead", self._leader_taken_for_dead(follower), 0)

    @phrase("{replica} dials {replica}")
    def dials(self, replica: int, peer: int) -> None:
        """It has wanted to see for itself whether this one's process is gone."""
        if peer not in self.cluster[replica].dials:
            raise NotAsExpected(f"{replica} has dialled {self.cluster[replica].dials or 'nobody'}")

    # ── messages and reads ───────────────────────────────────────────────────────────────────────────────────

    @phrase("nothing sent")
    def nothing_sent(self) -> None:
        """Nothing at all is on its way."""
        if self.cluster.network.on_its_way:
            raise NotAsExpected("something is on its way")

    @phrase("sent {messages}")
    def sent(self, wanted: Pattern) -> None:
        """Such a message is on its way."""
        if len(wanted.among(self.cluster.network.on_its_way)) < wanted.ordinal:
            raise NotAsExpected("no such message is on its way")

    @phrase("not sent {messages}")
    def not_sent(self, wanted: Pattern) -> None:
        """No such message is on its way."""
        if len(wanted.among(self.cluster.network.on_its_way)) >= wanted.ordinal:
            raise NotAsExpected("such a message is on its way")

    @phrase("read {word} confirmed at {count}")
    def read_confirmed_at(self, name: str, index: int) -> None:
        """It may be answered once this index is applied."""
        self._same(f"how read {name} ended", self._outcome(name), f"confirmed at {index}")

    @phrase("read {word} confirmed")
    def read_confirmed(self, name: str) -> None:
        """It may be answered, at whatever index."""
        self._same(f"how read {name} ended", self._outcome(name).split()[0], "confirmed")

    @phrase("read {word} refused {word}")
    def read_refused(self, name: str, error: str) -> None:
        """Nothing was read, by this error of ``oarlock.errors``."""
        self._same(f"how read {name} ended", self._outcome(name), f"refused {error}")

    @phrase("read {word} waiting")
    def read_waiting(self, name: str) -> None:
        """It has not ended."""
        self._same(f"how read {name} ended", self._outcome(name), "waiting")

    # ── the machinery below the vocabulary ───────────────────────────────────────────────────────────────────

    def _same(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            raise NotAsExpected(f"{what} is {actual}, not {expected}")

    def _each(self, replicas: list[int], what: str, value_of: Callable[[Raft], object], expected: object) -> None:
        for replica in replicas:
            self._same(f"{replica}'s {what}", value_of(self._raft(replica)), expected)

    def _fetched(self, replica: int) -> int:
        fetch = self.cluster[replica].fetch
        return fetch.index if fetch else 0

    def _terms(self, replica: int, base: int) -> list[int]:
        log = self._raft(replica).log
        return [entry.term for entry in log.between(base + 1, log.last_index)]

    def _raft(self, replica: int) -> Raft:
        if not self.cluster[replica].running:
            raise CannotBeDone(f"{replica} is not running")
        return self.cluster[replica].raft

    def _leader(self, replica: int) -> Leader:
        role = self._raft(replica).role
        if not isinstance(role, Leader):
            raise NotAsExpected(f"{replica} does not lead")
        return role

    def _progress(self, leader: int, follower: int) -> Progress:
        return self._leader(leader).progress[ReplicaId(follower)]

    def _leader_taken_for_dead(self, follower: int) -> int:
        role = self._raft(follower).role
        return role.leader if isinstance(role, Follower) and role.leader_dead else 0

    def _outcome(self, name: str) -> str:
        if name not in self.reads:
            raise CannotBeDone(f"no read is named {name!r}")
        read = self.reads[name]
        if read.waiting:
            return "waiting"
        return (
            f"confirmed at {read.outcome}" if isinstance(read.outcome, int) else f"refused {type(read.error).__name__}"
        )
