"""Failures of a replica as Redis errors. The code tells a client whether it may send the command again.

``CLUSTERDOWN`` and ``TRYAGAIN``: not executed, safe to retry. ``UNKNOWN``: it may have been executed, or may yet be.
``ERR``: never as it is. A connection is never closed instead, since clients would then send the command again.
"""

from oarlock.errors import CommandTooLarge, NotExecuted, OarlockError, Overloaded, ShuttingDown
from oarlock.server.redis.replies import error_line


def line(error: OarlockError) -> bytes:
    """The reply to a command that failed so."""
    match error:
        case CommandTooLarge():
            code = "ERR"
        case Overloaded() | ShuttingDown():
            code = "TRYAGAIN"
        case NotExecuted():
            code = "CLUSTERDOWN"
        case _:
            code = "UNKNOWN"
    return error_line(f"{code} {error}".encode())
