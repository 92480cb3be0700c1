"""``make soak``: three replicas under constant load, and what stays within bounds: memory, disk, and what clients wait.

A million keys with values of 16 bytes are written over and over, some others live for a few seconds, and snapshots are
taken all the while. Every second it looks at each replica's memory, its data directory and INFO, and asks clients how
long their answers took. In the end it reads back, at every replica, what was acknowledged. Exits with 1 and a sentence
when memory or disk grow without bound, a client saw a wrong value or an error, or what was acknowledged is not there.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis
from load import machine_cpu_s
from servers import RedisServer, cluster
from soak_clients import BRIEF_S
from vitals import resident_bytes

from oarlock.storage.segment import DEFAULT_SEGMENT_BYTES

MIB = 1024 * 1024
CLIENTS = Path(__file__).with_name("soak_clients.py")
READ_BACK_S = 180.0
TICK_S = 0.1
"""How often it looks whether a snapshot is being written."""
MOST_RISE = 0.1
"""How much memory and disk may rise over the second half, as a line through their peaks says: as a part of them,"""
MOST_RISE_BYTES = DEFAULT_SEGMENT_BYTES
"""if that is more than this: the log comes and goes in whole files."""
FEWEST_PEAKS = 4
"""Through fewer a line says nothing."""


@dataclass(frozen=True)
class Kind:
    """How many clients, each at the next replica, and how often each does what it does: seldom, where it is to tell how
    long that takes, so that it is not its own load that it waits for."""

    clients: int
    a_second: float
    share: float = 0.0
    """Of the keys, that all of them together own."""


KINDS = {
    "set": Kind(3, 10, share=0.06),
    "bulk": Kind(1, 40, share=0.94),
    "get": Kind(3, 10),
    "ping": Kind(3, 20),
    "idle": Kind(1, 20),
}


@dataclass
class Second:
    """What was seen in one second."""

    at: int
    resident: list[int] = field(default_factory=list)
    """Bytes by replica; so are the others."""
    disk: list[int] = field(default_factory=list)
    log_bytes: list[int] = field(default_factory=list)
    snapshot_index: list[int] = field(default_factory=list)
    terms: list[int] = field(default_factory=list)
    writing: set[int] = field(default_factory=set)
    """Replicas that were writing a snapshot."""
    waits_us: dict[str, list[int]] = field(default_factory=dict)
    """By kind of client."""
    machine_load: float = 0.0
    """The machine's load average over one minute."""


class SoakClient:
    """A client program of a kind, and the thread that hears what it says."""

    def __init__(self, kind: str, ports: Sequence[int], keys: int, own: range) -> None:
        self.kind = kind
        self.by_second: dict[int, list[int]] = {}
        self.findings: dict[str, Any] = {}
        self.ready = threading.Event()
        command = [sys.executable, str(CLIENTS), kind, ",".join(map(str, ports)), str(KINDS[kind].a_second)]
        command += [str(keys), str(own.start), str(len(own))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ear = threading.Thread(target=self._hear, daemon=True)
        self._ear.start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self.ready.set()
            elif "second" in (said := json.loads(line)):
                self.by_second[said["second"]] = said["waits_us"]
            else:
                self.findings = said
        self.ready.set()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def begin(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def finish(self) -> None:
        """Ask it for what it found."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> None:
        self._ear.join(READ_BACK_S)
        if self._process.wait(10) or not self.findings:
            sys.exit(f"a client ({self.kind}) gave up: {self.findings}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="oarlock-soak-", dir=options.directory) as directory:
        root = Path(directory) / "oarlock"
        with cluster(root, "leader", options=("--snapshot-after", options.snapshot_after)) as server:
            replicas: list[dict[str, Any]] = json.loads((root / "cluster.json").read_text())["replicas"]
            said(f"giving {options.keys:,} keys their first values")
            with clients_of(replicas, options.keys) as clients:
                machine_before, servers_before = machine_cpu_s(), server.cpu_s()
                began = time.monotonic()
                seconds = watch(replicas, clients, options.minutes * 60)
                lasted_s = time.monotonic() - began
                cpu = {
                    "replicas": (server.cpu_s() - servers_before) / lasted_s,
                    "machine": (machine_cpu_s() - machine_before) / lasted_s,
                }
                said("reading back what was acknowledged, at every replica")
                for client in clients:
                    client.finish()
                for client in clients:
                    client.wait()
            until_nothing_brief_is_left(server, options.keys)
    gather(seconds, clients)
    if options.json is not None:
        save(options.json, seconds, cpu)
    report(options, seconds, clients, cpu)


@contextmanager
def clients_of(replicas: list[dict[str, Any]], keys: int) -> Iterator[list[SoakClient]]:
    """All clients, once their keys have values."""
    ports = [int(replica["redis"].rpartition(":")[2]) for replica in replicas]
    with ExitStack() as stack:
        clients: list[SoakClient] = []
        first = 0
        for kind, wanted in KINDS.items():
            for number in range(wanted.clients):
                end = first + math.ceil(keys * wanted.share / wanted.clients)
                own = range(first, min(keys, end) if wanted.share else first)
                first = own.stop
                turned = ports[number % len(ports) :] + ports[: number % len(ports)]
                clients.append(SoakClient(kind, turned, keys, own))
                stack.callback(clients[-1].kill)
        for client in clients:
            client.ready.wait()
        for client in clients:
            client.begin()
        yield clients


def watch(replicas: list[dict[str, Any]], clients: list[SoakClient], duration_s: float) -> list[Second]:
    """Look once a second, until the time is over."""
    seconds: list[Second] = []
    end = time.monotonic() + duration_s
    connections = [redis.Redis(port=int(replica["redis"].rpartition(":")[2])) for replica in replicas]
    while time.monotonic() < end:
        now = int(time.monotonic())
        if not seconds or seconds[-1].at != now:
            seconds.append(look(now, replicas, connections))
            if not all(client.runs for client in clients):
                sys.exit("a client has given up; what it said stands above")
            if len(seconds) % 60 == 0:
                progress(seconds)
        for replica in replicas:
            if any(Path(replica["data_dir"], "snapshots").glob("*.tmp")):
                seconds[-1].writing.add(replica["id"])
        time.sleep(TICK_S)
    return seconds


def look(now: int, replicas: list[dict[str, Any]], connections: list[redis.Redis]) -> Second:
    infos: list[dict[str, Any]] = [dict(connection.info("raft")) for connection in connections]
    return Second(
        now,
        [resident_bytes(replica["pid"]) for replica in replicas],
        [disk_bytes(Path(replica["data_dir"])) for replica in replicas],
        [info["log_bytes"] for info in infos],
        [info["snapshot_index"] for info in infos],
        [info["term"] for info in infos],
        machine_load=os.getloadavg()[0],
    )


def disk_bytes(directory: Path) -> int:
    """What the files there take on the disk."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):  # removed meanwhile
            total += path.stat().st_blocks * 512
    return total


def gather(seconds: list[Second], clients: list[SoakClient]) -> None:
    """Give every second what clients waited in it."""
    for second in seconds:
        for client in clients:
            second.waits_us.setdefault(client.kind, []).extend(client.by_second.get(second.at, ()))


def until_nothing_brief_is_left(server: RedisServer, keys: int) -> None:
    """Every key that had a lifetime goes when that is over, whether somebody asks for it or not."""
    deadline = time.monotonic() + BRIEF_S + 30
    with server.client() as client:
        while (there := client.dbsize()) != keys:
            if time.monotonic() > deadline:
                sys.exit(f"there are {there:,} keys, not {keys:,}, long after the others' lifetimes are over")
            time.sleep(0.5)


def save(path: Path, seconds: list[Second], cpu: dict[str, float]) -> None:
    rows = []
    for second in seconds:
        row = asdict(second) | {"writing": sorted(second.writing)}
        row["waits_us"] = {kind: spread(waits) for kind, waits in second.waits_us.items()}
        rows.append(row)
    path.write_text(json.dumps({"cpu": cpu, "seconds": rows}) + "\n")


def spread(waits_us: list[int]) -> dict[str, int]:
    return {
        "count": len(waits_us),
        "p50": share(waits_us, 0.5),
        "p99": share(waits_us, 0.99),
        "max": share(waits_us, 1),
    }


def share(values: Sequence[int], part: float) -> int:
    """The value that this part of them does not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0


def rise(values: Sequence[float]) -> float:
    """How much a line through the values rises from the first to the last."""
    middle = (len(values) - 1) / 2
    spread_ = sum((at - middle) ** 2 for at in range(len(values)))
    slope = sum((at - middle) * value for at, value in enumerate(values)) / spread_ if spread_ else 0.0
    return slope * (len(values) - 1)


def peaks(values: Sequence[int], snapshot_index: Sequence[int]) -> list[int]:
    """The most of each stretch that a snapshot ends: what comes and goes between two of them is no growth."""
    found, most = [], 0
    for before, value, index in zip([snapshot_index[0], *snapshot_index], values, snapshot_index, strict=False):
        most = max(most, value)
        if index != before:
            found.append(most)
            most = 0
    return found or [most]


def report(
    options: argparse.Namespace, seconds: list[Second], clients: list[SoakClient], cpu: dict[str, float]
) -> None:
    """Print what was seen. Exits with 1 if something is not as it has to be."""
    replicas = range(len(seconds[0].resident))
    taken = [len({second.snapshot_index[at] for second in seconds}) - 1 for at in replicas]
    rates = {kind: sum(len(second.waits_us[kind]) for second in seconds) / len(seconds) for kind in KINDS}
    writes = sum(client.findings.get("writes", 0) for client in clients)
    loads = sorted(second.machine_load for second in seconds)
    print(f"Three replicas for {len(seconds) / 60:.0f} minutes, {options.keys:,} keys of 16 bytes with values of 16,")
    print(f"{writes:,} writes, a snapshot after every {options.snapshot_after}; {os.cpu_count()} cores shared by all.")
    print(f"Load of the machine {loads[0]:.1f} to {loads[-1]:.1f}, median {loads[len(loads) // 2]:.1f}; its cores were")
    print(f"busy for {cpu['machine']:.2f} s of a second, {cpu['replicas']:.2f} of them with the three replicas.")
    print(f"Snapshots taken by each: {taken}. Terms: {sorted({term for s in seconds for term in s.terms})}.\n")

    complaints = []
    print("                      at first   least    most  at last   MiB; rise of the peaks over the second half")
    for name, of in (("memory", lambda second: second.resident), ("disk", lambda second: second.disk)):
        for at in replicas:
            values = [of(second)[at] for second in seconds]
            highest = peaks(values, [second.snapshot_index[at] for second in seconds])
            latter = highest[len(highest) // 2 :]
            risen_bytes = rise(latter)
            risen = risen_bytes * len(latter) / sum(latter)
            row = "".join(f"{value / MIB:9.0f}" for value in (values[0], min(values), max(values), values[-1]))
            print(f"{name} of replica {at + 1:<7}{row}   {risen:+.1%}")
            if risen > MOST_RISE and risen_bytes > MOST_RISE_BYTES:
                complaints.append(f"{name} of replica {at + 1} rose by {risen:.1%} over the second half")

    print("\n                                     ms: p50      p99     longest   a second")
    written = [second for second in seconds if second.writing]
    for kind, label in (("set", "SET"), ("get", "GET"), ("ping", "PING"), ("idle", "nobody's PING")):
        for when, some in (("snapshot being written", written), ("none", without(seconds, written))):
            waits = [wait for second in some for wait in second.waits_us[kind]]
            row = "".join(f"{share(waits, part) / 1000:9.2f}" for part in (0.5, 0.99, 1))
            print(f"{label:14}{when:24}{row}   {rates[kind]:8.0f}")
    print(f"\nA snapshot was being written in {len(written)} of {len(seconds)} seconds.")
    longest = [max(second.waits_us["ping"], default=0) for second in seconds]
    print(f"The longest PING, which is how long an event loop was away: {max(longest) / 1000:.0f} ms; ", end="")
    print(f"of a process that does nothing: {max(max(s.waits_us['idle'], default=0) for s in seconds) / 1000:.0f} ms.")

    checked = sum(client.findings.get("checked", 0) for client in clients)
    for client in clients:
        complaints += client.findings.get("wrong", [])
        if client.findings["errors"]:
            complaints.append(
                f"a client ({client.kind}) saw {client.findings['errors']} errors: {client.findings['first']}"
            )
    print(f"Read back in the end: {checked:,} values, {'all as acknowledged' if not complaints else 'see below'}.")
    if min(taken) < 2 * FEWEST_PEAKS:
        complaints.append("too few snapshots to tell what grows: let it run for longer, or say --snapshot-after")
    if complaints:
        sys.exit("\n".join(["", *complaints]))


def without(seconds: list[Second], some: list[Second]) -> list[Second]:
    left_out = {second.at for second in some}
    return [second for second in seconds if second.at not in left_out]


def progress(seconds: list[Second]) -> None:
    now = seconds[-1]
    memory, disk = (", ".join(f"{value / MIB:.0f}" for value in values) for values in (now.resident, now.disk))
    said(f"minute {len(seconds) // 60}: memory {memory} MiB, disk {disk} MiB, snapshots at {now.snapshot_index}")


def said(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make soak"
    )
    parser.add_argument("--minutes", type=float, default=20, help="how long, after the keys have values (20)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many (1000000)")
    parser.add_argument("--snapshot-after", default="16MiB", help="as of oarlock serve, but (16MiB)")
    parser.add_argument("--directory", default=None, help="where the data goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen, for make plots")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except redis.RedisError as error:
        sys.exit(f"a replica did not serve: {error}")
