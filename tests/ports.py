"""Ports for what tests start as processes."""

import os
import random
import socket

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_BEGIN, _END = (12_000 + 20_000 * worker // _WORKERS for worker in (_WORKER, _WORKER + 1))
"""Below those that the system hands to clients; the workers that run tests side by side have theirs apart."""

_next = random.randrange(_BEGIN, _END)


def free_ports(in_a_row: int = 1) -> int:
    """The first of so many ports that nobody has, and that no other test is given for a while.

    A replica that is killed, or has yet to come, would find its own taken.
    """
    global _next
    while True:
        first = _next if _next + in_a_row <= _END else _BEGIN
        _next = first + in_a_row
        if all(_is_free(port) for port in range(first, _next)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
