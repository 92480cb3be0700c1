"""What operators do to a cluster that serves, by the commands that they type."""

from collections.abc import Callable
from typing import Any

from tests.process.replicas import Process, Processes, until

Operate = Callable[..., Any]
"""Runs a command that succeeds; what it prints as JSON."""


def join(operate: Operate, new: Process, at: Process, *what: str) -> None:
    """Bring it in, and start it."""
    operate(*what, "--data-dir", str(new.directory), "--raft", new.raft, "--at", at.http)
    new.start()


def voters_are(cluster: Processes, *numbers: int) -> None:
    def agreed() -> bool:
        at = [replica for replica in cluster.living if replica.number in numbers]
        said = [(info["voters"], info["joint"]) for info in (replica.info() for replica in at)]
        return said == [(",".join(map(str, numbers)), "0")] * len(numbers)

    until(agreed, f"the voters are {numbers}, as all of them say")
