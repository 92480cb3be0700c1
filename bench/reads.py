"""``make bench-reads``: what linearizability costs a read.

The same server twice, taking turns within one run: as it is, and answering GETs from its leader's state at once,
without the round that proves that it still leads (``unverified.py``). Both start anew for each turn: launches of
the same program differ by a twentieth, each for as long as it runs. At the end the followers of each are stopped, to
show that the one needs them for a GET and the other does not: else the comparison would be void.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis
from load import CLIENTS, KEYS, Measurement, fill, key_name, measure, median, note, redis_benchmark, save, verify
from servers import BUILD, RedisServer, cluster, require

REQUESTS = {1: 100_000, 64: 1_000_000}
"""Requests of one measurement, by pipeline depth: a few seconds each."""
TARGET = {1: "0.8 or better", 64: "near 1"}
"""For the rate of verified reads, as a share of the rate of unverified ones."""
PATIENCE_S = 1.0
"""How long a GET may take that needs nobody else; one that needs the stopped followers takes longer."""

Results = dict[tuple[int, str], list[Measurement]]


def main() -> None:
    options = parse_arguments()
    require("redis-benchmark")
    results: Results = defaultdict(list)
    answers: dict[str, bool] = {}
    for alternation in range(1, options.alternations + 1):
        with (
            tempfile.TemporaryDirectory(prefix="oarlock-bench-", dir=options.directory) as name,
            cluster(Path(name) / "verified", "leader", "verified") as verified,
            cluster(Path(name) / "unverified", "leader", "unverified", package=options.unverified) as unverified,
        ):
            servers = (verified, unverified)
            for server in servers:
                fill(server)
            for depth, requests in REQUESTS.items():
                for server in servers if alternation % 2 else reversed(servers):
                    note(f"{alternation}/{options.alternations}  GET -P {depth}  {server.name}")
                    count = max(int(requests * options.scale), CLIENTS * depth)
                    load = partial(redis_benchmark, server, "GET", depth, count)
                    results[depth, server.name].append(measure(server, load))
            for server in servers:
                verify(server)
            if alternation == options.alternations:
                answers = {server.name: answers_alone(server, Path(name) / server.name) for server in servers}
    if answers != {"verified": False, "unverified": True}:
        sys.exit(f"with both followers stopped, a GET was answered: {answers}; so the comparison means nothing")
    note("")
    print_table(results, options.alternations)
    if options.json is not None:
        save({("GET", depth, name): side for (depth, name), side in results.items()}, options.json)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-reads"
    )
    parser.add_argument("--alternations", type=int, default=5, help="how often each server has its turn (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the usual number of requests (1.0)")
    parser.add_argument("--directory", default=None, help="where the data goes")
    parser.add_argument(
        "--unverified", type=Path, metavar="DIR", required=True, help="where the other package lies (unverified.py)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there, for make plots")
    return parser.parse_args()


def answers_alone(server: RedisServer, directory: Path) -> bool:
    """Whether the leader answers a GET while no follower runs, and before it has noticed that none does."""
    with redis.Redis(port=server.port, socket_timeout=PATIENCE_S) as client:
        client.ping()
        with stopped_followers(directory, server.port):
            try:
                return client.get(key_name(0)) is not None
            except redis.RedisError:  # also its own refusal, once it has stepped down
                return False


@contextmanager
def stopped_followers(directory: Path, leader_port: int) -> Iterator[None]:
    replicas = json.loads((directory / "cluster.json").read_text())["replicas"]
    followers = [replica["pid"] for replica in replicas if not replica["redis"].endswith(f":{leader_port}")]
    try:
        for pid in followers:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in followers:
            os.kill(pid, signal.SIGCONT)


def print_table(results: Results, alternations: int) -> None:
    print(f"GETs at the leader of three replicas ({BUILD}): verified by a round, and answered from its state at once.")
    print(f"{CLIENTS} clients, {KEYS:,} keys, {os.cpu_count()} cores shared by all; medians of {alternations}.\n")
    print("                        requests a second         latency ms    CPU µs a request")
    print("                      median   range              p50     p99        3 servers")
    for (depth, name), side in results.items():
        rates = [m.rate for m in side]
        print(
            f"GET -P {depth:<3} {name:<10}{median(rates):8,.0f}   {min(rates):,.0f} to {max(rates):,.0f}".ljust(49)
            + f"{median(m.p50_ms for m in side):6.2f}{median(m.p99_ms for m in side):8.2f}"
            f"{median(m.cpu_s_per_million for m in side):17.1f}"
        )
    elsewhere = median(m.elsewhere for side in results.values() for m in side)
    print(f"\nAnything else took {elsewhere:.0%} of the processor time meanwhile.")
    print("With both followers stopped, the unverified leader answered a GET; the verified one did not.\n")
    print("Verified as a multiple of unverified; in brackets, the lowest and the highest of an alternation:")
    for depth in REQUESTS:
        verified, unverified = (results[depth, name] for name in ("verified", "unverified"))
        ratios = [mine.rate / other.rate for mine, other in zip(verified, unverified, strict=True)]
        cpus = [median(m.cpu_s_per_million for m in side) for side in (verified, unverified)]
        print(
            f"GET -P {depth:<3} rate {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})   "
            f"target {TARGET[depth]:<14}   CPU {cpus[0] / cpus[1]:.2f}"
        )


if __name__ == "__main__":
    main()
