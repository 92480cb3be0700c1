"""Who may talk to this replica: the handshake's questions about a peer's identity and past.

A replica that was wiped, or whose directory was copied back from a backup, has forgotten promises it made (votes
and acknowledgements) and must not make others under the same name. It is refused, by what *this* replica remembers
of it; a replica whose suffix a new leader replaced is honest and is not.
"""

from oarlock.core.messages import AppendAck, RequestVoteReply
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.types import Configuration, Index, ReplicaId, Term

FINAL_REFUSALS = ("incarnation", "past", "removed")
"""A replica refused for one of these must stay down: it is not the one that made its promises, or has left for good."""


class Acquaintance:
    """What this process remembers of each peer's durable promises."""

    def __init__(self) -> None:
        self._promised: dict[ReplicaId, tuple[Term, Index]] = {}
        """The latest term a peer promised something in, and the highest index it acknowledged in that term."""
        self._incarnations: dict[ReplicaId, int] = {}
        """Whose promises those are: of the directory that a peer was last let in with."""

    def note(self, peer: ReplicaId, message: PeerMessage) -> None:
        """Remember a durable promise, if the message is one."""
        if isinstance(message, AppendAck):
            if message.match:
                self._promise(peer, message.term, message.match)
        elif isinstance(message, RequestVoteReply) and message.granted:
            self._promise(peer, message.term, Index(0))

    def _promise(self, peer: ReplicaId, term: Term, index: Index) -> None:
        self._promised[peer] = max(self._promised.get(peer, (Term(0), Index(0))), (term, index))

    def examine(
        self, hello: Hello, configuration: Configuration, committed: Configuration, commit_index: Index
    ) -> Refusal | None:
        """Whether the replica that says this hello may take part, and if not, why.

        ``configuration`` is the one in force here, ``committed`` the latest that is committed.
        """
        # Only what is committed may send somebody away for good: a removal that is not may never come about.
        if hello.replica in committed.removed:
            return Refusal("removed", f"replica {hello.replica} was removed from this cluster")
        member = configuration.member(hello.replica) or committed.member(hello.replica)
        if member is None:
            # It may be this replica that is behind: a log that goes on where ours is committed may name the other.
            if hello.last_index > commit_index:
                return None
            return Refusal("replica", f"replica {hello.replica} is not a member of this cluster")
        if member.incarnation and member.incarnation != hello.incarnation:
            return Refusal(
                "incarnation",
                f"replica {hello.replica} joined this cluster with another data directory; this one was initialised "
                f"later and must not take its place",
            )
        if member.incarnation and self._incarnations.get(hello.replica, hello.incarnation) != hello.incarnation:
            self._promised.pop(hello.replica, None)  # the cluster has taken it back with nothing, on purpose
        term, index = self._promised.get(hello.replica, (Term(0), Index(0)))
        if hello.durable_term < term or (hello.durable_term == term and hello.last_index < index):
            return Refusal(
                "past",
                f"replica {hello.replica} acknowledged index {index} in term {term}, but its log now ends at index "
                f"{hello.last_index} in term {hello.durable_term}: its data directory is older than its promises "
                f"(was it restored from a copy?)",
            )
        self._incarnations[hello.replica] = hello.incarnation
        return None
