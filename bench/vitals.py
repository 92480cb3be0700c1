"""What a process can be seen to suffer, from outside: its memory, and how long its event loop was away."""

import os
import socket
import sys
import threading
import time
from pathlib import Path

PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"
PAUSE_S = 0.001
ANSWER_S = 30.0


def resident_bytes(pid: int) -> int:
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most it has had since :func:`forget_peak`."""
    return _status_bytes(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


class Well(threading.Thread):
    """A well-behaved client on a connection of its own; subclasses say what it does again and again."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._leave = threading.Event()
        self.wrong = ""
        """What went wrong, if anything did."""
        self.waits_s: list[float] = []
        self.start()

    def run(self) -> None:
        try:
            while not self._leave.wait(PAUSE_S):
                began = time.monotonic()
                self.once()
                self.waits_s.append(time.monotonic() - began)
        except (OSError, AssertionError) as error:
            self.wrong = f"{type(self).__name__} saw {error!r}"

    def once(self) -> None:
        raise NotImplementedError

    def ask(self, request: bytes, reply: bytes) -> None:
        self._socket.sendall(request)
        got = b""
        while len(got) < len(reply):
            part = self._socket.recv(65536)
            assert part, "the end of its connection"
            got += part
        assert got == reply, f"{got[:80]!r} for {request[:80]!r}"

    def leave(self) -> list[float]:
        """Stop; how long each answer took, in seconds, sorted. Exits with 1 if one was wrong."""
        self._leave.set()
        self.join()
        self._socket.close()
        if self.wrong:
            sys.exit(f"a well-behaved client was not served: {self.wrong}")
        return sorted(self.waits_s)


class Pinger(Well):
    """PING is answered by the event loop alone, so its longest wait is the longest time that the loop was away."""

    def once(self) -> None:
        self.ask(PING, PONG)


class Witness(Well):
    """Writes, and reads back what it wrote."""

    _count = 0

    def once(self) -> None:
        self._count += 1
        value = b"%016d" % self._count
        key = b"witness:%d" % (os.getpid() % 10)
        self.ask(b"*3\r\n$3\r\nSET\r\n$9\r\n%b\r\n$16\r\n%b\r\n" % (key, value), b"+OK\r\n")
        self.ask(b"*2\r\n$3\r\nGET\r\n$9\r\n%b\r\n" % key, b"$16\r\n%b\r\n" % value)
