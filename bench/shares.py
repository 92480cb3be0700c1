"""``make bench-shares``: where each microsecond of a GET and of a SET goes, in the leader and in a follower.

A sampler looks at one replica's stacks, native frames among them, while redis-benchmark keeps it busy; each sample
counts for the kernel call that it is in, or for the part of Oarlock whose code is innermost. The shares are then
multiplied by the processor time that the kernel says the replica took for a command.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from load import CLIENTS, KEYS, fill, note
from servers import RedisServer, cluster, cpu_s, require

SAMPLER = Path(sys.executable).parent / "py-spy"
SAMPLES_A_SECOND = 400
WARM_UP_S = 1.0
CASES = (("GET", 1), ("SET", 1), ("GET", 64), ("SET", 64))

KERNEL = {
    "write": "write to sockets",
    "writev": "write to sockets",
    "sendmsg": "write to sockets",
    "read": "read from sockets",
    "recv": "read from sockets",
    "epoll_pwait": "wait for sockets",
    "epoll_wait": "wait for sockets",
    "fdatasync": "write, sync the log",
    "pwrite64": "write, sync the log",
    "pwrite": "write, sync the log",
}
"""Of the innermost frame."""
LOCK = ("take_gil", "pthread_cond_timedwait", "PyThread_acquire_lock", "futex")
PARTS = {
    "server/redis": "Redis protocol",
    "node/reads": "node",
    "node": "node",
    "core": "core (Raft)",
    "kv": "state machine",
    "network": "links and codec",
    "storage": "log",
}
"""Of the innermost frame of Oarlock's own code, by folder."""
REST = "event loop"
WAITING = ("interpreter lock",)
"""Takes time, and no processor."""


def main() -> None:
    options = parse_arguments()
    require("redis-benchmark")
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="oarlock-bench-", dir=options.directory) as name,
        cluster(Path(name) / "oarlock", "leader") as server,
    ):
        fill(server)
        for command, depth in CASES:
            for role, pid in replicas(Path(name) / "oarlock", server).items():
                note(f"{command} -P {depth}: {role}")
                rows.append(look(server, command, depth, role, pid, options.seconds))
    note("")
    print_table(rows)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make bench-shares"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is looked at (8)")
    parser.add_argument("--directory", default=None, help="where the data goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the shares there, for make plots")
    return parser.parse_args()


def replicas(directory: Path, server: RedisServer) -> dict[str, int]:
    """The leader's process, and that of the follower which has done most: to it the rounds go."""
    found = json.loads((directory / "cluster.json").read_text())["replicas"]
    pids = {replica["redis"].rpartition(":")[2]: replica["pid"] for replica in found}
    leader = pids.pop(str(server.port))
    return {"leader": leader, "follower": max(pids.values(), key=cpu_s)}


def look(server: RedisServer, command: str, depth: int, role: str, pid: int, seconds: float) -> dict[str, object]:
    """Sample one replica under one load."""
    arguments = ["redis-benchmark", "-p", str(server.port), "-c", str(CLIENTS), "-P", str(depth)]
    arguments += ["-n", str(10**9), "-r", str(KEYS), "-t", command.lower(), "-q"]
    load = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        time.sleep(WARM_UP_S)
        with tempfile.NamedTemporaryFile(suffix=".raw") as raw:
            before, done = cpu_s(pid), commands(server)
            arguments = [str(SAMPLER), "record", "--pid", str(pid), "--native", "--threads", "--format", "raw"]
            arguments += ["--duration", str(round(seconds)), "--rate", str(SAMPLES_A_SECOND), "--output", raw.name]
            sampler = subprocess.run(arguments, capture_output=True, text=True)
            if sampler.returncode:
                sys.exit(f"py-spy cannot look at process {pid} (it needs the right to trace it):\n{sampler.stderr}")
            used_s, count = cpu_s(pid) - before, commands(server) - done
            shares = counted(Path(raw.name).read_text())
    finally:
        load.send_signal(signal.SIGINT)
        load.wait()
    busy = sum(samples for part, samples in shares.items() if part not in WAITING)
    micros = 1e6 * used_s / count
    return {
        "command": command,
        "pipeline": depth,
        "role": role,
        "rate": count / seconds,
        "micros": micros,
        "parts": {part: micros * samples / busy for part, samples in shares.most_common()},
    }


def counted(raw: str) -> Counter[str]:
    """Samples by part. Threads that wait for work do not count."""
    shares: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        part = part_of(frames)
        if part:
            shares[part] += int(samples)
    return shares


def part_of(frames: list[str]) -> str:
    names = [frame.partition(" (")[0] for frame in frames]
    idle = any(name in ("_queue_SimpleQueue_get", "_queue_SimpleQueue_get_impl") for name in names)
    if idle or not ("MainThread" in frames[0] or "oarlock-write" in frames[0]):
        return ""
    if names[-1] in KERNEL:
        return KERNEL[names[-1]]
    if any(name.startswith(LOCK) for name in names[-4:]) or re.match("0x", names[-1]):
        return "interpreter lock"
    for frame in reversed(frames):
        if (found := re.search(r"\(oarlock/([a-z_/]+?)(?:/[a-z_]+)?\.py", frame)) is not None:
            folder = found[1]
            return next((part for name, part in PARTS.items() if folder.startswith(name)), REST)
    return REST


def commands(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("stats")["total_commands_processed"])


def print_table(rows: list[dict[str, object]]) -> None:
    print(f"Microseconds of processor time a command: {CLIENTS} clients at the leader of three replicas,")
    print(f"{KEYS:,} keys, {os.cpu_count()} cores shared by all; sampled while it ran, which slows it down.\n")
    heads = [f"{row['command']} -P {row['pipeline']} {row['role']}" for row in rows]
    parts: dict[str, float] = {}
    for row in rows:
        assert isinstance(row["parts"], dict)
        for part, micros in row["parts"].items():
            parts[part] = max(parts.get(part, 0.0), micros)
    width = max(map(len, heads)) + 2
    print(" " * 20 + "".join(f"{head:>{width}}" for head in heads))
    for part in sorted(parts, key=lambda part: (part in WAITING, -parts[part])):
        cells = [f"{row['parts'].get(part, 0.0):.2f}" for row in rows]  # type: ignore[attr-defined]
        print(f"{part:<20}" + "".join(f"{cell:>{width}}" for cell in cells))
    print(f"{'together':<20}" + "".join(f"{row['micros']:>{width}.2f}" for row in rows))
    print("\nWaiting for the interpreter lock takes time and no processor: it is not in the sum.")


if __name__ == "__main__":
    main()
