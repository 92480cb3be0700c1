"""Asks a replica one question over the Redis protocol, for a program that only waits for it to serve.

Reads just the four kinds of reply that such questions get; a real client is somebody else's package.
"""

import socket

from oarlock.network.address import parse_address


class Refused(Exception):
    """The replica answered with an error reply; the text is the error's."""


def ask(address: str, *words: str, timeout_s: float) -> str | int | None:
    """The reply to one command at ``host:port``.

    :raises OSError: the replica could not be reached or did not answer in ``timeout_s`` seconds.
    :raises Refused: it answered with an error.
    """
    request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    with socket.create_connection(parse_address(address), timeout=timeout_s) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as replies:
            line = replies.readline().decode().rstrip("\r\n")
            kind, rest = line[:1], line[1:]
            if kind == "+":
                return rest
            if kind == ":":
                return int(rest)
            if kind == "$":
                return replies.read(int(rest)).decode() if int(rest) >= 0 else None
            if kind == "-":
                raise Refused(rest)
            raise ConnectionError(f"{address} closed the connection" if not line else f"{address} sent {line!r}")


def raft_info(address: str, *, timeout_s: float) -> dict[str, str]:
    """The fields of ``INFO raft``. Raises as :func:`ask` does."""
    text = ask(address, "INFO", "raft", timeout_s=timeout_s)
    lines = str(text).splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}
