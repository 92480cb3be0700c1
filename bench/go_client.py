"""The load generator in ``bench/etcd/``, which is written in Go because etcd's own client is: built and run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from load import CLIENTS, KEYS, TIMEOUT_S, VALUE, Load
from servers import Server

SOURCES = Path(__file__).parent / "etcd"
GOPATH = Path("/usr/share/gocode")
"""Where Debian puts the sources of Go libraries."""
ETCD_CLIENT = GOPATH / "src/go.etcd.io/etcd/clientv3"
GO = "/usr/lib/go/bin/go"
"""Debian's own compiler, the one that fits Debian's libraries; a newer one in the PATH may not."""
BUILD_TIMEOUT_S = 600

Command = Literal["put", "get", "get-serializable"]


class GoClient:
    """A built load generator."""

    def __init__(self, directory: Path) -> None:
        """Build it in a directory."""
        self._program = directory / "load"
        # What another Go on this machine was told must not reach this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
        environment |= {"GOPATH": str(GOPATH), "GO111MODULE": "off", "GOFLAGS": "-buildvcs=false"}
        command = [GO, "build", "-o", str(self._program), "."]
        run = subprocess.run(
            command, cwd=SOURCES, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
        )
        if run.returncode:
            sys.exit(f"the Go client could not be built:\n{run.stderr}")

    def load(self, server: Server, command: Command, connections: int, duration_s: float) -> Load:
        """What the clients see that share some connections (to etcd; those of Redis cannot, and have one each)."""
        arguments = [str(self._program), "-speak", "etcd" if server.name == "etcd" else "redis"]
        arguments += ["-address", f"127.0.0.1:{server.port}", "-command", command, "-value", VALUE]
        arguments += ["-clients", str(CLIENTS), "-connections", str(connections), "-keys", str(KEYS)]
        arguments += ["-duration", f"{duration_s}s"]
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=TIMEOUT_S)
        if run.returncode:
            sys.exit(f"the Go client against {server.name} failed:\n{run.stdout}{run.stderr}")
        seen = json.loads(run.stdout)
        return Load(seen["operations"], seen["operations"] / seen["seconds"], seen["p50_ms"], seen["p99_ms"])


def require_etcd() -> None:
    """Exit with a sentence if something is missing that the comparison with etcd needs, and tell how to install it."""
    missing = [
        what
        for what, present in (
            ("redis-benchmark", shutil.which("redis-benchmark") is not None),
            ("etcd", shutil.which("etcd") is not None),
            (f"Debian's Go ({GO})", Path(GO).exists()),
            (f"etcd's Go client ({ETCD_CLIENT})", ETCD_CLIENT.is_dir()),
        )
        if not present
    ]
    if missing:
        sys.exit(
            f"missing: {', '.join(missing)}\nDebian 12 has all of it: "
            "apt-get install redis-tools etcd-server golang-etcd-server-dev golang-go"
        )
