"""``oarlock serve``: one replica of an initialised directory, until it is told to stop."""

from pathlib import Path

import click

from oarlock.cli import parameters


@click.command(short_help="Run one replica.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The replica's directory, made by `oarlock init`.",
)
@click.option(
    "--raft",
    type=parameters.address,
    metavar="HOST:PORT",
    help="Where to listen for the other replicas.  [default: the member's own address]",
)
@click.option(
    "--redis",
    type=parameters.address,
    metavar="HOST:PORT",
    default="127.0.0.1:6401",
    show_default=True,
    help="Where to listen for Redis clients.",
)
@click.option(
    "--http",
    type=parameters.address,
    metavar="HOST:PORT",
    default="127.0.0.1:8401",
    show_default=True,
    help="Where to listen for HTTP clients (only /health for now).",
)
def serve(data_dir: Path, raft: str | None, redis: str, http: str) -> int:
    """Run one replica of a cluster. Its directory must have been made by `oarlock init`.

    \b
    Example:
        oarlock serve --data-dir /var/lib/oarlock --redis 10.0.0.1:6401

    SIGTERM or Ctrl-C hands leadership over, finishes what is under way and exits with 0; a second one exits at once.
    Exit status 2: the replica cannot start as asked. 1: it failed while running. The log goes to standard error.
    """
    raise NotImplementedError
