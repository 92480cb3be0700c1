"""Clusters of processes as fixtures."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from oarlock.cli.command import run
from tests.ports import free_ports
from tests.process.operating import Operate
from tests.process.replicas import RUNNING, Processes, running

ClusterOf = Callable[..., Processes]
NEWCOMERS = 3
"""Room for replicas that join."""


@pytest.fixture
def cluster_of(tmp_path: Path) -> Iterator[ClusterOf]:
    """Start a cluster of so many replicas, perhaps with a program and options of its own; it ends with the test."""
    with ExitStack() as stack:
        yield lambda size, **how: stack.enter_context(
            running(tmp_path / f"of-{size}", size, free_ports(3 * (size + NEWCOMERS)), **how)
        )


@pytest.fixture
def operate(capsys: pytest.CaptureFixture[str]) -> Operate:
    """Run a command that succeeds; what it prints as JSON."""

    def command(*arguments: str) -> Any:
        capsys.readouterr()
        status = run([*arguments, "--json"])
        said = capsys.readouterr()
        assert status == 0, said.err
        return json.loads(said.out)

    return command


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Three replicas that all tests of a module share, and leave running as they found them."""
    with running(tmp_path_factory.mktemp("shared"), 3, free_ports(9)) as cluster:
        yield cluster


@pytest.fixture
def relayed(tmp_path: Path) -> Iterator[Processes]:
    """Three replicas that reach each other through relays."""
    with running(tmp_path, 3, free_ports(9), relayed=True) as cluster:
        yield cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its replicas have logged."""
    report = yield
    if report.failed:
        for replica in (replica for cluster in RUNNING for replica in cluster.all):
            report.sections.append((f"log of replica {replica.number}", replica.last_words()))
    return report
