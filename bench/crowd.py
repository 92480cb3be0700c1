"""``make bench-crowd``: what one replica takes from ten thousand idle clients, and from clients that nobody wants.

Each kind of ``rough_clients.py`` comes to the leader of three replicas by itself, and then all come at once, while
redis-benchmark, a client that pings and a client that checks what it wrote are at the same replica. Exits with 1 and a
sentence when memory goes beyond its bound, the event loop is away too long, or an answer is wrong. When the leader
changes it says so, and goes on with the next: on a busy machine that may have other reasons.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import redis
from load import KEYS, Measurement, fill, measure, redis_benchmark, verify
from rough_clients import KIB, KIB_KEY, READ_BYTES, READ_KEY
from servers import RedisServer, cluster, require
from vitals import PING, PONG, Pinger, Witness, forget_peak, peak_bytes, resident_bytes

from oarlock.server.redis.server import MOST_CLIENTS

MIB = 1024 * 1024
ROUGH = Path(__file__).with_name("rough_clients.py")


class Kind(NamedTuple):
    """One kind of rough clients: how many come, and what each may cost the replica in memory while it is there."""

    clients: int
    most_bytes: int


KINDS: dict[str, Kind] = {
    "idle": Kind(MOST_CLIENTS - 500, 8 * 1024),
    "half-open": Kind(100, 96 * 1024),  # half of 64 KiB, and the piece of it that came last
    "half-of-the-largest": Kind(20, 10 * MIB),  # 8 MiB in a buffer that grows
    "slow-reader": Kind(100, MIB + MIB // 4),  # 256 KiB that the transport may hold, a chunk, and a value
    "slow-writer": Kind(100, 16 * 1024),
    "million-reads": Kind(1, 32 * MIB),  # 16 MiB read and not answered, as the server reckons it
    "million-writes": Kind(1, 32 * MIB),
    "local-storm": Kind(1, 32 * MIB),
    "largest-unlogged": Kind(1, 48 * MIB),  # 8 MiB as it comes, as an argument, as a reply, and as it goes
    "largest-write": Kind(1, 96 * MIB),  # and as an entry, and as frames for the log and for two followers
    "too-large": Kind(1, 16 * MIB),
    "vanishing": Kind(1, 16 * MIB),
}
SLACK_BYTES = 48 * MIB
"""For the allocator, redis-benchmark, and the two well-behaved clients."""
KEPT_BYTES = 160 * MIB
"""What may be left when everyone has gone, besides the log: the allocator gives pages back only where all is free."""
LOG_FACTOR = 1.5
LOGGED_PER_SET_BYTES = 150
"""The log is kept in memory: what a SET of redis-benchmark leaves there, with its share of an entry."""
MOST_AWAY_S = 1.0
"""How long the event loop may be away, unless the program is told otherwise: a follower that hears nothing for longer
may call an election."""

FULL = {("SET", 1): 10_000, ("GET", 1): 20_000, ("SET", 16): 50_000, ("GET", 16): 100_000}
SHORT = {("SET", 1): 5_000, ("GET", 16): 50_000}
CROWDED = {("SET", 1): 2_000, ("GET", 1): 4_000, ("SET", 16): 20_000, ("GET", 16): 40_000}
"""Requests of redis-benchmark, by command and pipeline."""

Workloads = Mapping[tuple[str, int], int]


@dataclass
class Phase:
    """What was seen while some kinds of clients were there."""

    name: str
    kinds: dict[str, Kind]
    before: list[int] = field(default_factory=list)
    """Resident bytes by replica, the leader first; so are ``peak`` and ``after``."""
    peak: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    loads: dict[tuple[str, int], Measurement] = field(default_factory=dict)
    pings_s: list[float] = field(default_factory=list)
    checks_s: list[float] = field(default_factory=list)
    connections: int = 0
    logged_bytes: int = 0
    elections: int = 0
    """Terms that began: none, unless the machine is too busy."""
    did: dict[str, dict[str, int]] = field(default_factory=dict)


class Crowd:
    """The replica under study, and everything that is done to it."""

    def __init__(self, directory: Path, server: RedisServer, most_away_s: float) -> None:
        self.most_away_s = most_away_s
        self._directory = directory
        self._replicas: list[dict[str, Any]] = json.loads((directory / "cluster.json").read_text())["replicas"]
        self.pids: list[int] = [replica["pid"] for replica in self._replicas]
        self.server = server
        self._go_to_the_leader(server.port)
        fill(self.server)
        with self.server.client() as client:
            client.mset({READ_KEY: b"x" * READ_BYTES, KIB_KEY: b"x" * KIB})
            self._term = dict(client.info("raft"))["term"]

    def _go_to_the_leader(self, port: int) -> None:
        """The replica that leads now is the one under study, and stays it until the next phase."""
        replicas = sorted(self._replicas, key=lambda replica: not replica["redis"].endswith(f":{port}"))
        self.pids = [replica["pid"] for replica in replicas]
        self.server = RedisServer("oarlock", self.pids, lambda: port)

    def phase(self, name: str, kinds: dict[str, Kind], workloads: Workloads) -> Phase:
        """Let the kinds come, put the load on, let them go, and check all bounds."""
        said(f"{name}: {sum(kind.clients for kind in kinds.values()):,} rough clients come")
        seen = Phase(name, kinds, before=[resident_bytes(pid) for pid in self.pids])
        for pid in self.pids:
            forget_peak(pid)
        pinger, witness = Pinger(self.server.port), Witness(self.server.port)
        with ExitStack() as there:
            for kind, (count, _) in kinds.items():
                there.enter_context(self._rough(kind, count, seen))
            for (command, pipeline), requests in workloads.items():
                said(f"{name}: {command} -P {pipeline}")
                load = measure(self.server, partial(redis_benchmark, self.server, command, pipeline, requests))
                seen.loads[command, pipeline] = load
                seen.logged_bytes += requests * LOGGED_PER_SET_BYTES if command == "SET" else 0
            with self.server.client() as client:
                seen.connections = dict(client.info("clients"))["connected_clients"]
            if list(kinds) == ["idle"]:
                self._fill_the_house()
            said(f"{name}: they go")
        seen.pings_s, seen.checks_s = pinger.leave(), witness.leave()
        self._until_gone()
        seen.peak = [peak_bytes(pid) for pid in self.pids]
        seen.after = [resident_bytes(pid) for pid in self.pids]
        self._check(seen)
        return seen

    @contextmanager
    def _rough(self, kind: str, count: int, seen: Phase) -> Iterator[None]:
        command = [sys.executable, str(ROUGH), str(self.server.port), kind, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                if process.stdout.readline() != "ready\n":
                    sys.exit(f"the clients of kind {kind} did not get in")
                yield
                did, _ = process.communicate(timeout=120)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            sys.exit(f"the clients of kind {kind} say that something was wrong")
        seen.did[kind] = json.loads(did)
        seen.logged_bytes += seen.did[kind].pop("logged_bytes")

    def _fill_the_house(self) -> None:
        """Come until one is turned away, which must be the one beyond :data:`MOST_CLIENTS`."""
        with ExitStack() as there, self.server.client() as client:
            present = dict(client.info("clients"))["connected_clients"]
            while True:
                guest = there.enter_context(socket.create_connection(("127.0.0.1", self.server.port), timeout=30))
                guest.sendall(PING)
                answer = guest.recv(100)
                if answer != PONG:
                    break
                present += 1
            if answer != b"-ERR max number of clients reached\r\n" or present != MOST_CLIENTS:
                sys.exit(f"client {present + 1:,} was answered {answer!r}; {MOST_CLIENTS:,} should have been served")

    def _until_gone(self) -> None:
        """Wait until the replica has seen everyone go, and a fresh client is served."""
        deadline = time.monotonic() + 30
        with self.server.client() as client:
            while dict(client.info("clients"))["connected_clients"] > 1:
                if time.monotonic() > deadline:
                    sys.exit("connections are left half a minute after their clients have gone")
                time.sleep(0.05)
            if client.get(KIB_KEY) != b"x" * KIB:
                sys.exit("a fresh client got a wrong answer")

    def _check(self, seen: Phase) -> None:
        may_rise = sum(count * most_bytes for count, most_bytes in seen.kinds.values())
        for replica, (before, peak) in enumerate(zip(seen.before, seen.peak, strict=True)):
            bound = SLACK_BYTES + int(LOG_FACTOR * seen.logged_bytes) + (may_rise if replica == 0 else 96 * MIB)
            if peak - before > bound:
                sys.exit(f"{seen.name}: memory rose by {mib(peak - before)}, more than the bound of {mib(bound)}")
        if seen.pings_s[-1] > self.most_away_s:
            sys.exit(f"{seen.name}: a PING waited {seen.pings_s[-1]:.2f} s, more than {self.most_away_s} s")
        self._note_the_leader(seen)

    def _note_the_leader(self, seen: Phase) -> None:
        with self.server.client() as client:
            raft = dict(client.info("raft"))
        if raft["term"] == self._term and raft["role"] == "leader":
            return
        seen.elections = raft["term"] - self._term
        self._term = raft["term"]
        self._go_to_the_leader(int(raft["leader_redis"].rpartition(":")[2]))
        said(f"{seen.name}: the leader changed; the logs of the replicas end with")
        for log in sorted((self._directory / "logs").iterdir()):
            said("    " + "\n              ".join(log.read_text().splitlines()[-4:]))


def main() -> None:
    options = parse_arguments()
    require("redis-benchmark")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < MOST_CLIENTS + 500:
        sys.exit(f"a process may open {hard} files here; raise the hard limit (ulimit -Hn) above {MOST_CLIENTS + 500}")
    with (
        tempfile.TemporaryDirectory(prefix="oarlock-crowd-", dir=options.directory) as directory,
        cluster(Path(directory) / "oarlock", "leader") as server,
    ):
        crowd = Crowd(Path(directory) / "oarlock", server, options.most_away_s)
        at_first = {pid: resident_bytes(pid) for pid in crowd.pids}
        phases = [crowd.phase("nobody else", {}, FULL)]
        for name in options.kinds:
            phases.append(crowd.phase(name, {name: KINDS[name]}, FULL if name == "idle" else SHORT))
        phases.append(crowd.phase("all of them", all_at_once(options.kinds), CROWDED))
        phases.append(crowd.phase("all have gone", {}, FULL))
        logged = int(LOG_FACTOR * sum(phase.logged_bytes for phase in phases))
        left = max(resident_bytes(pid) - at_first[pid] for pid in crowd.pids)
        with crowd.server.client() as client:
            client.delete(*client.keys("crowd:*"), *client.keys("witness:*"))
        verify(crowd.server)
    print_tables(phases, logged)
    if left > logged + KEPT_BYTES:
        sys.exit(f"{mib(left)} are left, of which the log can hold {mib(logged)}")


def all_at_once(names: list[str]) -> dict[str, Kind]:
    """The kinds together; as many idle ones as leave room for the rest."""
    kinds = {name: KINDS[name] for name in names}
    if "idle" in kinds:
        others = sum(kind.clients for name, kind in kinds.items() if name != "idle")
        kinds["idle"] = kinds["idle"]._replace(clients=kinds["idle"].clients - others)
    return kinds


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-crowd"
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="who comes (everybody)")
    parser.add_argument("--most-away-s", type=float, default=MOST_AWAY_S, help="longest wait for a PING (1.0)")
    parser.add_argument("--directory", default=None, help="where the data goes")
    return parser.parse_args()


def print_tables(phases: list[Phase], logged_bytes: int) -> None:
    print(f"The leader of three replicas, {KEYS:,} keys, {os.cpu_count()} cores shared by all, clients included.\n")
    print("who else is there       clients   load         a second   p50 ms   p99 ms   CPU s per million")
    for phase in phases:
        for (command, pipeline), seen in phase.loads.items():
            print(
                f"{phase.name:22}{phase.connections:9,}   {command} -P {pipeline:<3}{seen.rate:13,.0f}"
                f"{seen.p50_ms:9.2f}{seen.p99_ms:9.2f}{seen.cpu_s_per_million:20.1f}"
            )
    print(
        "\n                             PING ms        SET+GET ms     leader's memory, MiB     followers'    bound of"
    )
    print("who else is there       p99   longest      p99  longest   before   peak   after   before   peak   the rise")
    for phase in phases:
        rise = sum(count * most for count, most in phase.kinds.values())
        bound = (SLACK_BYTES + rise + int(LOG_FACTOR * phase.logged_bytes)) // MIB
        print(
            f"{phase.name:20}{ms(phase.pings_s, 0.99)}{ms(phase.pings_s, 1)}  {ms(phase.checks_s, 0.99)}"
            f"{ms(phase.checks_s, 1)}{phase.before[0] // MIB:9}{phase.peak[0] // MIB:7}{phase.after[0] // MIB:8}"
            f"{max(phase.before[1:]) // MIB:9}{max(phase.peak[1:]) // MIB:7}{bound:11}"
        )
    print(f"\nThe leader changed {sum(phase.elections for phase in phases)} times.")
    print(f"The log in memory may hold {mib(logged_bytes)} of what is left in the end. What they did:")
    for phase in phases:
        for kind, did in phase.did.items():
            print(f"  {phase.name:20} {kind:20} " + ", ".join(f"{name} {count:,}" for name, count in did.items()))


def ms(sorted_s: list[float], share: float) -> str:
    return f"{sorted_s[min(int(len(sorted_s) * share), len(sorted_s) - 1)] * 1000:9.1f}"


def mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.0f} MiB"


def said(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except redis.RedisError as error:
        sys.exit(f"the replica did not serve a client: {error}")
