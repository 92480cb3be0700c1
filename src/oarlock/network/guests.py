"""Guests: replicas of our cluster that our configuration does not name, perhaps because it is behind theirs. Pure.

A replica that joins, or that was away for long, is dialled by members that it has never heard of, and may need them
to learn of them. They are peers like all others while they last; but their number is bounded, and who has no link for
a while and is still not named is let go.
"""

from collections.abc import Callable

from oarlock.network.address import InvalidAddress, parse_address
from oarlock.network.messages import Hello, Refusal
from oarlock.types import ReplicaId


class Guests:
    """Who is a guest, and for how long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._missed: dict[ReplicaId, bool] = {}
        """Whether the last look found no link of theirs."""

    def __contains__(self, replica: ReplicaId) -> bool:
        return replica in self._missed

    def __bool__(self) -> bool:
        return bool(self._missed)

    def examine(self, hello: Hello) -> Refusal | None:
        """Why the sender of this Hello, whom nobody here knows, cannot be a guest; None if it can."""
        try:
            parse_address(hello.raft_address)
        except InvalidAddress:
            return Refusal("replica", f"I know of no replica {hello.replica}, nor where to dial it")
        if len(self._missed) >= self._most and hello.replica not in self._missed:
            return Refusal("busy", f"I know of no replica {hello.replica}, and have {self._most} guests already")
        return None

    def welcome(self, replica: ReplicaId) -> None:
        self._missed[replica] = False

    def forget(self, replica: ReplicaId) -> None:
        """It is a guest no more. Harmless when repeated."""
        self._missed.pop(replica, None)

    def look(self, linked: Callable[[ReplicaId], bool]) -> list[ReplicaId]:
        """Those who had a link neither now nor at the look before this one: they are guests no more."""
        gone = [replica for replica, missed in self._missed.items() if missed and not linked(replica)]
        for replica in gone:
            del self._missed[replica]
        for replica in self._missed:
            self._missed[replica] = not linked(replica)
        return gone
