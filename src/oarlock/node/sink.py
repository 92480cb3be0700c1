"""Where the outcome of a group of commands or queries goes."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from oarlock.errors import OarlockError

log = logging.getLogger("oarlock")

PlacedQuery: TypeAlias = tuple[int, Any]
"""A query among the commands of a group, and how many of them stand before it."""


class Sink(Protocol):
    """Where the outcome of one group goes. Exactly one method is called, exactly once, on the event loop."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the outcome any more: then the group is not handed over to another leader."""
        ...

    def resolved(self, results: Sequence[Any]) -> None:
        """The group was applied (or read); one result for each command (or query), in order."""
        ...

    def failed(self, error: OarlockError) -> None:
        """A :class:`~oarlock.errors.NotExecuted`, or an :class:`~oarlock.errors.OutcomeUnknown`."""
        ...


def tell(receiver: Callable[[Any], None], outcome: Any) -> None:
    """Give a sink its outcome. What goes wrong in there concerns one client, and must not stop the replica."""
    try:
        receiver(outcome)
    except Exception:
        log.exception("the receiver of an outcome failed; its client may have got no answer")
