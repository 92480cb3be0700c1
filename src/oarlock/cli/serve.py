"""``oarlock serve``: one replica of an initialised directory, until it is told to stop."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from oarlock.cli import options, parameters


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
    help="Where to listen for HTTP: /health, and what `oarlock status` and its like ask for.",
)
@options.snapshot_after
def serve(data_dir: Path, raft: str | None, redis: str, http: str, snapshot_after: int | None) -> NoReturn:
    """Run one replica of a cluster. Its directory must have been made by `oarlock init`.

    \b
    Example:
        oarlock serve --data-dir /var/lib/oarlock --redis 10.0.0.1:6401

    SIGTERM or Ctrl-C hands leadership over, finishes what is under way and exits with 0; a second one exits at once.
    Exit status 2: the replica cannot start as asked, or the others will not have it. 1: it failed while running.
    The log goes to standard error.
    """
    from oarlock.cli.process import Listeners, run  # what it imports is needed by no other command

    runner = asyncio.Runner(loop_factory=_event_loop())
    status = runner.run(run(str(data_dir), Listeners(raft, redis, http), snapshot_after))
    # Not by the interpreter's way out: that would wait for a thread that a dead disk holds in fsync.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """The fastest event loop there is; nothing needs a particular one to be right."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
