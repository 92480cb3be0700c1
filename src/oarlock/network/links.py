"""All links of a replica: what the node sees of the network.

Each replica dials every other, and a connection carries messages only from the one who dialled to the one who
accepted, so a pair of replicas has two. That way a link has one sender, one queue and one place where it is
re-established, and which of two simultaneous dials wins never needs to be decided.
"""

import random
from collections.abc import Mapping, Sequence

from oarlock.network.complaints import Complaints
from oarlock.network.connection import Ledger
from oarlock.network.events import LinkEvents
from oarlock.network.handshake import review
from oarlock.network.inbound import Acceptor, InboundConnection
from oarlock.network.limits import Limits
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.network.peer import Peer
from oarlock.network.transport import Network
from oarlock.types import ReplicaId

__all__ = ["Limits", "LinkEvents", "Links"]


class Links:
    """The links of replica ``own_id`` to the replicas in ``addresses`` (``host:port``; its own is ignored).

    Raises InvalidAddress, a ValueError, for an address that is none.
    """

    def __init__(
        self,
        network: Network,
        rng: random.Random,
        own_id: ReplicaId,
        addresses: Mapping[ReplicaId, str],
        events: LinkEvents,
        *,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        complaints = Complaints()
        self._limits = limits
        self._events = events
        self._ledger = Ledger()
        self._acceptor = Acceptor(network, self, limits, complaints, self._ledger)
        self._peers: dict[ReplicaId, Peer] = {}
        for replica, address in addresses.items():
            if replica != own_id:
                self._peers[replica] = Peer(
                    replica, address, network, rng, events, self._review, limits, complaints, self._ledger
                )
        self._known = frozenset(self._peers)
        self.received = events.received

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this replica listens, ``host:port``; empty before :meth:`start`."""
        return self._acceptor.addresses

    async def start(self, address: str) -> None:
        """Listen at ``host:port`` and begin to dial. Raises StartupError if the port cannot be had."""
        await self._acceptor.start(address)
        for peer in self._peers.values():
            peer.start()

    async def close(self) -> None:
        """End all links, giving what was sent last a moment to leave. No event comes after the call."""
        self._acceptor.stop()
        for peer in self._peers.values():
            peer.stop()
        for peer in self._peers.values():
            await peer.outbound.stopped()
        await self._ledger.drain(self._limits.flush_s)

    def send(self, peer: ReplicaId, messages: Sequence[PeerMessage], *, required: bool = False) -> bool:
        """Send the messages of one turn. True if they are on their way, which promises no arrival.

        False if the link is down, or if too much is waiting in it already; then they are dropped. With ``required``
        such an overflow also ends the link, so that ``disconnected`` and ``connected`` tell when to send again.
        """
        return self._peers[peer].outbound.send(messages, required)

    def probe(self, peer: ReplicaId) -> None:
        """Find out soon whether the peer's process lives; ``unreachable`` follows if it does not."""
        self._peers[peer].outbound.find_out()

    def is_connected(self, peer: ReplicaId) -> bool:
        """Whether the outbound link to the peer is up."""
        return self._peers[peer].outbound.connection is not None

    @property
    def connected_peers(self) -> tuple[ReplicaId, ...]:
        """The peers whose outbound link is up, in the order of ``addresses``."""
        return tuple(replica for replica in self._peers if self.is_connected(replica))

    # The acceptor's owner.

    def own_hello(self) -> Hello:
        return self._events.hello()

    def admit(self, hello: Hello) -> Refusal | None:
        return self._review(hello, None)

    def arrived(self, connection: InboundConnection, hello: Hello) -> None:
        self._peers[connection.peer].arrived(connection, hello)

    def inbound_down(self, connection: InboundConnection) -> None:
        self._peers[connection.peer].inbound_down(connection)

    def _review(self, hello: Hello, expected: ReplicaId | None) -> Refusal | None:
        refusal = review(self._events.hello(), hello, expected, self._known)
        return refusal or self._peers[hello.replica].examine(hello)
