"""``make bench-restart``: how long a replica takes to come back, with what it has and with nothing.

First a follower of three with a million keys, a snapshot of them, and as much log behind it as there can be, is killed
and started again; its log tells when each phase was over. Then the state is made large, a follower loses its disk and
rejoins, while clients of the leader go on: how fast the snapshot comes, and what they notice.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
from servers import cluster, cpu_s
from soak import MIB, SoakClient, share
from vitals import resident_bytes

PIPELINE = 1000
LONG_S = 900.0
QUIET_S = 10.0
"""How long clients are watched before anything happens."""
SET_BYTES = 45
"""About what a SET of these keys and values takes in the log."""
MEASURED = ("set", "get", "ping", "idle")


class Replicas:
    """Three of them, under ``oarlock local``; one is killed, and then started here."""

    def __init__(self, directory: Path) -> None:
        self.all: list[dict[str, Any]] = json.loads((directory / "cluster.json").read_text())["replicas"]
        self._directory = directory
        leader = self.info(0)["leader_id"]
        self.leader = next(at for at, replica in enumerate(self.all) if replica["id"] == leader)
        self.follower = (self.leader + 1) % 3
        self.log = directory / "restarted.log"
        self.process: subprocess.Popen[bytes] | None = None

    def port(self, at: int) -> int:
        return int(self.all[at]["redis"].rpartition(":")[2])

    def client(self, at: int) -> redis.Redis:
        return redis.Redis(port=self.port(at), socket_timeout=60)

    def info(self, at: int) -> dict[str, Any]:
        with self.client(at) as client:
            return dict(client.info("raft"))

    def kill(self) -> None:
        """``kill -9`` of the follower."""
        pid = self.all[self.follower]["pid"]
        os.kill(pid, 9)
        if self.process is not None:
            self.process.wait()
        until(lambda: state_of(pid) == "Z", "it is gone")

    def start(self) -> float:
        """Start the follower again; when that was."""
        self.log.unlink(missing_ok=True)
        began = time.time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.all[self.follower]["command"], stdout=log, stderr=log)
        self.all[self.follower]["pid"] = self.process.pid
        return began

    def oarlock(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "oarlock", *arguments], check=True, stdout=subprocess.DEVNULL)

    def said_at(self, text: str) -> float:
        """When it logged a line with that in it."""
        for line in self.log.read_text().splitlines():
            if text in line:
                return datetime.fromisoformat(line[:23]).astimezone().timestamp()
        sys.exit(f"the replica did not say {text!r}:\n{self.log.read_text()}")

    def serves(self) -> bool:
        try:
            return bool(self.info(self.follower))
        except (redis.RedisError, OSError):
            return False

    def caught_up(self) -> bool:
        try:
            return bool(self.info(self.follower)["applied_index"] >= self.info(self.leader)["commit_index"])
        except (redis.RedisError, OSError):
            return False


@contextmanager
def replicas(options: argparse.Namespace, snapshot_after: str) -> Iterator[Replicas]:
    with tempfile.TemporaryDirectory(prefix="oarlock-restart-", dir=options.directory) as directory:
        root = Path(directory) / "oarlock"
        with cluster(root, "leader", options=("--snapshot-after", snapshot_after)):
            three = Replicas(root)
            try:
                yield three
            finally:
                if three.process is not None:
                    three.process.kill()
                    three.process.wait()


def with_what_it_has(options: argparse.Namespace) -> None:
    with replicas(options, "64MiB") as three:
        said(f"writing {options.keys:,} keys")
        fill(three, options.keys, 16)
        three.oarlock("snapshot", "--at", three.all[three.follower]["http"])
        commands = 0
        while (log_bytes := three.info(three.follower)["log_bytes"]) < 60 * MIB:
            more = max(PIPELINE, int((61 * MIB - log_bytes) / SET_BYTES / 2))
            said(f"writing {more:,} times more")
            fill(three, more, 16)
            commands += more
        snapshot_bytes = three.info(three.follower)["snapshot_bytes"]
        until(three.caught_up, "all have caught up")
        three.kill()
        began = three.start()
        assert three.process is not None
        until(three.serves, "it answers", pause_s=0.002)
        cpu_before_s = cpu_s(three.process.pid)
        until(three.caught_up, "it is back", pause_s=0.01)
        end, replay_cpu_s = time.time(), cpu_s(three.process.pid) - cpu_before_s
        restoring, started = three.said_at("restores a snapshot"), three.said_at("started (boot")
        serving, follows = three.said_at("Redis clients are served"), three.said_at("follows replica")
        print(f"A follower with {options.keys:,} keys, killed and started again:\n")
        say("start the interpreter, read and check snapshot and log", restoring - began)
        say(f"restore the snapshot ({snapshot_bytes / MIB:.0f} MiB)", started - restoring)
        say("listen", serving - started)
        say("hear of a leader", max(0.0, follows - serving))
        replayed_s = end - max(follows, serving)
        say(f"replay {commands:,} commands ({log_bytes / MIB:.0f} MiB)", replayed_s)
        say("all of it", end - began)
        print(
            f"\n{commands / replayed_s:,.0f} commands replayed a second; {commands / replay_cpu_s:,.0f} in one of CPU."
        )
        print(f"{machine_load()}\n")


def with_nothing(options: argparse.Namespace) -> None:
    size_bytes = 8192
    count = options.state_mib * MIB // size_bytes
    with replicas(options, f"{options.state_mib}MiB") as three:
        said(f"writing {options.state_mib} MiB of state")
        fill(three, count, size_bytes)
        three.oarlock("snapshot", "--at", three.all[three.leader]["http"])
        snapshot_bytes = three.info(three.leader)["snapshot_bytes"]
        ports = [three.port(three.leader)]
        own = range(count, count + 1000)
        owned = {"set": own, "get": own}
        clients = [SoakClient(kind, ports, count, owned.get(kind, range(0))) for kind in MEASURED]
        try:
            for client in clients:
                client.ready.wait()
            for client in clients:
                client.begin()
            quiet = time.monotonic()
            time.sleep(QUIET_S)
            said("a follower loses its disk and rejoins")
            directory = Path(three.all[three.follower]["data_dir"])
            three.kill()
            shutil.rmtree(directory)
            leader_http = three.all[three.leader]["http"]
            id_ = str(three.all[three.follower]["id"])
            three.oarlock("rejoin", "--data-dir", str(directory), "--id", id_, "--at", leader_http, "--yes")
            began = time.monotonic()
            three.start()
            until(three.caught_up, "it is back", pause_s=0.02)
            end = time.monotonic()
            for client in clients:
                client.finish()
            for client in clients:
                client.wait()
        finally:
            for client in clients:
                client.kill()
        fetched_s = three.said_at("begins anew") - three.said_at("fetches a snapshot")
        print(f"A follower without anything; a snapshot of {snapshot_bytes / MIB:,.0f} MiB is sent to it:\n")
        say("from start to having caught up", end - began)
        say("of that, fetch and check the snapshot", fetched_s)
        leader, follower = (resident_bytes(three.all[at]["pid"]) / MIB for at in (three.leader, three.follower))
        print(f"\n{snapshot_bytes / fetched_s / 1e6:.0f} MB/s. ", end="")
        print(f"The leader has {leader:,.0f} MiB of memory, the follower {follower:,.0f}. {machine_load()}\n")
        print("clients of the leader, ms        before: p50   p99   longest   meanwhile: p50   p99   longest")
        for client in clients:
            before = [w for second, ws in client.by_second.items() if quiet < second < quiet + QUIET_S - 1 for w in ws]
            during = [w for second, ws in client.by_second.items() if began <= second <= end for w in ws]
            rows = ["".join(f"{share(some, part) / 1000:9.2f}" for part in (0.5, 0.99, 1)) for some in (before, during)]
            print(f"{client.kind.upper():28}" + "     ".join(rows))


def fill(three: Replicas, count: int, size_bytes: int) -> None:
    """Set so many keys, each to something of its own."""
    with three.client(three.leader) as client:
        for start in range(0, count, PIPELINE):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + PIPELINE, count)):
                pipeline.set(f"key:{number:012}", os.urandom(8).hex() * (size_bytes // 16))
            pipeline.execute()


def until(condition: Callable[[], object], what: str, pause_s: float = 0.05) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not in time: {what}")
        time.sleep(pause_s)


def state_of(pid: int) -> str:
    """As the kernel calls it; one that is gone counts as one that nobody has waited for."""
    try:
        return re.sub(r".*\) ", "", Path(f"/proc/{pid}/stat").read_text())[:1]
    except FileNotFoundError:
        return "Z"


def machine_load() -> str:
    return f"Load of the machine {os.getloadavg()[0]:.1f}."


def say(what: str, seconds: float) -> None:
    print(f"{what:62}{seconds:8.2f} s", flush=True)


def said(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-restart"
    )
    parser.add_argument("--keys", type=int, default=1_000_000, help="of one that comes back by itself (1000000)")
    parser.add_argument("--state-mib", type=int, default=1024, help="of state that is sent to one with nothing (1024)")
    parser.add_argument("--only", choices=("log", "snapshot"), help="do only one of the two")
    parser.add_argument("--directory", default=None, help="where the data goes")
    options = parser.parse_args()
    if options.only != "snapshot":
        with_what_it_has(options)
    if options.only != "log":
        with_nothing(options)


if __name__ == "__main__":
    main()
