"""What goes to the replica together and is answered together."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oarlock.errors import OarlockError
from oarlock.server.redis import failures, replies
from oarlock.server.redis.commands import Kind


class Group:
    """Consecutive commands of one kind, and the :class:`~oarlock.node.api.Sink` of their outcome."""

    __slots__ = ("_answered", "answered", "error", "items", "kind", "plain", "resp3", "results", "size_bytes")

    def __init__(self, kind: Kind, resp3: bool, answered: Callable[[], None]) -> None:
        """``resp3`` is the client's choice when it asked, which HELLO may change before the answer comes."""
        self.kind = kind
        self.resp3 = resp3
        self.items: list[Any] = []
        """Canonical commands or queries; for :attr:`Kind.LOCAL`, replies in bytes."""
        self.plain = True
        """Only GETs, or only SETs without options."""
        self.size_bytes = 0
        self.answered = kind is Kind.LOCAL
        self.results: Sequence[Any] = ()
        self.error: OarlockError | None = None
        self._answered = answered

    def seal(self) -> None:
        """It is about to go to the replica: everything that it may depend on is answered."""

    def resolved(self, results: Sequence[Any]) -> None:
        assert len(results) == len(self.items)
        self.results = results
        self.answered = True
        self._answered()

    def failed(self, error: OarlockError) -> None:
        self.error = error
        self.answered = True
        self._answered()

    def replies(self) -> bytes | Iterator[bytes]:
        """The replies of the whole group, encoded at once if they are small."""
        if self.kind is Kind.LOCAL:
            return b"".join(self.items)
        if self.error is not None:
            return failures.line(self.error) * len(self.items)
        at_once: bytes | None = None
        if self.plain:
            if self.kind is Kind.WRITE:
                at_once = replies.all_ok(self.results)
            else:
                at_once = replies.small_values(self.results, self.resp3)
        return replies.encoded(self.results, self.resp3) if at_once is None else at_once
