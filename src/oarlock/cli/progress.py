"""A line on standard error that says how far something long has come; on a terminal only."""

import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import click

from oarlock.cli.table import size

_EVERY_S = 0.2


class Progress:
    """Counts bytes. ``doing`` says what is being done with them; without a total it is not known how many come."""

    def __init__(self, doing: str, total_bytes: int | None = None) -> None:
        self._doing = doing
        self._of = f" of {size(total_bytes)}" if total_bytes is not None else ""
        self._bytes = 0
        self._shows = sys.stderr.isatty()
        self._shown_at = time.monotonic()
        self._shown = False

    def add(self, size_bytes: int) -> None:
        """So many bytes more are done."""
        self._bytes += size_bytes
        if self._shows and time.monotonic() - self._shown_at > _EVERY_S:
            self._shown_at, self._shown = time.monotonic(), True
            click.echo(f"\r{self._line}", nl=False, err=True)

    def end(self) -> None:
        """That is all. Who was told nothing, since it was short, is told nothing now."""
        if self._shown:
            click.echo(f"\r{self._line}", err=True)
            self._shown = False

    @property
    def _line(self) -> str:
        return f"{self._doing}: {size(self._bytes)}{self._of} "

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, counted as they pass."""
        try:
            for piece in pieces:
                yield piece
                self.add(len(piece))
        finally:
            self.end()

    async def through_async(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same for pieces that come from a disk."""
        try:
            async for piece in pieces:
                yield piece
                self.add(len(piece))
        finally:
            self.end()
