"""``make bench``: redis-benchmark against a three-replica cluster and against one Redis that syncs every write.

The two take turns within one run, so that a busy moment of the machine meets both; the table shows medians. Both
make a write durable before they acknowledge it: the cluster on a majority of three replicas, Redis on itself.
All processes, and the load generator, share this machine.
"""

import argparse
import csv
import io
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from servers import Server, cluster, redis_server, require

KEYS = 100_000
CLIENTS = 50
REQUESTS = {1: 100_000, 64: 1_000_000}
"""Requests of one measurement, by pipeline depth: a few seconds each."""


class Workload(NamedTuple):
    command: str
    pipeline: int


@dataclass(frozen=True)
class Measurement:
    """What one run of redis-benchmark saw."""

    rate: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float
    cpu_s_per_million: float
    """Processor time of all server processes for a million requests."""


Results = dict[tuple[Workload, str], list[Measurement]]


def main() -> None:
    options = parse_arguments()
    require("redis-benchmark", "redis-server")
    workloads = [Workload(command, depth) for depth in options.pipelines for command in ("SET", "GET")]
    results: Results = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="oarlock-bench-", dir=options.directory) as directory,
        cluster(Path(directory) / "oarlock", options.at) as ours,
        redis_server(Path(directory) / "redis") as theirs,
    ):
        for server in (ours, theirs):
            fill(server)
        for alternation in range(1, options.alternations + 1):
            for workload in workloads:
                for server in (ours, theirs) if alternation % 2 else (theirs, ours):
                    note(f"{alternation}/{options.alternations}  {workload.command} -P {workload.pipeline}", server)
                    results[workload, server.name].append(measure(server, workload, options.scale))
        for server in (ours, theirs):
            verify(server)
    note("", None)
    print_table(workloads, results, options)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench"
    )
    parser.add_argument("--alternations", type=int, default=3, help="how often each server has its turn (3)")
    parser.add_argument("--at", choices=("leader", "follower"), default="leader", help="whom the clients talk to")
    parser.add_argument("--pipelines", type=int, nargs="+", default=[1, 64], help="pipeline depths (1 64)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the usual number of requests (1.0)")
    parser.add_argument("--directory", default=None, help="where the data goes, to measure another disk")
    return parser.parse_args()


def measure(server: Server, workload: Workload, scale: float) -> Measurement:
    per_depth = REQUESTS.get(workload.pipeline, REQUESTS[1] if workload.pipeline < 8 else REQUESTS[64])
    requests = max(int(per_depth * scale), CLIENTS * workload.pipeline)
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-c", str(CLIENTS)]
    command += ["-P", str(workload.pipeline), "-n", str(requests), "-r", str(KEYS)]
    command += ["-t", workload.command.lower(), "--csv", "--precision", "3"]
    cpu_before = server.cpu_s()
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    cpu_s = server.cpu_s() - cpu_before
    if run.returncode or "rror" in run.stdout + run.stderr:
        sys.exit(f"redis-benchmark against {server.name} failed:\n{run.stdout}{run.stderr}")
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    return Measurement(
        rate=float(row["rps"]),
        p50_ms=float(row["p50_latency_ms"]),
        p99_ms=float(row["p99_latency_ms"]),
        cpu_s_per_million=cpu_s / requests * 1_000_000,
    )


def fill(server: Server) -> None:
    """Give every key a value of the size that redis-benchmark writes, so that every GET finds one."""
    with server.client() as client:
        for start in range(0, KEYS, 1000):
            client.mset({f"key:{number:012}": "xxx" for number in range(start, start + 1000)})


def verify(server: Server) -> None:
    """That what was measured were answers: all keys are there, with values of the right size, and no others."""
    with server.client() as client:
        size = client.dbsize()
        if size != KEYS:
            sys.exit(f"{server.name} holds {size} keys after the benchmark, not {KEYS}: its numbers mean nothing")
        values: Any = client.mget([f"key:{number:012}" for number in range(0, KEYS, 97)])
        if any(value is None or len(value) != 3 for value in values):
            sys.exit(f"{server.name} holds wrong values after the benchmark: its numbers mean nothing")


def print_table(workloads: list[Workload], results: Results, options: argparse.Namespace) -> None:
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()[2]
    print(f"Three replicas, clients at the {options.at}, against one Redis ({version}) with appendfsync always.")
    print(
        f"{CLIENTS} clients, {KEYS:,} keys, {os.cpu_count()} cores shared by all; medians of {options.alternations}.\n"
    )
    print("            requests a second          p50 ms           p99 ms       CPU s per million")
    print("           oarlock     redis  ratio  oarlock  redis   oarlock  redis   oarlock  redis  ratio")
    for workload in workloads:
        ours, theirs = (results[workload, name] for name in ("oarlock", "redis"))
        rates = [median(m.rate for m in side) for side in (ours, theirs)]
        cpus = [median(m.cpu_s_per_million for m in side) for side in (ours, theirs)]
        p50s = [median(m.p50_ms for m in side) for side in (ours, theirs)]
        p99s = [median(m.p99_ms for m in side) for side in (ours, theirs)]
        print(
            f"{workload.command} -P {workload.pipeline:<3}"
            f"{rates[0]:10,.0f}{rates[1]:10,.0f}{rates[0] / rates[1]:7.2f}"
            f"{p50s[0]:9.2f}{p50s[1]:7.2f}{p99s[0]:10.2f}{p99s[1]:7.2f}"
            f"{cpus[0]:10.1f}{cpus[1]:7.1f}{cpus[0] / cpus[1] if cpus[1] else 0:7.1f}"
        )
    print("\nrange of the requests a second over the alternations:")
    for workload in workloads:
        ranges = [
            f"{name} {min(m.rate for m in side):,.0f} to {max(m.rate for m in side):,.0f}"
            for name, side in ((name, results[workload, name]) for name in ("oarlock", "redis"))
        ]
        print(f"{workload.command} -P {workload.pipeline:<3} {';  '.join(ranges)}")


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def note(text: str, server: Server | None) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}  {server.name if server else ''}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
