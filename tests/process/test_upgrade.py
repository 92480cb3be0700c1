"""A cluster goes from one version to the next, one replica at a time, while clients write.

The version before is taken from the repository's history; where that is not there, there is nothing to compare with.
"""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.process.replicas import RUNNING, Process, Processes, until

BEFORE = "955972061e1768f354fe0d0fd493d2810c781972"
"""The last commit of protocol 1 and log format 1: before there were snapshots, and changes of members."""
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def old_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the version before."""
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", BEFORE, "src"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"commit {BEFORE} is not in this clone")
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")
    return directory / "src"


@contextmanager
def of_old(root: Path, sources: Path) -> Iterator[Processes]:
    """Three replicas, initialised and run by the old program."""
    cluster = Processes.__new__(Processes)
    first = free_ports(9)
    cluster.all = [
        Process(n, root / str(n), first + 3 * n - 3, first + 3 * n - 2, first + 3 * n - 1) for n in (1, 2, 3)
    ]
    cluster.relays = {}
    members = ",".join(f"{replica.number}={replica.raft}" for replica in cluster.all)
    for replica in cluster.all:
        run_old(replica, sources)
        init = ["init", "--data-dir", str(replica.directory), "--id", str(replica.number), "--members", members]
        subprocess.run([*replica.command[:5], *init], check=True, stdout=subprocess.DEVNULL)
        replica.start()
    RUNNING.append(cluster)
    try:
        yield cluster
    finally:
        RUNNING.remove(cluster)
        for process in (process for replica in cluster.all for process in replica.processes):
            if process.poll() is None:
                process.kill()
                process.wait()


def run_old(replica: Process, sources: Path) -> None:
    """Its program is the old one from here on."""
    replica.command[:1] = ["/usr/bin/env", f"PYTHONPATH={sources}", sys.executable]


def run_new(replica: Process) -> None:
    """Its program is this one from here on."""
    replica.command[:3] = [sys.executable]


def serves(replica: Process) -> object:
    with replica.client(timeout_s=1) as client:
        return client.set("probe", replica.number)


@pytest.mark.long
def test_one_replica_after_another(tmp_path: Path, old_program: Path) -> None:
    with of_old(tmp_path, old_program) as cluster:
        for replica in cluster.all:
            until(lambda replica=replica: serves(replica), "the old version serves")  # type: ignore[misc]
        count = 0
        for replica in cluster.all:
            assert replica.end() == 0
            run_new(replica)
            others = [other for other in cluster.all if other is not replica]
            count += increments(others)
            replica.start()
            until(lambda replica=replica: serves(replica), "the new version serves")  # type: ignore[misc]
            count += increments(cluster.all)
        for replica in cluster.all:
            with replica.client() as client:
                assert int(client.get("n") or 0) == count
            assert "snapshot_index" in replica.info()


def increments(replicas: list[Process], times: int = 20) -> int:
    """How many were acknowledged: all of them."""
    for replica in replicas:
        with replica.client() as client:
            for _ in range(times):
                client.incr("n")
    return times * len(replicas)
