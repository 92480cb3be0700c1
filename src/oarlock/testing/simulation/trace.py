"""What happened, in order: a running hash of everything, and for those who want to read it, a story in lines."""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import Any


class Trace:
    """The record of one run. Two runs with one hash went the same way to the last byte."""

    def __init__(self, keep: bool = False) -> None:
        """``keep``: keep the lines of the story too."""
        self.lines: list[str] | None = [] if keep else None
        self._hash = blake2b(digest_size=16)

    def note(self, now: float, what: int, detail: int) -> None:
        """Take a thing that happens often into the hash, and into no line."""
        self._hash.update(b"%.9f %d %d\n" % (now, what, detail))

    def tell(self, now: float, who: str, what: str) -> None:
        """A line of the story."""
        line = f"{now:12.6f}  {who:<10} {what}"
        self._hash.update(line.encode(errors="replace"))
        if self.lines is not None:
            self.lines.append(line)

    @property
    def hash(self) -> str:
        """Of everything so far."""
        return self._hash.hexdigest()


class StoryOfLogs(logging.Handler):
    """Takes what replicas log into the story, as said by the process that runs."""

    def __init__(self, loop: Any) -> None:
        super().__init__()
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        process = self._loop._current
        who = process.name if process else "world"
        self._loop.trace.tell(self._loop.now, who, record.getMessage())
        if record.exc_info:
            self._loop.troubles.append(f"{who}: {record.getMessage()}: {record.exc_info[1]!r}")
