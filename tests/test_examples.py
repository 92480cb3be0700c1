"""The examples run, and do what they say."""

import asyncio
import importlib.util
import re
import socket
import subprocess
import sys
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


@pytest.mark.long
def test_the_simulator_finds_both_mistakes_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "simulated.py"], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr == ""
    clock, belief, neither = done.stdout.split("\n\n")[1::2]
    assert re.match(r"seed \d+: .* (here, .* there|others with .*)\nIt takes no fault at all\.\n", clock)
    assert re.match(
        r"seed \d+: client \d: I was lent the lock, and another has it\nIt takes \d+ of \d+ faults:\n", belief
    )
    assert re.match(r"10 runs went well: [\d,]+ calls, [\d,]+ times something was in their way", neither)
