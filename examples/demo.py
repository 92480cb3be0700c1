"""What clients notice when the leader of a cluster is killed: ``make demo``.

Starts three replicas with ``oarlock local``, lets clients write and read through redis-py, ends the leader with
``kill -9`` under that load, brings it back, and checks that nothing acknowledged was lost and no read was old.
Exits with 0 only if every check holds, and leaves no process behind.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

WRITERS = 8
LOAD_S = 2.0
"""How long the load runs before the kill, after it, and after the dead replica is back."""
DEADLINE_S = 60.0

T = TypeVar("T")


class Failure(Exception):
    """A check of the demo does not hold."""


class Timeline:
    """Prints what happens, when; with a little colour where there is a terminal to show it."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def event(self, text: str) -> None:
        self._line(self._paint("36", f"{time.monotonic() - self._began:6.2f} s"), text)

    def more(self, text: str) -> None:
        self._line(" " * 8, text)

    def check(self, text: str) -> None:
        self._line(self._paint("32", "      ok"), text)

    def failed(self, text: str) -> None:
        self._line(self._paint("31", "  FAILED"), text)

    def title(self, text: str) -> None:
        print(f"\n{self._paint('1', text)}\n", flush=True)

    def strong(self, text: str) -> str:
        return self._paint("1", text)

    def _line(self, margin: str, text: str) -> None:
        print(f" {margin}  {text}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._coloured else text


class Replica:
    """One replica of the demo's cluster, as ``cluster.json`` describes it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.id: int = entry["id"]
        self.pid: int = entry["pid"]
        self.command: list[str] = entry["command"]
        host, port = entry["redis"].split(":")
        # No automatic second sending: after a broken connection only the application knows whether a command may
        # be repeated. And more patience than the replica's own deadline of 5 s, whose answer says what happened.
        self._options: dict[str, Any] = {"host": host, "port": int(port), "decode_responses": True}
        self._options |= {"retry": Retry(NoBackoff(), 0), "socket_timeout": 10}

    def client(self) -> redis.Redis:
        return redis.Redis(**self._options)

    def raft(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info("raft"))


class Cluster:
    """Three replicas under ``oarlock local``, in a temporary directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._restarted: list[subprocess.Popen[Any]] = []
        command = [sys.executable, "-m", "oarlock", "local", "--data-dir", str(directory)]
        for option, base in zip(("--redis-port", "--raft-port", "--http-port"), free_ports(3, in_a_row=3), strict=True):
            command += [option, str(base)]
        self._local = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.replicas: list[Replica] = []

    def wait_until_ready(self) -> None:
        assert self._local.stdout is not None
        lines = []
        for line in self._local.stdout:
            if line == "ready\n":
                break
            lines.append(line)
        else:
            raise Failure("the cluster did not start:\n" + "".join(lines))
        threading.Thread(target=self._local.stdout.read, daemon=True).start()  # nobody else reads on
        entries = json.loads((self._directory / "cluster.json").read_text())["replicas"]
        self.replicas = [Replica(entry) for entry in entries]

    def leader(self, other_than: int = 0) -> tuple[Replica, int]:
        """The leader that all other replicas know, and its term."""

        def agreed() -> tuple[Replica, int] | None:
            infos = [replica.raft() for replica in self.replicas if replica.id != other_than]
            leaders = {(info["leader_id"], info["term"]) for info in infos}
            if len(leaders) != 1:
                return None
            ((leader, term),) = leaders
            return (self[leader], term) if leader not in (0, other_than) else None

        return until("the replicas agree on a leader", agreed)

    def __getitem__(self, replica_id: int) -> Replica:
        return next(replica for replica in self.replicas if replica.id == replica_id)

    def restart(self, replica: Replica) -> None:
        """Run the replica's command as it stands in ``cluster.json``."""
        with (self._directory / "logs" / f"{replica.id}.log").open("ab") as log:
            self._restarted.append(subprocess.Popen(replica.command, stdout=log, stderr=log, start_new_session=True))

    def stop(self) -> None:
        """Ask everything to finish; what does not is killed."""
        processes: list[subprocess.Popen[Any]] = [*self._restarted, self._local]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def survivors(self) -> list[int]:
        """Processes that should be gone and are not."""
        pids = [replica.pid for replica in self.replicas] + [process.pid for process in self._restarted]
        return [pid for pid in pids if is_running(pid)]


class Load:
    """Clients that write and read without pause, and remember what they were told."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas
        self._stop = threading.Event()
        self.written: list[int] = [0] * WRITERS
        """How many writes of each writer are acknowledged: keys 1 to that of this writer must be there."""
        self.acknowledged_at: list[list[float]] = [[] for _ in range(WRITERS)]
        self.errors: list[Counter[str]] = [Counter() for _ in range(WRITERS)]
        self.reads = 0
        self.old_reads: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(writer,), daemon=True) for writer in range(WRITERS)]
        self._threads += [threading.Thread(target=self._read, args=(replica,), daemon=True) for replica in replicas]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)
            if thread.is_alive():
                raise Failure("a client hangs: its request was not answered in 30 s")

    def _write(self, writer: int) -> None:
        """Count up: key after key, and the counter that goes with them. Moves on when its replica is gone."""
        at = writer
        client = self._replicas[at % len(self._replicas)].client()
        while not self._stop.is_set():
            number = self.written[writer] + 1
            try:
                client.mset({key(writer, number): number, counter(writer): number})
            except redis.RedisError as error:  # repeated with the same values, which is safe to do twice
                self.errors[writer][what_it_means(error)] += 1
                if isinstance(error, redis.ConnectionError):
                    at += 1
                    client.close()
                    client = self._replicas[at % len(self._replicas)].client()
                continue
            self.written[writer] = number
            self.acknowledged_at[writer].append(time.monotonic())
        client.close()

    def _read(self, replica: Replica) -> None:
        """Ask for counters at one replica. What was acknowledged before the question must be in the answer."""
        client = replica.client()
        chance = random.Random(replica.id)
        while not self._stop.is_set():
            writer = chance.randrange(WRITERS)
            acknowledged = self.written[writer]
            try:
                value = int(client.get(counter(writer)) or 0)
            except redis.RedisError:
                self._stop.wait(0.01)  # this replica is the one that is down
                continue
            self.reads += 1
            if value < acknowledged:
                self.old_reads.append(f"replica {replica.id} said {value} after {acknowledged} was acknowledged")
        client.close()

    def outage_s(self, around: float) -> float:
        """The longest time without any acknowledgement from just before ``around`` on."""
        moments = sorted(moment for moments in self.acknowledged_at for moment in moments if moment > around - 0.1)
        return max((after - before for before, after in pairwise([*moments, time.monotonic()])), default=0.0)

    def slowest_s(self, writers: list[int], since: float) -> float:
        """The longest time between two acknowledgements of one of these writers."""
        gaps = [0.0]
        for writer in writers:
            gaps += [after - before for before, after in pairwise(self.acknowledged_at[writer]) if after > since]
        return max(gaps)


def main() -> int:
    timeline = Timeline()
    timeline.title("Oarlock: three replicas, eleven clients, and one kill -9")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="oarlock-demo-") as directory, running(Path(directory)) as cluster:
            play(timeline, cluster)
        if cluster.survivors():
            raise Failure(f"processes are left: {cluster.survivors()}")
        timeline.event("all replicas stopped; no process is left\n")
        return 0
    except Failure as failure:
        timeline.failed(f"{failure}\n")
        return 1
    except KeyboardInterrupt:
        timeline.event("interrupted; all replicas stopped\n")
        return 130


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    cluster = Cluster(directory)
    try:
        yield cluster
    finally:
        cluster.stop()


def play(timeline: Timeline, cluster: Cluster) -> None:
    timeline.event("starting three replicas on this machine, each with a data directory of its own")
    cluster.wait_until_ready()
    leader, term = cluster.leader()
    timeline.event(f"replicas 1, 2 and 3 serve; replica {leader.id} leads in term {term}")
    with cluster[1].client() as here, cluster[3].client() as there:
        here.set("greeting", "hello")
        timeline.event(f'SET greeting hello at replica 1, GET greeting at replica 3: "{there.get("greeting")}"')

    load = Load(cluster.replicas)
    load.start()
    timeline.event(f"{WRITERS} clients write and {len(cluster.replicas)} read, spread over all replicas")
    time.sleep(LOAD_S)
    timeline.event(f"{sum(load.written):,} writes acknowledged and {load.reads:,} reads answered so far")

    applied_at_death = leader.raft()["applied_index"]
    os.kill(leader.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    timeline.event(timeline.strong(f"kill -9 of replica {leader.id}, the leader"))
    heir, term = cluster.leader(other_than=leader.id)
    timeline.event(f"replica {heir.id} leads in term {term}")
    time.sleep(LOAD_S)
    tell_what_clients_noticed(timeline, load, killed_at)

    cluster.restart(leader)
    timeline.event(f"replica {leader.id} is started again")
    watch_it_catch_up(timeline, leader, heir, applied_at_death)
    time.sleep(LOAD_S)
    load.stop()
    timeline.event(f"the clients stop: {sum(load.written):,} writes acknowledged, {load.reads:,} reads answered")
    check(timeline, cluster, load)


def tell_what_clients_noticed(timeline: Timeline, load: Load, killed_at: float) -> None:
    outage = load.outage_s(killed_at)
    told = [writer for writer in range(WRITERS) if load.errors[writer]]
    rest = [writer for writer in range(WRITERS) if not load.errors[writer]]
    timeline.event(f"writes went on: {timeline.strong(f'{outage * 1000:.0f} ms')} without an acknowledgement, at most")
    for meaning, times in sorted(sum(load.errors, Counter[str]()).items()):
        timeline.more(f"{times} of the writers were told: {meaning}")
    if told:
        timeline.more("they repeated the write at another replica")
    if rest:
        slowest = load.slowest_s(rest, killed_at)
        timeline.more(f"{len(rest)} saw no error at all: their slowest write took {slowest * 1000:.0f} ms")


def watch_it_catch_up(timeline: Timeline, returned: Replica, leader: Replica, applied_at_death: int) -> None:
    began = time.monotonic()
    target = leader.raft()["commit_index"]
    timeline.more(f"it missed {target - applied_at_death:,} entries of the log; the leader is at {target:,}")

    def caught_up() -> dict[str, Any] | None:
        with suppress(redis.RedisError):
            info = returned.raft()
            return info if info["applied_index"] >= target else None
        return None

    info = until(f"replica {returned.id} has applied what it missed", caught_up)
    timeline.event(
        f"replica {returned.id} has caught up after {time.monotonic() - began:.1f} s: "
        f"{info['role']}, applied_index {info['applied_index']:,}"
    )


def check(timeline: Timeline, cluster: Cluster, load: Load) -> None:
    for replica in cluster.replicas:
        with replica.client() as client:
            lost = [
                name
                for writer, count in enumerate(load.written)
                for start in range(1, count + 1, 500)
                for name in missing(client, writer, range(start, min(start + 500, count + 1)))
            ]
        if lost:
            raise Failure(f"replica {replica.id} has lost {len(lost):,} acknowledged writes, the first is {lost[0]}")
    timeline.check(f"each of the {sum(load.written):,} acknowledged writes is there, at every replica")
    if load.old_reads:
        raise Failure(f"{len(load.old_reads)} reads were old; the first: {load.old_reads[0]}")
    timeline.check(f"none of the {load.reads:,} reads was older than what had been acknowledged before it")


def missing(client: redis.Redis, writer: int, numbers: range) -> list[str]:
    names = [key(writer, number) for number in numbers]
    values: Any = client.mget(names)
    return [name for name, number, value in zip(names, numbers, values, strict=True) if value != str(number)]


def key(writer: int, number: int) -> str:
    return f"writer:{writer}:{number}"


def counter(writer: int) -> str:
    return f"writer:{writer}"


def what_it_means(error: redis.RedisError) -> str:
    if isinstance(error, redis.ConnectionError):
        return "connection broken"
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    return str(error)


def until(what: str, question: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        answer = question()
        if answer is not None:
            return answer
        time.sleep(0.01)
    raise Failure(f"waited {DEADLINE_S:.0f} s in vain until {what}")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_ports(how_many: int, in_a_row: int) -> list[int]:
    """First ports of free ranges, below those that the system hands to clients."""
    found: list[int] = []
    while len(found) < how_many:
        base = random.randrange(20000, 32000)
        wanted = range(base, base + in_a_row)
        if all(abs(base - other) >= in_a_row for other in found) and all(map(is_free, wanted)):
            found.append(base)
    return found


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
