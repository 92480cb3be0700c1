"""What every comparison shares: the keys, the clients, redis-benchmark as a client, and what a measurement holds."""

import csv
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from servers import CLOCK_TICKS, RedisServer, Server

KEYS = 100_000
CLIENTS = 50
VALUE = "xxx"
"""What redis-benchmark writes."""
TIMEOUT_S = 600
"""For one measurement; redis-benchmark waits for ever when its server is gone."""


@dataclass(frozen=True)
class Load:
    """What a client program saw."""

    operations: int
    rate: float
    """Operations a second."""
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Measurement(Load):
    """A load, and what it cost."""

    cpu_s_per_million: float
    """Processor time of all server processes for a million operations; also, microseconds for one."""
    client_cpu_s_per_million: float
    """The same of the client program."""
    elsewhere: float
    """Share of the machine's processor time that went to anything else meanwhile: it was missing to both."""


def measure(server: Server, load: Callable[[], Load]) -> Measurement:
    """Put a load on a server; a client program must have ended when ``load`` returns."""
    server_before, client_before, machine_before = server.cpu_s(), _client_cpu_s(), machine_cpu_s()
    begin = time.monotonic()
    seen = load()
    elapsed_s = time.monotonic() - begin
    server_s, client_s = server.cpu_s() - server_before, _client_cpu_s() - client_before
    others_s = machine_cpu_s() - machine_before - server_s - client_s
    millions = seen.operations / 1_000_000
    return Measurement(
        seen.operations,
        seen.rate,
        seen.p50_ms,
        seen.p99_ms,
        cpu_s_per_million=server_s / millions,
        client_cpu_s_per_million=client_s / millions,
        elsewhere=others_s / elapsed_s / (os.cpu_count() or 1),
    )


def redis_benchmark(server: Server, command: str, pipeline: int, requests: int) -> Load:
    arguments = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-c", str(CLIENTS)]
    arguments += ["-P", str(pipeline), "-n", str(requests), "-r", str(KEYS)]
    arguments += ["-t", command.lower(), "--csv", "--precision", "3"]
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S)
    if run.returncode or "rror" in run.stdout + run.stderr:
        sys.exit(f"redis-benchmark against {server.name} failed:\n{run.stdout}{run.stderr}")
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    return Load(requests, float(row["rps"]), float(row["p50_latency_ms"]), float(row["p99_latency_ms"]))


def key_name(number: int) -> str:
    """As redis-benchmark names it."""
    return f"key:{number:012}"


def fill(server: RedisServer) -> None:
    """Give every key a value of the size that redis-benchmark writes, so that every GET finds one."""
    with server.client() as client:
        for start in range(0, KEYS, 1000):
            client.mset({key_name(number): VALUE for number in range(start, start + 1000)})


def verify(server: RedisServer) -> None:
    """That what was measured were answers: all keys are there, with values of the right size, and no others."""
    with server.client() as client:
        size = client.dbsize()
        if size != KEYS:
            sys.exit(f"{server.name} holds {size} keys after the benchmark, not {KEYS}: its numbers mean nothing")
        values: Any = client.mget([key_name(number) for number in range(0, KEYS, 97)])
        if any(value is None or len(value) != len(VALUE) for value in values):
            sys.exit(f"{server.name} holds wrong values after the benchmark: its numbers mean nothing")


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def save(results: Mapping[tuple[str, int, str], Sequence[Measurement]], path: Path) -> None:
    """Write every measurement, by command, pipeline depth and server, for ``make plots``."""
    rows = [
        {"command": command, "pipeline": depth, "server": server, **asdict(measurement)}
        for (command, depth, server), side in results.items()
        for measurement in side
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n")


def note(text: str) -> None:
    """Progress, on a terminal only; an empty text wipes it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _client_cpu_s() -> float:
    """Of all child processes that have ended: the servers have not, so between two calls those are client programs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_cpu_s() -> float:
    """Of all processes and the kernel, on all cores."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / CLOCK_TICKS
