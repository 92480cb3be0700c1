"""Clusters of processes as fixtures."""

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.replicas import Processes, running

ClusterOf = Callable[[int], Processes]


@pytest.fixture
def cluster_of(tmp_path: Path) -> Iterator[ClusterOf]:
    """Start a cluster of so many replicas; it ends with the test."""
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(running(tmp_path, size, _free_ports(3 * size)))


def _free_ports(in_a_row: int) -> int:
    while True:
        first = random.randrange(12000, 20000)
        if all(_is_free(port) for port in range(first, first + in_a_row)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
