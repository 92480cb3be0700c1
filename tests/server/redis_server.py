"""A real redis-server for comparison, which keeps nothing."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

REDIS = shutil.which("redis-server")
DEADLINE_S = 20


@contextlib.contextmanager
def running_redis() -> Iterator[int]:
    """Start one, and give its port."""
    assert REDIS is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            REDIS,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "Ready to accept connections" in line:
                    break
            else:
                pytest.fail("redis-server did not start")
            yield port
        finally:
            server.terminate()
            server.wait(DEADLINE_S)
