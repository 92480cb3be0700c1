"""One replica as a process: node and servers put together, the signals that stop it, and its exit status.

Stopping takes three steps: read no new requests and answer those that were read; let the node hand its leadership
over; close. A replica that has failed goes the same way, except that its node has stopped already.
"""

import asyncio
import contextlib
import logging
import os
import resource
import signal

import msgspec

from oarlock.cli.log import log_to_stderr
from oarlock.cli.memory import calm_the_collector, let_large_blocks_go
from oarlock.errors import ReplicaFailed, ReplicaRefused, ReplicaRemoved
from oarlock.kv import KeyValue
from oarlock.network.address import format_address, parse_address
from oarlock.node.node import Node
from oarlock.node.snapshots import DEFAULT_SNAPSHOT_AFTER_BYTES
from oarlock.server.http import HttpServer
from oarlock.server.redis import RedisServer
from oarlock.server.redis.server import MOST_CLIENTS
from oarlock.storage.identity import load_identity
from oarlock.storage.os_disk import OsDisk

log = logging.getLogger("oarlock")

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2

ANSWER_S = 3.0
"""How long requests that arrived before the signal may still be answered in the usual way."""
HAND_OVER_S = 3.0
FLUSH_S = 1.0

OWN_FILES = 256
"""File descriptors that a replica keeps for its log, its peers, strangers in a handshake, and health checks."""


class Listeners(msgspec.Struct, frozen=True):
    """Where the replica listens, each ``host:port``."""

    raft: str | None
    """None: at the member's own address."""
    redis: str
    http: str


async def run(directory: str, listeners: Listeners, snapshot_after_bytes: int | None = None) -> int:
    """Serve the key-value machine from this data directory until a signal or a failure; the exit status.

    :raises StartupError: with a sentence that says why it cannot start and what to do
    """
    disk = OsDisk()
    identity = await load_identity(disk, directory)
    log_to_stderr(identity.replica)
    let_large_blocks_go()
    stopping = _first_signal()
    machine = KeyValue()
    opening = asyncio.ensure_future(
        Node.open(
            directory,
            machine,
            listen=listeners.raft,
            redis_address=as_told(listeners.redis, identity.address),
            http_address=as_told(listeners.http, identity.address),
            disk=disk,
            snapshot_after_bytes=snapshot_after_bytes or DEFAULT_SNAPSHOT_AFTER_BYTES,
        )
    )
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        return EXIT_STOPPED  # nothing was promised yet
    node = opening.result()
    redis, http = RedisServer(node, machine, most_clients=_room_for_clients()), HttpServer(node)
    try:
        await redis.start(*parse_address(listeners.redis))
        await http.start(*parse_address(listeners.http))
        if not node.failed.done():  # the others may have refused this replica by now
            log.info("Redis clients are served at %s, HTTP at %s", listeners.redis, listeners.http)
        calm_the_collector()
        await asyncio.wait((stopping, node.failed), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _close(node, redis, http)
    if node.failed.done():
        return exit_status(node.failed.result())
    log.info("stopped")
    return EXIT_STOPPED


def as_told(listens: str, raft: str) -> str:
    """The address that the others are told. Who listens everywhere is found where its raft port is."""
    host, port = parse_address(listens)
    return format_address(parse_address(raft).host, port) if host in ("0.0.0.0", "::") else listens


def exit_status(reason: ReplicaFailed) -> int:
    """Of a replica that has stopped by itself."""
    if isinstance(reason, ReplicaRemoved):
        return EXIT_STOPPED
    return EXIT_REFUSED if isinstance(reason, ReplicaRefused) else EXIT_FAILED


async def _close(node: Node, redis: RedisServer, http: HttpServer) -> None:
    """Answer what clients have asked already; then end the node, which answers the rest with the right errors."""
    redis_closed = asyncio.ensure_future(redis.close(grace_s=ANSWER_S + HAND_OVER_S + FLUSH_S))
    await asyncio.wait((redis_closed, node.failed), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
    await node.close(HAND_OVER_S)
    await redis_closed
    await http.close()


def _room_for_clients() -> int:
    """How many clients may be connected, so that files are left for the rest; raises the limit of files if it can."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY or files >= MOST_CLIENTS + OWN_FILES:
        return MOST_CLIENTS
    most = max(files - OWN_FILES, files // 4)
    log.warning("this process may open %d files; so it serves %d clients at the most (see ulimit -n)", files, most)
    return most


def _first_signal() -> asyncio.Future[None]:
    """Done at the first SIGTERM or SIGINT. A second one ends the process at once, whatever it waits for."""
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()

    def arrived(number: signal.Signals) -> None:
        if first.done():
            log.warning("%s again: exiting at once", number.name)
            os._exit(EXIT_FAILED)
        log.info("%s: stopping", number.name)
        first.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived, number)
    return first
