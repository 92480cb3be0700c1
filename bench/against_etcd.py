"""``make bench-etcd``: three replicas of Oarlock beside three etcd servers, clients at the leader of each.

The two take turns within one run, so that a busy moment of the machine meets both; the table shows medians. Both
sync every write on a majority before they acknowledge it, with their data on the same disk. All processes, and the
load generators, share this machine, so what a client program costs is missing to the servers: etcd is asked by its
own client, in Go, and Oarlock by redis-benchmark, and by a client in the same Go program, which costs about as much.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from etcd_servers import etcd_cluster
from go_client import Command, GoClient, require_etcd
from load import CLIENTS, KEYS, Load, Measurement, fill, measure, median, note, redis_benchmark, verify
from servers import Server, cluster

GUESSED_RATE = {"put": 5_000, "get": 10_000}
"""Requests a second, to tell redis-benchmark how many make a turn of about the right length."""
MOVES = 3
"""How often a turn is begun again because the leader changed under it."""


@dataclass(frozen=True)
class Row:
    """One line of the table: who is asked for what, by which client program."""

    system: Literal["etcd", "oarlock"]
    command: Command
    client: Literal["Go", "redis-benchmark"]

    def __str__(self) -> str:
        name = self.command if self.system == "etcd" else {"put": "SET", "get": "GET"}[self.command]
        return f"{self.system:<8} {name:<17}{self.client:<16}"


ROWS = [
    Row("etcd", "put", "Go"),
    Row("oarlock", "put", "redis-benchmark"),
    Row("oarlock", "put", "Go"),
    Row("etcd", "get", "Go"),
    Row("oarlock", "get", "redis-benchmark"),
    Row("oarlock", "get", "Go"),
    Row("etcd", "get-serializable", "Go"),
]
TARGETS: dict[Command, float] = {"put": 3, "get": 8}
"""How many times etcd's rate, with redis-benchmark as our client, the project wants to reach."""

Results = dict[Row, list[Measurement]]


def main() -> None:
    options = parse_arguments()
    require_etcd()
    results: Results = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="oarlock-bench-", dir=options.directory) as name,
        cluster(Path(name) / "oarlock", "leader") as ours,
        etcd_cluster(Path(name) / "etcd") as theirs,
    ):
        note("building the Go client")
        go = GoClient(Path(name), options.connections)
        note("filling")
        fill(ours)
        theirs.fill()
        for alternation in range(1, options.alternations + 1):
            for row in ROWS if alternation % 2 else reversed(ROWS):
                note(f"{alternation}/{options.alternations}  {row}")
                server: Server = theirs if row.system == "etcd" else ours
                results[row].append(at_one_leader(server, load_of(row, server, go, options.seconds)))
        verify(ours)
        theirs.verify()
    note("")
    print_table(results, options)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-etcd"
    )
    parser.add_argument("--alternations", type=int, default=5, help="how often each has its turn (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long a turn takes (5)")
    parser.add_argument("--connections", type=int, default=CLIENTS, help=f"that etcd's clients share ({CLIENTS})")
    parser.add_argument("--directory", default=None, help="where the data goes, to measure another disk")
    return parser.parse_args()


def load_of(row: Row, server: Server, go: GoClient, seconds: float) -> Callable[[], Load]:
    if row.client == "Go":
        return partial(go.load, server, row.command, seconds)
    requests = max(int(GUESSED_RATE[row.command] * seconds), CLIENTS)
    return partial(redis_benchmark, server, {"put": "SET", "get": "GET"}[row.command], 1, requests)


def at_one_leader(server: Server, load: Callable[[], Load]) -> Measurement:
    """A measurement during which the leader stayed where the clients talked to it."""
    for _ in range(MOVES + 1):
        port = server.port
        measurement = measure(server, load)
        if server.port == port:
            return measurement
        print(f"{server.name}'s leader changed meanwhile: measuring again", file=sys.stderr)
    sys.exit(f"{server.name} does not keep a leader: nothing to measure")


def print_table(results: Results, options: argparse.Namespace) -> None:
    version = subprocess.run(["etcd", "--version"], capture_output=True, text=True).stdout.split()[2]
    print(f"Three replicas beside three etcd servers ({version}), {CLIENTS} clients at the leader of each.")
    print(f"{KEYS:,} keys, {os.cpu_count()} cores shared by all; medians of {options.alternations}.\n")
    print("                                          operations a second        latency ms      CPU µs an operation")
    print("                  client             median    lowest   highest     p50     p99    3 servers   client")
    for row in ROWS:
        seen = results[row]
        rates = [m.rate for m in seen]
        print(
            f"{row}{median(rates):10,.0f}{min(rates):10,.0f}{max(rates):10,.0f}"
            f"{median(m.p50_ms for m in seen):8.2f}{median(m.p99_ms for m in seen):8.2f}"
            f"{median(m.cpu_s_per_million for m in seen):13.0f}{median(m.client_cpu_s_per_million for m in seen):9.0f}"
        )
    print("\nOarlock's rate as a multiple of etcd's; in brackets, the lowest and the highest of an alternation:")
    for command, target in TARGETS.items():
        print(f"{'SET / put' if command == 'put' else 'GET / get':<11}", end="")
        for client in ("redis-benchmark", "Go"):
            print(f"{client} {ratios(results, Row('oarlock', command, client))}   ", end="")
        print(f"wanted with redis-benchmark: {target:g}")


def ratios(results: Results, row: Row) -> str:
    ours, theirs = ([m.rate for m in results[side]] for side in (row, Row("etcd", row.command, "Go")))
    each = [our / their for our, their in zip(ours, theirs, strict=True)]
    return f"{median(ours) / median(theirs):.1f} ({min(each):.1f} to {max(each):.1f})"


if __name__ == "__main__":
    main()
