"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from oarlock.cli import parameters

_F = TypeVar("_F", bound=Callable[..., Any])

at: Callable[[_F], _F] = click.option(
    "--at",
    type=parameters.address,
    metavar="HOST:PORT",
    default="127.0.0.1:8401",
    show_default=True,
    envvar="OARLOCK_AT",
    show_envvar=True,
    help="HTTP address of any replica.",
)
as_json: Callable[[_F], _F] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
data_dir: Callable[[_F], _F] = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of this replica alone: new, or empty.",
)
members: Callable[[_F], _F] = click.option(
    "--members",
    type=parameters.members,
    metavar="ID=HOST:PORT,…",
    required=True,
    help="All initial replicas and where they reach each other; the same at every one of them.",
)
raft: Callable[[_F], _F] = click.option(
    "--raft",
    type=parameters.reachable,
    metavar="HOST:PORT",
    required=True,
    help="Where the other replicas reach this one.",
)
force: Callable[[_F], _F] = click.option(
    "--force", is_flag=True, help="Also if a majority of those who are left is not heard."
)

snapshot_after: Callable[[_F], _F] = click.option(
    "--snapshot-after",
    type=parameters.size,
    metavar="SIZE",
    help="Take a snapshot whenever so much has been applied since the last one.  [default: 64MiB]",
)


def replica_id(name: str, variable: str, help: str, *, required: bool = True) -> Callable[[_F], _F]:
    """A replica's number."""
    return click.option(name, variable, metavar="ID", type=click.IntRange(min=1), required=required, help=help)
