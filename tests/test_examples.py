"""The examples run, and do what they say."""

import asyncio
import importlib.util
import re
import socket
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str, directory: Path) -> ModuleType:
    """The example as it stands, but on ports that are free: several tests may run at once."""
    text = (EXAMPLES / name).read_text()
    ports = dict.fromkeys(re.findall(r"127\.0\.0\.1:(\d+)", text))
    sockets = [socket.socket() for _ in ports]
    for port, sock in zip(ports, sockets, strict=True):
        sock.bind(("127.0.0.1", 0))
        text = text.replace(f":{port}", f":{sock.getsockname()[1]}")
    for sock in sockets:
        sock.close()
    (directory / name).write_text(text)
    spec = importlib.util.spec_from_file_location("example", directory / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_counter_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(load("counter.py", tmp_path).main()) == 30
    assert "the counter stands at 30" in capsys.readouterr().out
