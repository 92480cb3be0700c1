"""Whether a peer's process lives, dies, or has become another. Pure: it is told what happened and draws conclusions.

A process is dead, not slow, only if our connections to it have ended in both directions *and* no one listens at its
address, or if its successor answers. A reset, an end of stream or a timeout alone proves nothing: middleboxes do that.
"""

import msgspec

from oarlock.network.messages import Hello, Refusal


class Life(msgspec.Struct, frozen=True):
    """One process of a replica."""

    incarnation: int
    boot: int
    nonce: int


class Presence:
    """What is known of one peer's process."""

    def __init__(self) -> None:
        self._life: Life | None = None
        self._believed_alive = False

    def examine(self, hello: Hello) -> Refusal | None:
        """Refuse the process of this Hello if it cannot be newer than, nor the same as, the newest met.

        Boots only compare within an incarnation; whether another incarnation is welcome is for others to say.
        """
        met = self._life
        if met is None or hello.incarnation != met.incarnation:
            return None
        if hello.boot < met.boot:
            return Refusal(
                "past",
                f"replica {hello.replica} has started {met.boot} times, and this is start {hello.boot}: "
                "its data directory is a copy of an earlier time",
            )
        if hello.boot == met.boot and hello.nonce != met.nonce:
            return Refusal(
                "replica", f"two processes claim to be start {hello.boot} of replica {hello.replica}; one is a copy"
            )
        return None

    def meet(self, hello: Hello) -> bool:
        """The process of this Hello, which was examined, lives. True if that proves the death of its predecessor."""
        life = Life(hello.incarnation, hello.boot, hello.nonce)
        predecessor_died = self._believed_alive and life != self._life
        self._life = life
        self._believed_alive = True
        return predecessor_died

    def moved(self) -> None:
        """From here on another address is dialled. That nobody listens there says nothing of the process met so far."""
        self._believed_alive = False

    def nobody_listens(self, *, connected: bool) -> bool:
        """A dial was refused; ``connected`` if a connection in either direction is open. True: it proves a death."""
        died = self._believed_alive and not connected
        if died:
            self._believed_alive = False
        return died
