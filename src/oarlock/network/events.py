"""What links tell the node, and ask of it. Everything is called on the event loop."""

from typing import Protocol

from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.types import ReplicaId


class LinkEvents(Protocol):
    """Implemented by the node. No method may block, and none is called once ``Links.close`` has been.

    Nor is any about a replica that ``Links.set_peers`` has dropped, until it comes back.
    """

    def hello(self) -> Hello:
        """Our own Hello, as of now."""
        ...

    def examine(self, hello: Hello) -> Refusal | None:
        """Refuse a replica of our cluster: for what we remember of it, or because it is no member.

        Asked on both sides of a link. One that the peers' addresses do not name, and that is not refused, is a peer
        all the same, as long as it has a link.
        """
        ...

    def connected(self, peer: ReplicaId, hello: Hello) -> None:
        """The outbound link to the peer is up and empty. Whatever was sent before may be lost."""
        ...

    def heard_hello(self, peer: ReplicaId, hello: Hello) -> None:
        """An inbound link of the peer has passed the handshake."""
        ...

    def disconnected(self, peer: ReplicaId) -> None:
        """The outbound link to the peer is gone. It says nothing about the peer."""
        ...

    def received(self, peer: ReplicaId, messages: list[PeerMessage]) -> None:
        """Messages of one of the peer's turns, in the order sent."""
        ...

    def unreachable(self, peer: ReplicaId) -> None:
        """The peer's process is dead (not slow). Comes before ``connected`` if a successor is there already."""
        ...

    def refused(self, peer: ReplicaId, refusal: Refusal) -> None:
        """The peer lives and refuses us. It is dialled again, with back-off."""
        ...
