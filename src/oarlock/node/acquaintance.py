"""Who may talk to this replica: the handshake's questions about a peer's identity and past.

A replica that was wiped, or whose directory was copied back from a backup, has forgotten promises it made (votes
and acknowledgements) and must not make others under the same name. It is refused, by what *this* replica remembers
of it; a replica whose suffix a new leader replaced is honest and is not.
"""

from oarlock.core.messages import AppendAck, AppendReject, PreVoteReply, RequestVoteReply
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.types import FIRST_BOOTS, Configuration, Index, ReplicaId, Term

FINAL_REFUSALS = ("incarnation", "past", "removed")
"""A replica refused for one of these must stay down: it is not the one that made its promises, or has left for good."""


PROMISES = frozenset({AppendAck, AppendReject, PreVoteReply, RequestVoteReply})
"""What counts in somebody's name."""
NOTHING = (Term(0), Index(0))


class Acquaintance:
    """What this process remembers of each peer's durable promises."""

    def __init__(self) -> None:
        self._lives: dict[ReplicaId, int] = {}
        """The incarnation of each peer that is linked."""
        self._promised: dict[ReplicaId, tuple[Term, Index]] = {}
        """The latest term it promised something in, and the highest index it acknowledged in that term."""
        self._promisers: dict[ReplicaId, int] = {}
        """The incarnation that promised so."""
        self._configuration: Configuration | None = None
        self._incarnations: dict[ReplicaId, int] = {}
        """Those of the members in this configuration, which was asked about last."""

    def met(self, hello: Hello) -> None:
        """A peer that was examined is linked."""
        self._lives[hello.replica] = hello.incarnation

    def counts(self, peer: ReplicaId, message: PeerMessage, configuration: Configuration) -> bool:
        """Whether the message may count, and be remembered if it is a durable promise. What another incarnation than
        the member's promises is worth nothing: it may have rejoined by a configuration that is not here yet, and is
        answered, but its votes and acknowledgements are not those of the member that is known here."""
        if type(message) not in PROMISES:
            return True
        if configuration is not self._configuration:
            self._configuration = configuration
            self._incarnations = {member.id: member.incarnation for member in configuration.members}
        life, known = self._lives.get(peer), self._incarnations.get(peer, 0)
        if known and life is not None and life != known:
            return False
        if isinstance(message, AppendAck):
            if message.match:
                self._promise(peer, message.term, message.match)
        elif isinstance(message, RequestVoteReply) and message.granted:
            self._promise(peer, message.term, Index(0))
        return True

    def _promise(self, peer: ReplicaId, term: Term, index: Index) -> None:
        life = self._lives.get(peer, 0)
        if self._promisers.get(peer, life) != life:
            del self._promised[peer]  # the cluster has taken it back with nothing, on purpose
        self._promisers[peer] = life
        self._promised[peer] = max(self._promised.get(peer, NOTHING), (term, index))

    def examine(
        self, hello: Hello, configuration: Configuration, committed: Configuration, commit_index: Index
    ) -> Refusal | None:
        """Whether the replica that says this hello may take part, and if not, why.

        ``configuration`` is the one in force here, ``committed`` the latest that is committed.
        """
        # Only what is committed may send somebody away for good: a change that is not may never come about. As long as
        # nothing is, ``committed`` is only what this replica was initialised with.
        if hello.replica in committed.removed:
            return Refusal("removed", f"replica {hello.replica} was removed from this cluster")
        member = configuration.member(hello.replica) or committed.member(hello.replica)
        if member is None:
            # It may be this replica that is behind: a log that goes on where ours is committed may name the other.
            if hello.last_index > commit_index:
                return None
            return Refusal("replica", f"replica {hello.replica} is not a member of this cluster")
        if member.incarnation and member.incarnation != hello.incarnation:
            if hello.boot // FIRST_BOOTS > member.generation:  # a later directory than the one that is known here
                if hello.last_index > commit_index:
                    return None
                return Refusal("replica", f"replica {hello.replica} has not rejoined this cluster yet")
            settled = committed.member(hello.replica)
            return Refusal(
                "incarnation" if commit_index and settled and settled.incarnation == member.incarnation else "replica",
                f"replica {hello.replica} joined this cluster with another data directory; this one was initialised "
                f"later and must not take its place",
            )
        promiser = self._promisers.get(hello.replica, hello.incarnation)
        bound = not member.incarnation or promiser == hello.incarnation
        term, index = self._promised.get(hello.replica, NOTHING) if bound else NOTHING
        if hello.durable_term < term or (hello.durable_term == term and hello.last_index < index):
            return Refusal(
                "past",
                f"replica {hello.replica} acknowledged index {index} in term {term}, but its log now ends at index "
                f"{hello.last_index} in term {hello.durable_term}: its data directory is older than its promises "
                f"(was it restored from a copy?)",
            )
        return None
