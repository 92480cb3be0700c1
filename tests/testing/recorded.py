"""Recorded histories with known verdicts (those of the checker Porcupine), where they are at hand, as history files."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DIRECTORY = os.environ.get("OARLOCK_HISTORIES", "")
JEPSEN_LINEARIZABLE = {2, 5, 7, 18, 25, 31, 38, 45, 48, 49}


class Recorded(NamedTuple):
    name: str
    model: str
    lines: list[bytes]
    linearizable: bool


def recorded() -> Iterator[Recorded]:
    for log in sorted(Path(DIRECTORY, "jepsen").glob("etcd_*.log")):
        number = int(log.stem.removeprefix("etcd_"))
        yield Recorded(log.stem, "cas-register", list(_jepsen(log)), number in JEPSEN_LINEARIZABLE)
    for log in sorted(Path(DIRECTORY, "kv").glob("*.txt")):
        yield Recorded(log.stem, "append", list(_kv(log)), log.stem.endswith("-ok"))


def _line(**event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _jepsen(log: Path) -> Iterator[bytes]:
    """A failed cas is a definite mismatch: one that was executed, and returned that it did not set anything."""
    for line in log.read_text().splitlines():
        match = re.search(r"jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*)$", line)
        if match is None:
            continue
        process, kind, function, text = match.groups()
        words = [None if word == "nil" else word for word in text.strip("[]").split()]
        value = words if function == "cas" else words[0]
        event: dict[str, Any] = {"process": int(process), "type": kind, "f": function, "value": value}
        if (kind, function) == ("fail", "cas"):
            event.update(type="ok", value=False)
        yield _line(**event)


def _kv(log: Path) -> Iterator[bytes]:
    for line in log.read_text().splitlines():
        match = re.match(r'\{:process (\d+), :type :(\w+), :f :(\w+), :key "(.*)", :value (.*)\}', line)
        assert match is not None, line
        process, kind, function, key, value = match.groups()
        text = None if value == "nil" else value.strip('"')
        yield _line(process=int(process), type=kind, f=function, key=key, value=text)
