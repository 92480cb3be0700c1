"""One peer: the link to it, the link from it, and what the two together say about its process."""

import random
from collections.abc import Callable

from oarlock.network.complaints import Complaints
from oarlock.network.connection import Ledger
from oarlock.network.events import LinkEvents
from oarlock.network.inbound import InboundConnection
from oarlock.network.limits import Limits
from oarlock.network.messages import Hello, Refusal
from oarlock.network.outbound import Outbound
from oarlock.network.presence import Presence
from oarlock.network.transport import Network
from oarlock.types import ReplicaId


class Peer:
    """Both directions of one peer, and its presence."""

    def __init__(
        self,
        replica: ReplicaId,
        address: str,
        network: Network,
        rng: random.Random,
        events: LinkEvents,
        review: Callable[[Hello, ReplicaId | None], Refusal | None],
        limits: Limits,
        complaints: Complaints,
        ledger: Ledger,
    ) -> None:
        self.address = address
        self.outbound = Outbound(replica, address, network, rng, self, limits, complaints, ledger)
        self._replica = replica
        self._events = events
        self._review = review
        self._presence = Presence()
        self._inbound: InboundConnection | None = None
        self._stated_address = ""
        """Where the process that was met last says that it is reached; empty if it says nothing of that."""
        self._stopped = False

    @property
    def linked(self) -> bool:
        """Whether there is a connection of this peer, in either direction."""
        return self._inbound is not None or self.outbound.connection is not None

    def start(self) -> None:
        self.outbound.start()

    def move(self, address: str) -> None:
        """From here on the peer is dialled at another address; what it still says from the old one is heard."""
        self.address = address
        self._presence.moved()
        self._look_elsewhere()
        self.outbound.move(address)

    def stop(self) -> None:
        """No dial and no event after this. What was sent may still leave."""
        self._stopped = True
        self.outbound.stop()
        if self._inbound is not None:
            self._inbound.abort()

    def part(self) -> None:
        """It is no peer any more: :meth:`stop`, and end what is still open."""
        self.stop()
        self.outbound.flush()

    def examine(self, hello: Hello) -> Refusal | None:
        """Whether the process that says this Hello may be this peer's; in the order from certain to suspected."""
        return self._events.examine(hello) or self._presence.examine(hello)

    def _look_elsewhere(self) -> None:
        """A peer that talks to us, and says that it is elsewhere than we believe, is dialled there, too. It may have
        yet to hear of its move, from us and nobody else; or the address was mistyped, and what says so can only be
        committed, or taken back, with its acknowledgement."""
        talks_from = self._stated_address if self._inbound is not None else ""
        self.outbound.try_elsewhere(talks_from if talks_from != self.address else "")

    # The inbound link.

    def arrived(self, connection: InboundConnection, hello: Hello) -> None:
        """The peer has dialled us and passed the handshake: this connection replaces any earlier one."""
        if self._inbound is not None:
            self._inbound.abort()
        self._inbound = connection
        self._stated_address = hello.raft_address
        self._look_elsewhere()
        if self._presence.meet(hello):
            self.outbound.drop()
            self._events.unreachable(self._replica)
        self._events.heard_hello(self._replica, hello)
        if self.outbound.connection is None:
            self.outbound.find_out()

    def inbound_down(self, connection: InboundConnection) -> None:
        if connection is not self._inbound:
            return  # replaced; its end means nothing
        self._inbound = None
        self._look_elsewhere()
        if not self._stopped:
            self.outbound.find_out()

    # The outbound link.

    def own_hello(self) -> Hello:
        return self._events.hello()

    def answered(self, hello: Hello) -> Refusal | None:
        refusal = self._review(hello, self._replica)
        if refusal is None and self._presence.meet(hello):
            # Whatever still comes in from its predecessor is a voice from the past.
            if self._inbound is not None:
                self._inbound.abort()
                self._inbound = None
            self._events.unreachable(self._replica)
        if refusal is None:
            self._stated_address = hello.raft_address
            self._look_elsewhere()
        return refusal

    def outbound_up(self, hello: Hello) -> None:
        self._events.connected(self._replica, hello)

    def outbound_down(self) -> None:
        if not self._stopped:
            self._events.disconnected(self._replica)

    def dial_refused(self) -> None:
        if self._stated_address not in ("", self.address):
            return  # whoever was met last does not claim to be there
        if self._presence.nobody_listens(connected=self._inbound is not None) and not self._stopped:
            self._events.unreachable(self._replica)

    def refused(self, refusal: Refusal) -> None:
        if not self._stopped:
            self._events.refused(self._replica, refusal)
