"""``oarlock local``: a whole cluster on this machine, for trying, developing and testing."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from oarlock.cli import options
from oarlock.cli.cluster import LocalCluster
from oarlock.cli.layout import initialise, plan, uninitialised, wait_for_ports

_F = TypeVar("_F", bound=Callable[..., Any])


def _port_option(name: str, default: int) -> Callable[[_F], _F]:
    explanation = "Of replica 1; the others follow."
    return click.option(
        name, metavar="PORT", type=click.IntRange(1, 65535), default=default, show_default=True, help=explanation
    )


@click.command(short_help="Run a whole cluster on this machine.")
@click.option(
    "--nodes", metavar="COUNT", type=click.IntRange(1, 9), default=3, show_default=True, help="How many replicas."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("oarlock-data"),
    show_default=True,
    help="Where their data, logs and cluster.json go.",
)
@click.option(
    "--redis-port", metavar="PORT", type=click.IntRange(1, 65535), default=6401, show_default=True, help="Of replica 1."
)
@click.option(
    "--raft-port", metavar="PORT", type=click.IntRange(1, 65535), default=7401, show_default=True, help="Of replica 1."
)
@click.option(
    "--http-port", metavar="PORT", type=click.IntRange(1, 65535), default=8401, show_default=True, help="Of replica 1."
)
@options.snapshot_after
def local(
    nodes: int, data_dir: Path, redis_port: int, raft_port: int, http_port: int, snapshot_after: int | None
) -> int:
    """Run a whole cluster on this machine, on consecutive ports of the loopback interface.

    \b
    Example:
        oarlock local
        redis-cli -p 6401 set greeting hello
        redis-cli -p 6403 get greeting

    Prints a line that is just "ready" once a leader serves. Ctrl-C stops all replicas; started again on the same
    directory, the cluster continues with its data. A replica that dies is not restarted: its command, and all else
    there is to know of it, stands in DIR/cluster.json.
    """
    directory = data_dir.absolute()
    replicas = plan(directory, nodes, redis_port, raft_port, http_port, snapshot_after)
    new = uninitialised(replicas)
    wait_for_ports(replicas)
    initialise(new, replicas)
    cluster = LocalCluster(directory, replicas, lambda line: click.echo(line))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: cluster.stop())
    needed = nodes if len(new) == nodes else nodes // 2 + 1
    if cluster.run(needed):
        return 0
    click.echo("oarlock local: too few replicas are left; the lines above and the logs say why.", err=True)
    return 2 if cluster.refused_to_start() else 1
