"""Who may talk to this replica: the handshake's questions about a peer's identity and past.

A replica that was wiped, or whose directory was copied back from a backup, has forgotten promises it made (votes
and acknowledgements) and must not make others under the same name. It is refused, by what *this* replica remembers
of it; a replica whose suffix a new leader replaced is honest and is not.
"""

from oarlock.core.messages import AppendAck, RequestVoteReply
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.types import Configuration, Index, ReplicaId, Term

FINAL_REFUSALS = ("incarnation", "past")
"""A replica refused for one of these must stay down: it is not the one that made its promises."""


class Acquaintance:
    """What this process remembers of each peer's durable promises."""

    def __init__(self) -> None:
        self._promised: dict[ReplicaId, tuple[Term, Index]] = {}
        """The latest term a peer promised something in, and the highest index it acknowledged in that term."""

    def note(self, peer: ReplicaId, message: PeerMessage) -> None:
        """Remember a durable promise, if the message is one."""
        if isinstance(message, AppendAck):
            if message.match:
                self._promise(peer, message.term, message.match)
        elif isinstance(message, RequestVoteReply) and message.granted:
            self._promise(peer, message.term, Index(0))

    def _promise(self, peer: ReplicaId, term: Term, index: Index) -> None:
        self._promised[peer] = max(self._promised.get(peer, (Term(0), Index(0))), (term, index))

    def examine(self, hello: Hello, configuration: Configuration) -> Refusal | None:
        """Whether the replica that says this hello may take part, and if not, why."""
        member = configuration.member(hello.replica)
        if member is None:
            return Refusal("replica", f"replica {hello.replica} is not a member of this cluster")
        if member.incarnation and member.incarnation != hello.incarnation:
            return Refusal(
                "incarnation",
                f"replica {hello.replica} joined this cluster with another data directory; this one was initialised "
                f"later and must not take its place",
            )
        term, index = self._promised.get(hello.replica, (Term(0), Index(0)))
        if hello.durable_term < term or (hello.durable_term == term and hello.last_index < index):
            return Refusal(
                "past",
                f"replica {hello.replica} acknowledged index {index} in term {term}, but its log now ends at index "
                f"{hello.last_index} in term {hello.durable_term}: its data directory is older than its promises "
                f"(was it restored from a copy?)",
            )
        return None
