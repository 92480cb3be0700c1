"""``make bench-etcd``: three replicas of Oarlock beside three etcd servers, clients at the leader of each.

The two take turns within one run, so that a busy moment of the machine meets both; the table shows medians. Both
sync every write on a majority before they acknowledge it, with their data on the same disk. All processes, and the
load generators, share this machine, so what a client program takes is missing to the servers: etcd is asked by its
own client, in Go; Oarlock by redis-benchmark, and by clients in the same Go program, driven and timed in the same way.
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
from servers import BUILD, Server, cluster

GUESSED_RATE = {"put": 5_000, "get": 10_000}
"""Requests a second, to tell redis-benchmark how many make a turn of about the right length."""
MOVES = 3
"""How often a turn is begun again because the leader changed under it."""
NAMES: dict[Command, str] = {"put": "SET", "get": "GET"}
"""Of Oarlock's commands."""


@dataclass(frozen=True)
class Row:
    """One line of the table: who is asked for what, by which client program, over how many connections."""

    system: Literal["etcd", "oarlock"]
    command: Command
    client: Literal["Go", "redis-benchmark"]
    connections: int = CLIENTS

    def __str__(self) -> str:
        name = NAMES[self.command] if self.system == "oarlock" else self.command
        return f"{self.system:<8} {name:<16}  {self.client:<15}{self.connections:>4}"


def rows_of(command: Command) -> list[Row]:
    return [
        Row("etcd", command, "Go", 1),
        Row("etcd", command, "Go"),
        Row("oarlock", command, "redis-benchmark"),
        Row("oarlock", command, "Go"),
    ]


ROWS = [*rows_of("put"), *rows_of("get"), Row("etcd", "get-serializable", "Go", 1)]
TARGETS: dict[Command, float] = {"put": 3, "get": 8}
"""How many times etcd's rate the project wants to reach."""

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
        go = GoClient(Path(name))
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
    parser.add_argument("--seconds", type=float, default=4.0, help="about how long a turn takes (4)")
    parser.add_argument("--directory", default=None, help="where the data goes, to measure another disk")
    return parser.parse_args()


def load_of(row: Row, server: Server, go: GoClient, seconds: float) -> Callable[[], Load]:
    if row.client == "Go":
        return partial(go.load, server, row.command, row.connections, seconds)
    requests = max(int(GUESSED_RATE[row.command] * seconds), CLIENTS)
    return partial(redis_benchmark, server, NAMES[row.command], 1, requests)


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
    print(f"Three replicas ({BUILD}) beside three etcd servers ({version}), {CLIENTS} clients at the leader of each.")
    print(f"{KEYS:,} keys, {os.cpu_count()} cores shared by all; medians of {options.alternations}.\n")
    print("                                               operations a second        latency ms    CPU µs an operation")
    print(
        "                           client     connections  median   range            p50    p99     3 servers  client"
    )
    for row in ROWS:
        seen = results[row]
        rates = [m.rate for m in seen]
        print(
            f"{row}{median(rates):14,.0f}  {f'{min(rates):,.0f} to {max(rates):,.0f}':<18}"
            f"{median(m.p50_ms for m in seen):6.2f}{median(m.p99_ms for m in seen):7.2f}"
            f"{median(m.cpu_s_per_million for m in seen):12.0f}{median(m.client_cpu_s_per_million for m in seen):8.0f}"
        )
    elsewhere = [m.elsewhere for seen in results.values() for m in seen]
    print(f"\nAnything else took {median(elsewhere):.0%} of the processor time meanwhile", end="")
    print(f" ({min(elsewhere):.0%} to {max(elsewhere):.0%} of a turn's).")
    print("\nRate, as a multiple of etcd's; in brackets, the lowest and the highest of an alternation:")
    for command, target in TARGETS.items():
        etcd_shared, etcd, *ours = rows_of(command)
        for row in ours:
            print(
                f"{NAMES[command]} / {command}  {row.client:<15}  "
                f"etcd over 1 connection {multiple(results[row], results[etcd_shared]):<20}  "
                f"over {CLIENTS} {multiple(results[row], results[etcd]):<20}  target {target:g}"
            )


def multiple(ours: list[Measurement], theirs: list[Measurement]) -> str:
    each = [our.rate / their.rate for our, their in zip(ours, theirs, strict=True)]
    whole = median(our.rate for our in ours) / median(their.rate for their in theirs)
    return f"{whole:.1f} ({min(each):.1f} to {max(each):.1f})"


if __name__ == "__main__":
    main()
