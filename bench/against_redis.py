"""``make bench``: redis-benchmark against a three-replica cluster and against one Redis that syncs every write.

The two take turns within one run, so that a busy moment of the machine meets both, and start anew for each:
launches of the same program differ by a twentieth, each for as long as it runs. The table shows medians. Both make a
write durable before they acknowledge it: the cluster on a majority of three replicas, Redis on itself. All processes,
and the load generator, share this machine.
"""

import argparse
import os
import subprocess
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from load import CLIENTS, KEYS, Measurement, fill, measure, median, note, redis_benchmark, save, verify
from servers import BUILD, cluster, redis_server, require

REQUESTS = {1: 100_000, 64: 1_000_000}
"""Requests of one measurement, by pipeline depth: a few seconds each."""


class Workload(NamedTuple):
    command: str
    pipeline: int

    def requests(self, scale: float) -> int:
        per_depth = REQUESTS.get(self.pipeline, REQUESTS[1] if self.pipeline < 8 else REQUESTS[64])
        return max(int(per_depth * scale), CLIENTS * self.pipeline)


Results = dict[tuple[Workload, str], list[Measurement]]


def main() -> None:
    options = parse_arguments()
    require("redis-benchmark", "redis-server")
    workloads = [Workload(command, depth) for depth in options.pipelines for command in ("SET", "GET")]
    results: Results = defaultdict(list)
    for alternation in range(1, options.alternations + 1):
        with (
            tempfile.TemporaryDirectory(prefix="oarlock-bench-", dir=options.directory) as directory,
            cluster(Path(directory) / "oarlock", options.at) as ours,
            redis_server(Path(directory) / "redis") as theirs,
        ):
            for server in (ours, theirs):
                fill(server)
            for workload in workloads:
                for server in (ours, theirs) if alternation % 2 else (theirs, ours):
                    command, depth = workload
                    note(f"{alternation}/{options.alternations}  {command} -P {depth}  {server.name}")
                    load = partial(redis_benchmark, server, command, depth, workload.requests(options.scale))
                    results[workload, server.name].append(measure(server, load))
            for server in (ours, theirs):
                verify(server)
    note("")
    print_table(workloads, results, options)
    if options.json is not None:
        save({(*workload, name): side for (workload, name), side in results.items()}, options.json)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench"
    )
    parser.add_argument("--alternations", type=int, default=3, help="how often each server has its turn (3)")
    parser.add_argument("--at", choices=("leader", "follower"), default="leader", help="whom the clients talk to")
    parser.add_argument("--pipelines", type=int, nargs="+", default=[1, 64], help="pipeline depths (1 64)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the usual number of requests (1.0)")
    parser.add_argument("--directory", default=None, help="where the data goes, to measure another disk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, for make plots")
    return parser.parse_args()


def print_table(workloads: list[Workload], results: Results, options: argparse.Namespace) -> None:
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()[2]
    print(
        f"Three replicas ({BUILD}), clients at the {options.at}, against one Redis ({version}) with appendfsync always."
    )
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


if __name__ == "__main__":
    main()
