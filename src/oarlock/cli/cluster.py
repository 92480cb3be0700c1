"""A cluster of ``serve`` processes on this machine: starts them, says when they serve, stops them.

It never restarts a replica that died: whoever ended it may want to see the cluster without it, and the command
in ``cluster.json`` brings it back.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from oarlock.cli.children import Child, how_it_ended
from oarlock.cli.probe import Refused, ask, raft_info
from oarlock.types import ReplicaId

POLL_INTERVAL_S = 0.05
PROBE_TIMEOUT_S = 1.0
PATIENCE_S = 10.0
"""How long without a leader before each line that says so."""
STOP_TIMEOUT_S = 10.0
"""How long a replica may take to finish before it is killed; more than a hand-over and a last fsync need."""


class ReplicaProcess(msgspec.Struct, omit_defaults=False):
    """One entry of ``cluster.json``. It stays when the process has died."""

    id: ReplicaId
    pid: int
    command: list[str]
    """Run by hand, this restarts the replica."""
    raft: str
    redis: str
    http: str
    data_dir: str


class ClusterFile(msgspec.Struct):
    """``cluster.json``: what runs where, for people, scripts and tests."""

    replicas: list[ReplicaProcess]

    def write(self, path: Path) -> None:
        """Replace the file at once, so that no reader ever sees half of it."""
        draft = path.with_name(path.name + ".new")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        os.replace(draft, path)


class LocalCluster:
    """Runs one child process per replica until :meth:`stop` is called or all of them are gone."""

    def __init__(self, directory: Path, replicas: Sequence[ReplicaProcess], say: Callable[[str], None]) -> None:
        """``say`` takes each line for the person who watches."""
        self._directory = directory
        self._replicas = list(replicas)
        self._say = say
        self._children: dict[ReplicaId, Child] = {}
        self._ended: dict[ReplicaId, int] = {}
        self._stops = 0

    def stop(self) -> None:
        """End :meth:`run` soon; asked twice, without waiting for anything to finish. Callable in a signal handler."""
        self._stops += 1

    def run(self, needed: int) -> bool:
        """Start all, say ``ready`` once a leader serves, and stay until :meth:`stop`.

        Gives up (False) when fewer than ``needed`` replicas are left before the cluster is ready, and when none is
        left after. True: it ran until it was stopped.
        """
        try:
            self._start()
            ready = False
            next_complaint = time.monotonic() + PATIENCE_S
            while not self._stops:
                self._notice_deaths()
                if len(self._children) < (1 if ready else needed):
                    return False
                if not ready:
                    ready, obstacle = self._look()
                    if not ready and time.monotonic() > next_complaint and not self._stops:
                        self._say(f"still waiting: {obstacle}")
                        next_complaint = time.monotonic() + PATIENCE_S
                time.sleep(POLL_INTERVAL_S)
            return True
        finally:
            self._end_children()

    def refused_to_start(self) -> bool:
        """Whether a replica said that it cannot start as asked (exit status 2)."""
        return 2 in self._ended.values()

    def _start(self) -> None:
        logs = self._directory / "logs"
        logs.mkdir(exist_ok=True)
        for replica in self._replicas:
            if self._stops:
                return
            log = logs / f"{replica.id}.log"
            child = Child(replica.command, log)
            self._children[replica.id] = child
            replica.pid = child.pid
            self._say(
                f"replica {replica.id}  redis {replica.redis}  raft {replica.raft}  http {replica.http}"
                f"  pid {child.pid}  log {_shortest(log)}"
            )
        ClusterFile(self._replicas).write(self._directory / "cluster.json")

    def _notice_deaths(self) -> None:
        for replica, child in list(self._children.items()):
            status = child.status()
            if status is not None:
                del self._children[replica]
                self._ended[replica] = status
                self._say(f"replica {replica} {how_it_ended(status)}; it is not restarted")
                if status > 0:
                    for line in child.last_words():
                        self._say(f"    {line}")

    def _look(self) -> tuple[bool, str]:
        """Whether all living replicas know one leader and answer a linearizable read; if not, what is missing."""
        leaders: dict[str, int] = {}
        living = [replica for replica in self._replicas if replica.id in self._children]
        for replica in living:
            try:
                info = raft_info(replica.redis, timeout_s=PROBE_TIMEOUT_S)
            except (OSError, Refused):
                return False, f"replica {replica.id} does not answer yet; see {_shortest(self._log_of(replica))}"
            leaders[info.get("leader_id", "0")] = int(info.get("term", 0))
        if len(leaders) != 1 or "0" in leaders:
            return False, "no leader is elected; " + self._who_is_missing()
        for replica in living:
            try:
                ask(replica.redis, "EXISTS", "oarlock", timeout_s=PROBE_TIMEOUT_S)
            except (OSError, Refused) as error:
                return False, f"replica {replica.id} serves no reads yet ({error})"
        ((leader, term),) = leaders.items()
        self._say(f"replica {leader} leads in term {term}")
        self._say("ready")
        return True, ""

    def _log_of(self, replica: ReplicaProcess) -> Path:
        return self._directory / "logs" / f"{replica.id}.log"

    def _who_is_missing(self) -> str:
        if not self._ended:
            return f"see the logs in {_shortest(self._directory / 'logs')}"
        missing = " and ".join(f"replica {replica}" for replica in sorted(self._ended))
        return f"{missing} ended, and a cluster needs all its replicas to form and a majority from then on"

    def _end_children(self) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(child.status() is None for child in self._children.values()):
            if time.monotonic() > deadline or self._stops > 1:
                break
            time.sleep(POLL_INTERVAL_S)
        for replica, child in self._children.items():
            if child.status() is None:
                self._say(f"replica {replica} did not finish and is killed")
                child.kill()


def _shortest(path: Path) -> str:
    """The path as a person here would type it."""
    return min(str(path), os.path.relpath(path), key=len)
