"""Clients that nobody wants, in numbers: one kind of them in a process of its own, until it is asked to leave.

``rough_clients.py PORT KIND COUNT`` prints ``ready`` when all are in place, goes on until its standard input ends, and
then prints what it did as one line of JSON. Exits with 1 and a sentence when an answer was wrong.
"""

import asyncio
import json
import resource
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvloop

MOST_BYTES = 8 * 1024 * 1024
"""Largest command that the server takes."""
HALF_BYTES = 64 * 1024
READ_KEY, READ_BYTES = b"crowd:read", 256 * 1024
"""What slow readers ask for."""
KIB_KEY, KIB = b"crowd:kib", 1024
"""What is asked for a million times."""
MILLION = 1_000_000
AT_A_TIME = 200
"""Connections opened at once."""

Counts = dict[str, int]


class Clients:
    """All clients of one kind: where they connect to, when to leave, and what they did."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.count = count
        self.ready = asyncio.Event()
        self.counts: Counts = {"replies": 0, "logged_bytes": 0}
        """``logged_bytes``: of commands that were written to the log, perhaps."""
        self._present = 0
        self._coming = asyncio.Semaphore(AT_A_TIME)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """One more client is in place."""
        self._present += 1
        if self._present == self.count:
            self.ready.set()
        yield

    async def connection(self, receive_buffer_bytes: int = 0) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        async with self._coming:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return sock


async def idle(clients: Clients) -> None:
    """Says nothing; must still be served in the end."""
    sock = await clients.connection()
    with clients.connected():
        try:
            await forever()
        finally:
            sock.setblocking(True)
            sock.settimeout(30)
            sock.sendall(command(b"PING"))
            if sock.recv(7) != b"+PONG\r\n":
                sys.exit("an idle client was not served in the end")
            clients.counts["replies"] += 1


async def half_open(clients: Clients) -> None:
    """Sends half a command, and is silent."""
    sock = await clients.connection()
    whole = command(b"SET", b"crowd:half", b"x" * HALF_BYTES)
    await asyncio.get_running_loop().sock_sendall(sock, whole[: len(whole) // 2])
    with clients.connected():
        await forever()


async def half_of_the_largest(clients: Clients) -> None:
    """Sends all but the end of the largest command, and is silent."""
    sock = await clients.connection()
    whole = command(b"SET", b"crowd:half", b"x" * (MOST_BYTES - 100))
    await asyncio.get_running_loop().sock_sendall(sock, whole[:-3])
    with clients.connected():
        await forever()


async def slow_reader(clients: Clients) -> None:
    """Asks for a large value a thousand times, and reads a byte a second."""
    loop = asyncio.get_running_loop()
    sock = await clients.connection(receive_buffer_bytes=4096)
    await loop.sock_sendall(sock, command(b"GET", READ_KEY) * 1000)
    with clients.connected():
        while True:
            clients.counts["replies"] += len(await loop.sock_recv(sock, 1))
            await asyncio.sleep(1)


async def slow_writer(clients: Clients) -> None:
    """Sends its commands a byte at a time, and must get the right answers."""
    loop = asyncio.get_running_loop()
    sock = await clients.connection()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with clients.connected():
        while True:
            for byte in command(b"GET", KIB_KEY):
                await loop.sock_sendall(sock, bytes([byte]))
                await asyncio.sleep(0.02)
            if await receive(sock, len(bulk(KIB))) != bulk(KIB):
                sys.exit("a slow writer got a wrong answer")
            clients.counts["replies"] += 1


async def million_reads(clients: Clients) -> None:
    """Pipelines a million GETs and takes no reply."""
    await _pipeline(clients, command(b"GET", KIB_KEY), 0)


async def million_writes(clients: Clients) -> None:
    """Pipelines a million SETs and takes no reply."""
    one = command(b"SET", b"crowd:million", b"x" * 16)
    await _pipeline(clients, one, len(one))


async def _pipeline(clients: Clients, one: bytes, logged_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    sock = await clients.connection(receive_buffer_bytes=4096)
    with clients.connected():
        for _ in range(MILLION // 1000):
            await loop.sock_sendall(sock, one * 1000)
            clients.counts["sent"] = clients.counts.get("sent", 0) + 1000
            clients.counts["logged_bytes"] += 1000 * logged_bytes
        await forever()


async def local_storm(clients: Clients) -> None:
    """Sends what is answered on the spot and at length, as fast as it goes, and takes every reply."""
    loop = asyncio.get_running_loop()
    sock = await clients.connection()
    storm = loop.create_task(_for_ever(sock, b"COMMAND\r\n" * 10_000 + b"\r\n" * 100_000))
    with clients.connected():
        while True:
            clients.counts["bytes"] = clients.counts.get("bytes", 0) + len(await loop.sock_recv(sock, 1 << 20))
            assert not storm.done()


async def _for_ever(sock: socket.socket, data: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, data)


async def largest_unlogged(clients: Clients) -> None:
    """Sends the largest command that is answered at once, again and again, and takes the replies."""
    sock = await clients.connection()
    text = b"x" * (MOST_BYTES - 100)
    reply = b"$%d\r\n%b\r\n" % (len(text), text)
    with clients.connected():
        while True:
            await expect(sock, command(b"ECHO", text), reply)
            clients.counts["replies"] += 1


async def largest_write(clients: Clients) -> None:
    """Sends the largest write again and again: what it writes stays in the log."""
    sock = await clients.connection()
    whole = command(b"SET", b"crowd:largest", b"x" * (MOST_BYTES - 100))
    with clients.connected():
        while True:
            clients.counts["logged_bytes"] += len(whole)
            await expect(sock, whole, b"+OK\r\n")
            clients.counts["replies"] += 1
            await asyncio.sleep(1)


async def too_large(clients: Clients) -> None:
    """Sends a command above the limit, is told so and left alone, and comes back."""
    loop = asyncio.get_running_loop()
    whole = command(b"SET", b"crowd:large", b"x" * (MOST_BYTES + 1))
    with clients.connected():
        while True:
            sock = await clients.connection()
            try:
                await loop.sock_sendall(sock, whole)
                reply = await loop.sock_recv(sock, 1024)
                if reply != b"-ERR Protocol error: invalid bulk length\r\n":
                    sys.exit(f"a command above the limit was answered with {reply!r}")
                clients.counts["replies"] += 1
            except ConnectionError:
                clients.counts["cut off"] = clients.counts.get("cut off", 0) + 1
            finally:
                sock.close()


async def vanishing(clients: Clients) -> None:
    """Asks for much and is gone, without a word (RST)."""
    loop = asyncio.get_running_loop()
    with clients.connected():
        while True:
            sock = await clients.connection()
            await loop.sock_sendall(sock, command(b"GET", READ_KEY) * 20 + command(b"SET", b"crowd:gone", b"x"))
            clients.counts["logged_bytes"] += 32
            await asyncio.sleep(0.01)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            clients.counts["gone"] = clients.counts.get("gone", 0) + 1


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def bulk(size_bytes: int) -> bytes:
    return b"$%d\r\n%b\r\n" % (size_bytes, b"x" * size_bytes)


async def expect(sock: socket.socket, request: bytes, reply: bytes) -> None:
    sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(sock, request))
    got = await receive(sock, len(reply))
    await sending
    if got != reply:
        sys.exit(f"the answer to {request[:40]!r} was {got[:80]!r}")


async def receive(sock: socket.socket, size_bytes: int) -> bytes:
    data = bytearray(size_bytes)
    view = memoryview(data)
    done = 0
    while done < size_bytes:
        count = await asyncio.get_running_loop().sock_recv_into(sock, view[done:])
        if count == 0:
            sys.exit("the server closed a connection that had done nothing wrong")
        done += count
    return bytes(data)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


KINDS: dict[str, Callable[[Clients], Awaitable[None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        idle, half_open, half_of_the_largest, slow_reader, slow_writer, million_reads, million_writes, local_storm,
        largest_unlogged, largest_write, too_large, vanishing,
    )
}  # fmt: skip


async def run(port: int, kind: str, count: int) -> Counts:
    clients = Clients(port, count)
    leave = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    tasks = [asyncio.ensure_future(KINDS[kind](clients)) for _ in range(count)]
    ready = asyncio.ensure_future(clients.ready.wait())
    await asyncio.wait((ready, leave, *tasks), return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        print("ready", flush=True)
        await asyncio.wait((leave, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # It should not have ended.
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return clients.counts


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.install()
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))))
