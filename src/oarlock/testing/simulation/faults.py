"""The table of faults, and schedules of them.

A schedule is drawn from the seed before the run begins, and is plain data: so a run can be told as a story, and a
failing one be shrunk by leaving faults out. To add a fault, write a function that begins it and returns what ends it,
and put it into the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from oarlock.storage.identity import LOG_NAME
from oarlock.testing.simulation import operators
from oarlock.testing.simulation.host import DIRECTORY, Host
from oarlock.testing.simulation.network import Path

if TYPE_CHECKING:
    from oarlock.testing.simulation.cluster import Cluster

End: TypeAlias = Callable[[], None]


class Fault(msgspec.Struct, frozen=True):
    """One fault of a schedule."""

    at_s: float
    kind: str
    lasts_s: float
    draw: int
    """The seed of what it decides for itself: whom it hits, and how hard."""

    def __str__(self) -> str:
        return f"{self.at_s:8.3f} s  {self.kind}, for {self.lasts_s:.3f} s (draw {self.draw})"


class Profile(msgspec.Struct, frozen=True):
    """What to expect of a run."""

    rates: Mapping[str, float]
    """How often each kind begins in a minute, about."""
    lasts_s: tuple[float, float] = (0.05, 8.0)
    """From, to; short ones are as likely as long ones."""


def schedule(profile: Profile, random: Random, until_s: float) -> list[Fault]:
    """Draw the faults of a run. Each seed has moods: some kinds are frequent in it and some do not come at all."""
    faults = []
    for kind, rate in profile.rates.items():
        rate *= random.choice((0, 0.5, 1, 1, 2))
        at_s = random.uniform(0, 2)
        while rate and (at_s := at_s + random.expovariate(rate / 60)) < until_s:
            low, high = profile.lasts_s
            lasts_s = min(low * (high / low) ** random.random(), until_s - at_s)
            faults.append(Fault(at_s, kind, lasts_s, random.getrandbits(32)))
    return sorted(faults, key=lambda fault: fault.at_s)


def changes_members(schedule: Sequence[Fault]) -> bool:
    """Whether operators change the members."""
    return any(fault.kind in _MEMBERS for fault in schedule)


def begin(cluster: Cluster, fault: Fault) -> None:
    """Let it begin, and see to its end."""
    random = Random(fault.draw)
    if fault.kind in _NETWORK and len(cluster.hosts) < 2:
        return
    end = KINDS[fault.kind](cluster, random)
    if end is None:
        return  # it found nobody to hit
    cluster.bite(fault.kind)

    def over() -> None:
        cluster.tell(f"over: {fault.kind}")
        end()

    cluster.loop.after(fault.lasts_s, over)


# Whom to hit


def _leader_or_any(cluster: Cluster, random: Random) -> Host | None:
    """A host whose replica runs: the leader's half the time."""
    running = [host for host in cluster.hosts if host.running]
    leader = cluster.leader()
    if leader is not None and random.random() < 0.5:
        return leader
    return random.choice(running) if running else None


def _paths(ones: Sequence[Host], others: Sequence[Host]) -> list[Path]:
    return [(one.address, other.address) for one in ones for other in others if one is not other]


def _nothing() -> None:
    pass


# The network


def _partition(cluster: Cluster, random: Random) -> End:
    hosts = list(cluster.hosts)
    random.shuffle(hosts)
    size = random.randint(1, len(hosts) - 1)
    return _cut(cluster, hosts[:size], hosts[size:])


def _partial_partition(cluster: Cluster, random: Random) -> End:
    one, other = random.sample(cluster.hosts, 2)
    return _cut(cluster, [one], [other])


def _one_way_partition(cluster: Cluster, random: Random) -> End:
    one = _leader_or_any(cluster, random) or cluster.hosts[0]
    others = [host for host in cluster.hosts if host is not one]
    others = random.sample(others, random.randint(1, len(others)))
    here, there = ([one], others) if random.random() < 0.5 else (others, [one])
    return _cut(cluster, here, there, one_way=True)


def _isolate_leader(cluster: Cluster, random: Random) -> End | None:
    leader = cluster.leader()
    if leader is None:
        return None
    return _cut(cluster, [leader], [host for host in cluster.hosts if host is not leader])


def _cut(cluster: Cluster, ones: Sequence[Host], others: Sequence[Host], one_way: bool = False) -> End:
    cluster.tell(f"cut: {_ids(ones)} {'→' if one_way else '↔'} {_ids(others)}")
    paths = _paths(ones, others) + ([] if one_way else _paths(others, ones))
    cluster.wires.cut(paths)
    return lambda: cluster.wires.heal(paths)


def _ids(hosts: Sequence[Host]) -> str:
    return ", ".join(str(host.id) for host in sorted(hosts, key=lambda host: host.id))


def _clog(cluster: Cluster, random: Random) -> End:
    one, other = random.sample(cluster.hosts, 2)
    one_way = random.random() < 0.5
    paths = _paths([one], [other]) if one_way else _paths([one, other], [one, other])
    extra_s = random.choice((0.005, 0.05, 0.3, 1.5))
    cluster.tell(f"clogged by {extra_s:g} s: {one.id} {'→' if one_way else '↔'} {other.id}")
    return _trouble(cluster, paths, "extra_s", extra_s)


def _bad_link(kind: str) -> Callable[[Cluster, Random], End]:
    def fault(cluster: Cluster, random: Random) -> End:
        hosts = random.sample(cluster.hosts, random.randint(2, len(cluster.hosts)))
        paths, rate = _paths(hosts, hosts), random.choice((0.02, 0.1, 0.4))
        cluster.tell(f"{kind} of {rate:.0%} of the frames between {_ids(hosts)}")
        return _trouble(cluster, paths, kind, rate)

    return fault


def _trouble(cluster: Cluster, paths: Sequence[Path], kind: str, strength: float) -> End:
    for path in paths:
        cluster.wires.conditions(path).bring(kind, strength)

    def end() -> None:
        for path in paths:
            cluster.wires.conditions(path).take_back(kind, strength)

    return end


# Processes


def _kill(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    host.crash()
    return host.start


def _kill_all(cluster: Cluster, random: Random) -> End:
    for host in cluster.hosts:
        host.crash()

    def end() -> None:
        for host in cluster.hosts:
            host.start()

    return end


def _stop(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None or host.node is None or host.paused:
        return None
    host.stop()
    return _nothing


def _pause(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None or host.paused:
        return None
    host.pause()
    return host.resume


def _slow_replica(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None or host.process is None:
        return None
    process = host.process
    process.slowness = random.choice((5.0, 50.0, 500.0))
    cluster.tell(f"replica {host.id} is {process.slowness:g} times slower")

    def end() -> None:
        process.slowness = 1.0

    return end


# Power and disks


def _power_loss(cluster: Cluster, random: Random) -> End | None:
    return _powerless(cluster, [host for host in [_leader_or_any(cluster, random)] if host is not None])


def _power_loss_of_some(cluster: Cluster, random: Random) -> End | None:
    return _powerless(cluster, random.sample(cluster.hosts, random.randint(1, len(cluster.hosts))))


def _power_loss_of_all(cluster: Cluster, random: Random) -> End | None:
    return _powerless(cluster, list(cluster.hosts))


def _power_loss_in_operation(cluster: Cluster, random: Random) -> End | None:
    """The moments at which power matters most are short, and hardly ever met by chance."""
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    operation = random.choice(("write", "sync", "preallocate", "rename", "create", "sync_directory"))
    host.disk.troubles.power_fails_in = operation
    cluster.tell(f"replica {host.id} loses power in its next {operation}")

    def end() -> None:
        host.disk.troubles.power_fails_in = ""
        host.restore_power()

    return end


def _powerless(cluster: Cluster, hosts: list[Host]) -> End | None:
    hosts = [host for host in hosts if host.powered]
    for host in hosts:
        host.lose_power()
    if not hosts:
        return None

    def end() -> None:
        for host in hosts:
            host.restore_power()

    return end


def _disk_stall(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    disk = host.disk
    disk.troubles.stalled = True
    host.disk_failed = True
    cluster.tell(f"the disk of replica {host.id} stalls")
    return disk.release


def _slow_disk(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    disk = host.disk
    disk.troubles.slowness = random.choice((10.0, 100.0))
    cluster.tell(f"the disk of replica {host.id} is {disk.troubles.slowness:g} times slower")

    def end() -> None:
        host.disk.troubles.slowness = disk.troubles.slowness = 1.0

    return end


def _disk_error(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    disk = host.disk
    disk.troubles.failing, disk.troubles.failing_in = True, (random.choice(("write", "sync")),)
    host.disk_failed = True
    cluster.tell(f"the next write or sync of replica {host.id} fails")

    def end() -> None:
        disk.troubles.failing = False

    return end


def _disk_full(cluster: Cluster, random: Random) -> End | None:
    host = _leader_or_any(cluster, random)
    if host is None:
        return None
    used = sum(len(host.disk.contents(path)) for path in host.disk.paths())
    left = random.choice((0, 4096, 300 * 1024))
    host.disk.capacity_bytes = used + left
    host.disk_failed = True
    cluster.tell(f"the disk of replica {host.id} has {left} bytes left")

    def end() -> None:
        host.disk.capacity_bytes = None

    return end


def _damage(cluster: Cluster, random: Random) -> End | None:
    """A sector goes bad. Only ever on a minority: a majority's disks are what durability is made of; and not before
    the cluster has formed, which takes all of its replicas."""
    if len(cluster.safety.committed) < 2:
        return None
    damaged = [host for host in cluster.hosts if host.damaged]
    if len(cluster.bad_disks()) < (1 if cluster.members_change else (len(cluster.hosts) - 1) // 2):
        damaged.append(random.choice([host for host in cluster.hosts if not host.damaged]))
    if not damaged:
        return None
    host = random.choice(damaged)
    files = [path for path in host.disk.paths() if path.startswith(f"{DIRECTORY}/{LOG_NAME}/")]
    newest = max((path for path in files if path.endswith(".wal")), default="")
    path = newest if newest and random.random() < 0.5 else random.choice(files or [""])
    if not path or not host.disk.misdirect(path, random):
        return None
    host.damaged = True
    cluster.tell(f"a sector of replica {host.id} is damaged")
    if random.random() < 0.7:
        host.crash()  # else nobody would look at it
    return host.start


def _damage_snapshot(cluster: Cluster, random: Random) -> End | None:
    """The newest snapshot of a replica goes bad: it has another, and must start from that, whoever else is in trouble.
    Not one that its log begins after."""
    hosts = [host for host in cluster.hosts if host.node is not None and _may_fall_back(host)]
    if not hosts:
        return None
    host = random.choice(hosts)
    assert host.node is not None and host.node._snapshots.newest is not None
    if not host.disk.misdirect(host.node._snapshots.newest.path, random):
        return None
    cluster.tell(f"the newest snapshot of replica {host.id} is damaged")
    host.crash()
    return host.start


def _may_fall_back(host: Host) -> bool:
    assert host.node is not None
    every, oldest = host.node._snapshots._store.all, host.node._wal._segments[0]
    return len(every) > 1 and oldest.first_index <= every[1].header.point.index + 1


# Clocks and clients


def _drift(cluster: Cluster, random: Random) -> End:
    host = random.choice(cluster.hosts)
    rate = random.choice((0.9, 0.99, 1.01, 1.1))
    host.clock.set_rate(rate)
    cluster.tell(f"the clock of replica {host.id} goes {rate} seconds a second")
    return lambda: host.clock.set_rate(1.0)


def _clock_jump(cluster: Cluster, random: Random) -> End:
    host = random.choice(cluster.hosts)
    seconds = random.choice((0.2, 1.0, 5.0))
    host.clock.jump(seconds)
    cluster.tell(f"the clock of replica {host.id} jumps ahead by {seconds:g} s")
    return _nothing


def _wall_jump(cluster: Cluster, random: Random) -> End:
    host = random.choice(cluster.hosts)
    host.clock.wall_offset_ms += random.choice((-(10**12), -3600_000, 3600_000, 10**12))
    cluster.tell(f"the time of day of replica {host.id} jumps")
    return _nothing


# Operators


def _operation(ask: Callable[[Cluster, Random], bool]) -> Callable[[Cluster, Random], End | None]:
    return lambda cluster, random: _nothing if ask(cluster, random) else None


def _burst(cluster: Cluster, random: Random) -> End:
    clients = cluster.more_clients(random.randint(5, 20))
    cluster.tell(f"{len(clients)} more clients")

    def end() -> None:
        for client in clients:
            client.stopping = True

    return end


KINDS: dict[str, Callable[[Cluster, Random], End | None]] = {
    "partition": _partition,
    "partial partition": _partial_partition,
    "one-way partition": _one_way_partition,
    "isolated leader": _isolate_leader,
    "clogged link": _clog,
    "lost frames": _bad_link("loss"),
    "repeated frames": _bad_link("repetition"),
    "overtaking frames": _bad_link("overtaking"),
    "spoilt frames": _bad_link("spoiling"),
    "kill": _kill,
    "kill of all": _kill_all,
    "clean stop": _stop,
    "pause": _pause,
    "slow replica": _slow_replica,
    "power loss": _power_loss,
    "power loss of some": _power_loss_of_some,
    "power loss of all": _power_loss_of_all,
    "power loss in an operation": _power_loss_in_operation,
    "disk stall": _disk_stall,
    "slow disk": _slow_disk,
    "disk error": _disk_error,
    "full disk": _disk_full,
    "damaged sector": _damage,
    "damaged snapshot": _damage_snapshot,
    "drifting clock": _drift,
    "jump of the clock": _clock_jump,
    "jump of the time of day": _wall_jump,
    "burst of clients": _burst,
    "snapshot": _operation(operators.snapshot),
    "hand-over": _operation(operators.transfer),
    "added replica": _operation(operators.add),
    "removed replica": _operation(operators.remove),
    "replaced replica": _operation(operators.replace),
    "empty disk": _operation(operators.rejoin),
}

_NETWORK = {
    "partition": 8, "partial partition": 5, "one-way partition": 6, "isolated leader": 8, "clogged link": 10,
    "lost frames": 6, "repeated frames": 6, "overtaking frames": 6, "spoilt frames": 4,
}  # fmt: skip
_PROCESSES = {"kill": 10, "kill of all": 1, "clean stop": 5, "pause": 8, "slow replica": 5, "burst of clients": 3}
_STORAGE = {
    "power loss": 8, "power loss of some": 4, "power loss of all": 3, "power loss in an operation": 6, "disk stall": 6,
    "slow disk": 4, "disk error": 4,
    "full disk": 4, "damaged sector": 3, "kill": 6, "damaged snapshot": 4,
}  # fmt: skip
_MEMBERS = {"added replica": 8, "removed replica": 6, "replaced replica": 8, "empty disk": 6}
_OPERATORS = {"snapshot": 6, "hand-over": 4, **_MEMBERS}
_CLOCKS = {
    "drifting clock": 10, "jump of the clock": 4, "jump of the time of day": 6, "pause": 6, "kill": 4,
    "isolated leader": 5,
}  # fmt: skip

PROFILES: dict[str, Profile] = {
    "calm": Profile({"burst of clients": 4}),
    "network": Profile(_NETWORK),
    "process": Profile({**_PROCESSES, "clogged link": 2}),
    "storage": Profile(_STORAGE),
    "clocks": Profile(_CLOCKS),
    "members": Profile({**_OPERATORS, "kill": 6, "isolated leader": 4, "partition": 3, "power loss": 3, "pause": 3}),
    "mixed": Profile(
        {kind: 0.5 * rate for kind, rate in {**_OPERATORS, **_CLOCKS, **_STORAGE, **_PROCESSES, **_NETWORK}.items()}
    ),
}
"""By name. ``mixed`` has a little of everything."""
