"""A cluster of real processes for tests: ``oarlock serve``, signals, restarts, logs on failure."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from oarlock import initialise
from oarlock.cli.probe import raft_info
from tests.process.relay import Relay

DEADLINE_S = 30.0
NOT_EXECUTED = (redis.exceptions.ClusterDownError, redis.exceptions.TryAgainError)
"""What redis-py makes of CLUSTERDOWN and TRYAGAIN, whose codes it cuts off."""


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Wait for a condition; return what it returned. An error of a replica that is not there counts as not yet."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            if value := condition():
                return value
        except (OSError, redis.RedisError):
            pass
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)


class Process:
    """One replica: its directory, its addresses, and its process while it runs."""

    def __init__(
        self,
        number: int,
        directory: Path,
        raft_port: int,
        redis_port: int,
        http_port: int,
        program: Sequence[str] = ("-m", "oarlock"),
        options: Sequence[str] = (),
    ) -> None:
        """``program`` is what the interpreter runs, and ``options`` are further ones of its ``serve``."""
        self.number = number
        self.directory = directory
        self.redis_port = redis_port
        self.redis = f"127.0.0.1:{redis_port}"
        self.raft = f"127.0.0.1:{raft_port}"
        self.http = f"127.0.0.1:{http_port}"
        self.command = [sys.executable, *program, "serve", "--data-dir", str(directory)]
        self.command += ["--raft", self.raft, "--redis", self.redis, "--http", self.http, *options]
        self.log = directory.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        """The newest."""
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(self.process)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(deadline_s)

    def last_words(self, size: int = 6000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def knows_a_leader(self) -> bool:
        """Whether it knows the leader."""
        return self.info()["leader_id"] != "0"

    def info(self, timeout_s: float = 1.0) -> dict[str, str]:
        """INFO raft."""
        return raft_info(self.redis, timeout_s=timeout_s)

    def client(self, timeout_s: float = 8.0, **options: Any) -> "redis.Redis":
        """A client that sends every command once."""
        return redis.Redis(
            port=self.redis_port,
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            **options,
        )

    def async_client(self, timeout_s: float = 8.0, **options: Any) -> "redis.asyncio.Redis":
        """The same for asyncio."""
        return redis.asyncio.Redis(
            port=self.redis_port,
            socket_timeout=timeout_s,
            retry=AsyncRetry(NoBackoff(), 0),
            decode_responses=True,
            single_connection_client=True,
            **options,
        )


class Processes:
    """A cluster of them."""

    def __init__(
        self,
        root: Path,
        size: int,
        first_port: int,
        relayed: bool,
        program: Sequence[str] = ("-m", "oarlock"),
        options: Sequence[str] = (),
    ) -> None:
        """``relayed``: the replicas reach each other through relays."""
        self._program, self._options = program, options
        ports = iter(range(first_port, first_port + 3 * size))
        self._root, self._next_port = root, first_port + 3 * size
        self.all = [self._process(n, ports) for n in range(1, size + 1)]
        self.relays = {replica.number: Relay(replica.raft) for replica in self.all} if relayed else {}
        for replica in self.all:
            self.initialise(replica)

    def newcomer(self) -> Process:
        """A replica that has yet to join, with ports and a directory of its own that is not initialised."""
        ports = iter(range(self._next_port, self._next_port + 3))
        self._next_port += 3
        number = len(self.all) + 1
        self.all.append(self._process(number, ports))
        return self.all[-1]

    def _process(self, number: int, ports: Iterator[int]) -> Process:
        places = next(ports), next(ports), next(ports)
        return Process(number, self._root / str(number), *places, self._program, self._options)

    def __getitem__(self, number: int) -> Process:
        return self.all[number - 1]

    def initialise(self, replica: Process, cluster_name: str = "oarlock") -> None:
        """What ``oarlock init`` does, without the cost of another process."""
        relays = self.relays
        members = {n: relays[n].address if relays else self[n].raft for n in range(1, len(self.all) + 1)}
        asyncio.run(initialise(str(replica.directory), replica.number, members, cluster_name))

    def start(self) -> None:
        for replica in self.all:
            replica.start()
        self.leader()

    @property
    def living(self) -> list[Process]:
        return [replica for replica in self.all if replica.runs]

    def leader(self, besides: Process | None = None) -> Process:
        """The replica that leads and serves, as it and another living one (if there is one) say."""

        def agreed() -> Process | None:
            asked = [replica for replica in self.living if replica is not besides]
            said = [replica.info() for replica in asked]
            for replica, info in zip(asked, said, strict=True):
                agree = sum(other["leader_id"] == info["replica_id"] for other in said)
                if info["role"] == "leader" and agree >= len(self.all) // 2 + 1:
                    replica.client().get("nothing")
                    return replica
            return None

        found = until(agreed, "a leader serves")
        assert isinstance(found, Process)
        return found

    def followers(self) -> list[Process]:
        leader = self.leader()
        return [replica for replica in self.living if replica is not leader]

    def caught_up(self) -> None:
        """Wait until all living replicas have applied the same index."""
        until(lambda: len({replica.info()["applied_index"] for replica in self.living}) == 1, "all have caught up")


RUNNING: list[Processes] = []
"""Clusters that run now, for the report of a test that fails."""


@contextmanager
def running(
    root: Path,
    size: int,
    first_port: int,
    relayed: bool = False,
    program: Sequence[str] = ("-m", "oarlock"),
    options: Sequence[str] = (),
) -> Iterator[Processes]:
    """A cluster that is ended whatever happens."""
    cluster = Processes(root, size, first_port, relayed, program, options)
    RUNNING.append(cluster)
    try:
        cluster.start()
        yield cluster
    except AssertionError as error:  # it did not start
        error.add_note(
            "\n".join(f"log of replica {replica.number}:\n{replica.last_words()}" for replica in cluster.all)
        )
        raise
    finally:
        RUNNING.remove(cluster)
        for replica in cluster.all:
            for process in replica.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        for relay in cluster.relays.values():
            relay.refuse()
