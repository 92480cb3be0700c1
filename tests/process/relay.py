"""A relay in front of a replica's raft port: it can be slow, break connections, and refuse as if nobody listened."""

import socket
import struct
import threading
import time
from contextlib import suppress


class Relay:
    """Forwards connections to one address. The replicas dial it as if it were the replica itself."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = (host, int(port))
        self.lag_s = 0.0
        """How much later everything arrives."""
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._start()

    def refuse(self) -> None:
        """Break all connections, and accept none from now on."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.reset()

    def accept(self) -> None:
        """The end of :meth:`refuse`."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._start()

    def reset(self) -> None:
        """Break all connections, as a middlebox does."""
        connections, self._open = self._open, []
        for connection in connections:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
                connection.close()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            try:
                replica = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self._open += [client, replica]
            threading.Thread(target=self._forward, args=(client, replica), daemon=True).start()
            threading.Thread(target=self._forward, args=(replica, client), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.lag_s)
                sink.sendall(data)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
