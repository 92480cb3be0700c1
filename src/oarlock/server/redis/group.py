"""What goes to the replica together and is answered together."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

from oarlock.errors import NotExecuted, OarlockError, Unavailable
from oarlock.node.sink import PlacedQuery
from oarlock.server.redis import failures, replies
from oarlock.server.redis.commands import Kind


class Group:
    """Consecutive commands, and the :class:`~oarlock.node.sink.Sink` of their outcome.

    A group of reads takes a round. A group of writes may have reads between, before and after them, which are answered
    at their place as the writes are applied: `SET k 1; GET k; SET k 2` is one group, and its GET answers 1.
    """

    __slots__ = (
        "abandoned",
        "answered",
        "error",
        "held_bytes",
        "items",
        "kind",
        "placed",
        "plain",
        "resp3",
        "results",
        "size_bytes",
        "when_answered",
    )

    def __init__(
        self,
        kind: Kind,
        resp3: bool,
        when_answered: Callable[[], None],
        items: list[Any],
        *,
        plain: bool = False,
        answered: bool = False,
    ) -> None:
        self.kind = kind
        self.resp3 = resp3
        """The client's choice when it asked, which HELLO may change before the answer comes."""
        self.when_answered = when_answered
        self.items = items
        """Canonical writes or queries; for :attr:`Kind.LOCAL`, replies in bytes."""
        self.plain = plain
        """Only GETs, or only SETs without options."""
        self.placed: list[PlacedQuery] = []
        """Reads of a group of writes: each with the number of writes before it."""
        self.size_bytes = 0
        """In the log."""
        self.held_bytes = 0
        """What it counts for among what waits."""
        self.abandoned = False
        """Its client is gone."""
        self.answered = answered
        self.results: Sequence[Any] = ()
        self.error: OarlockError | None = None

    def __len__(self) -> int:
        """How many commands it holds, each of which gets a reply."""
        return len(self.items) + len(self.placed)

    def add(self, kind: Kind, item: Any) -> None:
        """Take another command, of a kind that goes with those already in it."""
        if kind is self.kind:
            self.items.append(item)
        elif kind is Kind.READ:
            self.placed.append((len(self.items), item))
        else:  # The first write: the reads so far stand before it.
            self.placed = [(0, query) for query in self.items]
            self.kind, self.items = kind, [item]

    def seal(self) -> None:
        """It is about to go to the replica: everything that it may depend on is answered."""

    def resolved(self, results: Sequence[Any]) -> None:
        assert len(results) == len(self.items) + len(self.placed)
        self.results = results
        self.answered = True
        self.when_answered()

    def failed(self, error: OarlockError) -> None:
        self.error = error
        self.answered = True
        self.when_answered()

    def replies(self) -> bytes | Iterator[bytes]:
        """The replies of the whole group, encoded at once if they are small."""
        if self.error is not None:
            return self._failure(self.error)
        at_once: bytes | None = None
        if self.plain:
            if self.kind is Kind.WRITE:
                at_once = replies.all_ok(self.results)
            else:
                at_once = replies.small_values(self.results, self.resp3)
        elif self.kind is Kind.LOCAL:
            return b"".join(self.items)
        return replies.encoded(self.results, self.resp3) if at_once is None else at_once

    def _failure(self, error: OarlockError) -> bytes:
        line = failures.line(error)
        if not self.placed:
            return line * len(self.items)
        # Whatever became of the writes, a read that has no answer has read nothing.
        unread = line if isinstance(error, NotExecuted) else failures.line(Unavailable(f"nothing was read: {error}"))
        lines = list(repeat(line, len(self.items)))
        for position, _ in reversed(self.placed):
            lines.insert(position, unread)
        return b"".join(lines)
