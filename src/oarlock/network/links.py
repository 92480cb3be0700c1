"""All links of a replica: what the node sees of the network.

Each replica dials every other, and a connection carries messages only from the one who dialled to the one who
accepted, so a pair of replicas has two. That way a link has one sender, one queue and one place where it is
re-established, and which of two simultaneous dials wins never needs to be decided.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence

from oarlock.network.complaints import Complaints
from oarlock.network.connection import Ledger
from oarlock.network.events import LinkEvents
from oarlock.network.guests import Guests
from oarlock.network.handshake import review
from oarlock.network.inbound import Acceptor, InboundConnection
from oarlock.network.limits import Limits
from oarlock.network.messages import Hello, PeerMessage, Refusal
from oarlock.network.outbound import OutboundConnection
from oarlock.network.peer import Peer
from oarlock.network.transport import Network
from oarlock.types import ReplicaId

__all__ = ["Limits", "LinkEvents", "Links"]


class Links:
    """The links of replica ``own_id`` to the replicas in ``addresses`` (``host:port``; its own is ignored).

    And to guests: replicas that dial us, that ``examine`` does not refuse, and that ``addresses`` does not name.
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
        self._network = network
        self._rng = rng
        self._own_id = own_id
        self._events = events
        self._limits = limits = limits or Limits()
        self._complaints = Complaints()
        self._ledger = Ledger()
        self._acceptor = Acceptor(network, self, limits, self._complaints, self._ledger)
        self._peers: dict[ReplicaId, Peer] = {}
        self._guests = Guests(limits.guests)
        self._look: asyncio.TimerHandle | None = None
        self._parted: list[Peer] = []
        """Peers no more, whose dialling may not have ended yet."""
        self._running = False
        self.set_peers(addresses)
        self.received = events.received

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this replica listens, ``host:port``; empty before :meth:`start`."""
        return self._acceptor.addresses

    async def start(self, address: str) -> None:
        """Listen at ``host:port`` and begin to dial. Raises StartupError if the port cannot be had."""
        await self._acceptor.start(address)
        self._running = True
        for peer in self._peers.values():
            peer.start()

    async def close(self) -> None:
        """End all links, giving what was sent last a moment to leave. No event comes after the call."""
        self._running = False
        self._acceptor.stop()
        if self._look is not None:
            self._look.cancel()
        for peer in self._peers.values():
            peer.stop()
        for peer in (*self._peers.values(), *self._parted):
            await peer.outbound.stopped()
        await self._ledger.drain(self._limits.flush_s)

    def set_peers(self, addresses: Mapping[ReplicaId, str]) -> None:
        """From here on these are the peers; the own address is ignored. No event of a vanished one comes after this.

        Raises InvalidAddress for an address that is none; then some of the changes may have been made.
        """
        for replica, address in addresses.items():
            if replica == self._own_id:
                continue
            self._guests.forget(replica)
            peer = self._peers.get(replica)
            if peer is None:
                self._add(replica, address)
            elif peer.address != address:
                peer.move(address)
        for replica in list(self._peers):
            if replica not in addresses and replica not in self._guests:
                self._part(replica)

    def expel(self, replica: ReplicaId) -> None:
        """End what there is of links to this replica, guest or peer. If it dials again it is examined again."""
        if replica in self._peers:
            self._guests.forget(replica)
            self._part(replica)

    def version(self, peer: ReplicaId) -> int:
        """The protocol version of the outbound link to the peer; 0 while it is down.

        Messages that came with a later one are left out of what is sent.
        """
        connection = self._connection(peer)
        return connection.version if connection is not None else 0

    def backlog_bytes(self, peer: ReplicaId) -> int:
        """How much waits to leave on the outbound link to the peer; 0 while it is down."""
        connection = self._connection(peer)
        return connection.waiting_bytes if connection is not None else 0

    def send(self, peer: ReplicaId, messages: Sequence[PeerMessage], *, required: bool = False) -> bool:
        """Send the messages of one turn. True if they are on their way, which promises no arrival.

        False if the link is down, or if too much is waiting in it already; then they are dropped. With ``required``
        such an overflow also ends the link, so that ``disconnected`` and ``connected`` tell when to send again.
        """
        link = self._peers.get(peer)
        return link is not None and link.outbound.send(messages, required)

    def probe(self, peer: ReplicaId) -> None:
        """Find out soon whether the peer's process lives; ``unreachable`` follows if it does not."""
        if peer in self._peers:
            self._peers[peer].outbound.find_out()

    def is_connected(self, peer: ReplicaId) -> bool:
        """Whether the outbound link to the peer is up."""
        return self._connection(peer) is not None

    @property
    def connected_peers(self) -> tuple[ReplicaId, ...]:
        """The peers whose outbound link is up, in the order in which they became peers."""
        return tuple(replica for replica in self._peers if self.is_connected(replica))

    def _connection(self, peer: ReplicaId) -> OutboundConnection | None:
        """Of the outbound link to the peer, if it is up."""
        link = self._peers.get(peer)
        return link.outbound.connection if link is not None else None

    # The acceptor's owner.

    def own_hello(self) -> Hello:
        return self._events.hello()

    def admit(self, hello: Hello) -> Refusal | None:
        return self._review(hello, None)

    def arrived(self, connection: InboundConnection, hello: Hello) -> None:
        replica = hello.replica
        if replica not in self._peers:
            self._guests.welcome(replica)
            self._add(replica, hello.raft_address)
            if self._look is None:
                self._look_later()
        elif replica in self._guests and self._peers[replica].address != hello.raft_address:
            self._peers[replica].move(hello.raft_address)
        self._peers[replica].arrived(connection, hello)

    def inbound_down(self, connection: InboundConnection) -> None:
        if connection.peer in self._peers:
            self._peers[connection.peer].inbound_down(connection)

    def _review(self, hello: Hello, expected: ReplicaId | None) -> Refusal | None:
        if refusal := review(self._events.hello(), hello, expected):
            return refusal
        peer = self._peers.get(hello.replica)
        refusal = peer.examine(hello) if peer is not None else self._events.examine(hello)
        if refusal is None and (peer is None or hello.replica in self._guests):
            return self._guests.examine(hello)
        return refusal

    # Who is a peer.

    def _add(self, replica: ReplicaId, address: str) -> None:
        peer = self._peers[replica] = Peer(
            replica,
            address,
            self._network,
            self._rng,
            self._events,
            self._review,
            self._limits,
            self._complaints,
            self._ledger,
        )
        if self._running:
            peer.start()

    def _part(self, replica: ReplicaId) -> None:
        peer = self._peers.pop(replica)
        peer.part()
        self._parted = [former for former in self._parted if not former.outbound.idle]
        self._parted.append(peer)

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(self._limits.guest_look_s, self._look_at_guests)

    def _look_at_guests(self) -> None:
        for replica in self._guests.look(lambda replica: self._peers[replica].linked):
            self._part(replica)
        self._look = None
        if self._guests:
            self._look_later()
