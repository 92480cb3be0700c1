"""``LocalCluster`` with stubs for replicas: what it says, what it leaves alone, and that nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from oarlock.cli import children as children_module
from oarlock.cli import cluster as cluster_module
from oarlock.cli.cluster import LocalCluster, ReplicaProcess
from oarlock.types import ReplicaId
from tests.cli.conftest import DEADLINE_S, is_running, until
from tests.ports import free_ports

STUB = Path(__file__).with_name("stub_replica.py")


class Watched:
    """A cluster of stubs that runs in a thread, and what it has said."""

    def __init__(self, directory: Path, first_port: int, behaviours: list[str]) -> None:
        self.directory = directory
        self.said: list[str] = []
        replicas = []
        for offset, behaviour in enumerate(behaviours):
            redis = f"127.0.0.1:{first_port + offset}"
            command = [sys.executable, str(STUB), str(offset + 1), redis, behaviour]
            replicas.append(ReplicaProcess(ReplicaId(offset + 1), 0, command, "", redis, "", str(directory)))
        self.cluster = LocalCluster(directory, replicas, self.said.append)
        self.outcome: bool | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.needed = len(behaviours) // 2 + 1

    def _run(self) -> None:
        self.outcome = self.cluster.run(self.needed)

    def start(self) -> "Watched":
        self.thread.start()
        return self

    def join(self) -> bool | None:
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive(), self.said
        return self.outcome

    def entries(self) -> list[dict[str, object]]:
        return list(json.loads((self.directory / "cluster.json").read_text())["replicas"])

    def pids(self) -> list[int]:
        return [int(str(entry["pid"])) for entry in self.entries()]

    def has_said(self, text: str) -> bool:
        return any(text in line for line in self.said)


@pytest.fixture
def stubs(tmp_path: Path):
    started: list[Watched] = []

    def start(*behaviours: str) -> Watched:
        watched = Watched(tmp_path, free_ports(len(behaviours)), list(behaviours))
        started.append(watched)
        return watched.start()

    yield start
    for watched in started:
        watched.cluster.stop()
        watched.cluster.stop()
        watched.thread.join(DEADLINE_S)
        for pid in watched.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_says_ready_once_a_leader_serves_and_stops_all_when_asked(stubs) -> None:
    watched = stubs("", "", "")
    until(lambda: "ready" in watched.said, "ready")
    assert watched.has_said("replica 1 leads in term 7")
    pids = watched.pids()
    assert all(is_running(pid) for pid in pids)
    watched.cluster.stop()
    assert watched.join() is True
    assert not any(is_running(pid) for pid in pids)


def test_is_not_ready_without_a_leader(stubs, monkeypatch) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE_S", 0.3)
    watched = stubs("", "leaderless", "")
    until(lambda: watched.has_said("still waiting: no leader is elected"), "complaint")
    assert "ready" not in watched.said


def test_a_replica_that_dies_is_reported_and_not_restarted_and_its_entry_stays(stubs) -> None:
    watched = stubs("", "", "")
    until(lambda: "ready" in watched.said, "ready")
    before = watched.entries()
    os.kill(watched.pids()[1], signal.SIGKILL)
    until(lambda: watched.has_said("replica 2 was ended by SIGKILL; it is not restarted"), "report")
    assert watched.entries() == before
    assert watched.thread.is_alive()
    assert [is_running(pid) for pid in watched.pids()] == [True, False, True]


def test_ready_is_said_without_a_minority_and_its_last_words_are_shown(stubs) -> None:
    watched = stubs("", "", "dies")
    until(lambda: "ready" in watched.said, "ready")
    assert watched.has_said("replica 3 exited with status 2; it is not restarted")
    assert watched.has_said("the data directory is somebody else's")


def test_gives_up_when_too_few_are_left_before_it_is_ready(stubs) -> None:
    watched = stubs("", "dies", "dies")
    assert watched.join() is False
    assert watched.cluster.refused_to_start()
    assert not any(is_running(pid) for pid in watched.pids())
    assert "ready" not in watched.said


def test_gives_up_when_none_is_left(stubs) -> None:
    watched = stubs("", "", "")
    until(lambda: "ready" in watched.said, "ready")
    for pid in watched.pids():
        os.kill(pid, signal.SIGKILL)
    assert watched.join() is False
    assert not watched.cluster.refused_to_start()


def test_a_replica_that_does_not_finish_is_killed(stubs, monkeypatch) -> None:
    monkeypatch.setattr(cluster_module, "STOP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(children_module, "_prctl", None)  # or the kernel would kill it for us
    watched = stubs("", "deaf", "")
    until(lambda: "ready" in watched.said, "ready")
    pids = watched.pids()
    watched.cluster.stop()
    assert watched.join() is True
    assert watched.has_said("replica 2 did not finish and is killed")
    assert not any(is_running(pid) for pid in pids)


def test_a_stopped_replica_is_continued_so_that_it_can_finish(stubs) -> None:
    watched = stubs("", "", "")
    until(lambda: "ready" in watched.said, "ready")
    os.kill(watched.pids()[2], signal.SIGSTOP)
    watched.cluster.stop()
    assert watched.join() is True
    assert not watched.has_said("did not finish")


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from oarlock.cli.children import Child
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        children = [Child(sleep, Path({str(tmp_path)!r}) / f"{{n}}.log") for n in range(3)]
        print(*(child.pid for child in children), flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 3 and all(is_running(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not any(is_running(pid) for pid in pids), "children gone", 5.0)
