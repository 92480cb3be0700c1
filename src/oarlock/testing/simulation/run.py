"""One run: a cluster, its faults, its end in peace, and the verdict.

First the safety phase: faults come as scheduled while clients go on. Then everything is healed, and within bounded
virtual time there must be one leader, every call must have its end, and all replicas the same state. A run that did
little proves little, and fails as vacuous.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import msgspec

from oarlock.core.quorum import VoteResult, count_votes
from oarlock.testing.simulation import faults
from oarlock.testing.simulation.cluster import Cluster
from oarlock.testing.simulation.faults import PROFILES, Fault
from oarlock.testing.simulation.loop import Livelock
from oarlock.testing.simulation.subject import Subject
from oarlock.testing.simulation.trace import StoryOfLogs, Trace

PEACE_S = 3.0
"""How long clients go on after everything is healed."""
UNDISTURBED_S = 1.5
"""How long after everything is healed every replica that runs serves: what is asked from then on is done."""
CONVERGENCE_S = 40.0
"""By when, after that, all must have come to rest."""
LEAST_CALLS_A_SECOND = 1.25
"""Acknowledged calls below which a run proves too little."""


class Plan(msgspec.Struct, frozen=True):
    """What a run is made of. Everything else follows from the seed."""

    seed: int
    profile: str = "mixed"
    replicas: int = 3
    seconds: float = 20.0
    """Virtual, of the safety phase."""
    clients: int = 5
    faults: Sequence[Fault] | None = None
    """In place of those that the seed would draw: for replaying a part of them."""


class Verdict(msgspec.Struct):
    """What became of a run."""

    seed: int
    profile: str
    replicas: int
    ok: bool
    violations: list[str]
    vacuous: str
    """Why the run proves too little; empty if it does not."""
    trace_hash: str
    operations: int
    """Acknowledged calls, reads among them."""
    unknown: int
    refused: int
    reads_verified: int
    elections: int
    faults: dict[str, int]
    """How often each kind bit."""
    virtual_seconds: float
    cpu_seconds: float
    schedule: list[Fault] = []
    story: list[str] = []


def planned_faults(plan: Plan) -> list[Fault]:
    """The schedule that the seed draws."""
    return faults.schedule(PROFILES[plan.profile], Random(f"faults {plan.seed}"), plan.seconds)


def run(plan: Plan, subject: Subject | None = None, *, trace: Trace | None = None) -> Verdict:
    """Carry out one run, of the key-value store if nothing else is given. The same plan gives the same verdict and the
    same trace hash, in any process. ``trace`` is a fresh one, to be kept even should the run break off."""
    began = time.process_time()  # only reported
    trace = trace or Trace()
    cluster = Cluster(subject or _key_value_store(), plan.replicas, Random(plan.seed), trace)
    schedule = planned_faults(plan) if plan.faults is None else list(plan.faults)
    try:
        with _logs_in(cluster):
            _live_through(cluster, plan, schedule)
        if not cluster.violations:
            _judge(cluster, plan.seconds + UNDISTURBED_S)
    finally:
        virtual_s = cluster.loop.now
        cluster.loop.end()
    return _verdict(plan, cluster, schedule, virtual_s, time.process_time() - began)


def _live_through(cluster: Cluster, plan: Plan, schedule: Sequence[Fault]) -> None:
    cluster.members_change = faults.changes_members(schedule)
    for fault in schedule:
        cluster.loop.at(fault.at_s, faults.begin, cluster, fault)
    try:
        cluster.start(plan.clients)
        cluster.loop.run(plan.seconds, lambda: cluster.violations)
        if not cluster.violations:
            _heal(cluster)
            _come_to_rest(cluster, plan.seconds)
        if not cluster.violations:
            _start_again(cluster)
    except Livelock as error:
        cluster.violated(str(error))


def _key_value_store() -> Subject:
    from oarlock.testing.simulation.keyvalue import KeyValueStore  # which needs what servers need; others do not

    return KeyValueStore()


@contextmanager
def _logs_in(cluster: Cluster) -> Iterator[None]:
    """What replicas log goes into the story instead of where logs go."""
    logger = logging.getLogger("oarlock")
    before = (logger.handlers, logger.level, logger.propagate)
    logger.handlers, logger.propagate = [StoryOfLogs(cluster.loop)], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[0], before[2]
        logger.setLevel(before[1])


def _heal(cluster: Cluster) -> None:
    """Faults have ended by now; what they left behind is put in order as operators would."""
    cluster.tell("peace")
    for host in cluster.hosts:
        host.disk.release()
        host.restore_power()
        host.resume()
        host.start()


def _come_to_rest(cluster: Cluster, ended_s: float) -> None:
    loop = cluster.loop
    loop.run(ended_s + PEACE_S, lambda: cluster.violations)
    for client in cluster.clients:
        client.stopping = True
    _await_rest(cluster, "peace")


def _start_again(cluster: Cluster) -> None:
    """A log that was written wrong shows when it is read: everybody is killed, and must come back as he was."""
    cluster.tell("everybody starts again")
    for host in cluster.hosts:
        host.crash()
    for host in cluster.hosts:
        host.start()
    _await_rest(cluster, "everybody started again")


def _await_rest(cluster: Cluster, after: str) -> None:
    loop = cluster.loop
    until = loop.now + CONVERGENCE_S
    calm_since: float | None = None
    while loop.now < until and not cluster.violations:
        loop.run(loop.now + 0.1, lambda: cluster.violations)
        unrest = _unrest(cluster)
        if unrest:
            calm_since = None
        elif calm_since is None:
            calm_since = loop.now
        elif loop.now - calm_since > 1.0:
            return
    if not cluster.violations:
        cluster.violated(f"not at rest {CONVERGENCE_S:g} s after {after}: {_unrest(cluster)}")


def _unrest(cluster: Cluster) -> str:
    """What is still to come to rest."""
    for client in cluster.clients:
        if not client.done:
            return f"{client.name} waits for an answer"
    members = cluster.members()
    hosts = [host for host in members if not host.broken]
    if not hosts:
        return "nobody can start"
    down = [host.id for host in hosts if host.node is None]
    if down:
        return f"replicas {down} are not up"
    nodes = [host.node for host in hosts if host.node is not None]
    if count_votes(nodes[0].configuration(), {node.id: True for node in nodes}) is not VoteResult.WON:
        return "no majority can start"
    leaders = {node._raft.leader for node in nodes}
    if len(leaders) > 1 or 0 in leaders:
        return f"the replicas follow {sorted(leaders)}"
    places = {(node._raft.log.last_index, node._raft.commit_index, node._raft.applied_index) for node in nodes}
    if len(places) > 1 or len(set(next(iter(places)))) > 1:
        return f"the replicas are at (last, commit, applied) {sorted(places)}"
    # The leader alone acts on it. One that was restored from a snapshot does not know every time that came to nothing.
    waits = any(node._raft.leader == node.id and node._applier.next_due_ms is not None for node in nodes)
    return "the machine of the leader waits for a time" if waits else ""


def _judge(cluster: Cluster, undisturbed_s: float) -> None:
    """Everything that is judged at the end."""
    members = cluster.members()
    digests = [cluster.digest_now(host) for host in members if host.node is not None]
    if any(digest != digests[0] for digest in digests):
        cluster.violated("the replicas are at the same index, and their states differ")
    cluster.loop.look_for_dead_tasks()
    for trouble in cluster.loop.troubles:
        cluster.violated(trouble)
    for client in cluster.clients:
        for complaint in client.complaints:
            cluster.violated(complaint)
    strangers = [host.id for host in cluster.hosts if host not in members]
    for call in cluster.record.calls:
        if call.replica in strangers:
            continue  # of whoever is no member nothing can be expected
        # A client that gave up was told nothing.
        if call.outcome in ("failed", "unknown") and call.invoked_s > undisturbed_s and _is_excuse(call.result):
            cluster.violated(f"refused in peace: {call} at {call.invoked_s:.3f} s was told {call.result!r:.100}")
            break
    for problem in (*cluster.history.violations(), *cluster.subject.judge(cluster)):
        cluster.violated(problem)


def _is_excuse(result: object) -> bool:
    """Whether it is an error of the replica's. One that was asked to stop says so to the last."""
    said = str(result).lower()
    return result is not None and not any(word in said for word in ("shutting", "stopped", "execabort"))


def _verdict(plan: Plan, cluster: Cluster, schedule: list[Fault], virtual_s: float, cpu_s: float) -> Verdict:
    record = cluster.record
    operations = record.count("ok")
    bitten = dict(sorted(cluster.wires.bitten.items()))
    vacuous = ""
    if operations < LEAST_CALLS_A_SECOND * plan.seconds:
        vacuous = f"only {operations} calls were acknowledged in {plan.seconds:g} s"
    elif schedule and not bitten:
        vacuous = "no fault hit anything"
    return Verdict(
        seed=plan.seed,
        profile=plan.profile,
        replicas=plan.replicas,
        ok=not cluster.violations and not vacuous,
        violations=cluster.violations,
        vacuous=vacuous,
        trace_hash=cluster.trace.hash,
        operations=operations,
        unknown=record.count("unknown"),
        refused=record.count("failed"),
        reads_verified=sum(call.is_read and call.outcome == "ok" for call in record.calls),
        elections=len(cluster.safety.leaderships),
        faults=bitten,
        virtual_seconds=virtual_s,
        cpu_seconds=cpu_s,
        schedule=schedule,
        story=cluster.trace.lines or [],
    )
