"""The messages on their way between cores, and what becomes of them when nobody delivers them."""

from __future__ import annotations

from collections.abc import Iterable

from oarlock.core.messages import CoreMessage


class Envelope:
    """A message on its way."""

    def __init__(self, sender: int, receiver: int, message: CoreMessage) -> None:
        self.sender = sender
        self.receiver = receiver
        self.message = message


class Network:
    """Loses, delays, repeats and reorders; what has not been cut gets through in the end, if somebody delivers it."""

    def __init__(self) -> None:
        self.on_its_way: list[Envelope] = []
        """Oldest first."""
        self.held: list[Envelope] = []
        """Delayed until released. They have left: whatever is cut meanwhile, they will arrive."""
        self.cuts: set[tuple[int, int]] = set()
        """(sender, receiver) of links on which nothing passes."""

    def post(self, sender: int, receiver: int, message: CoreMessage) -> None:
        """A message leaves; on a link that is cut it is lost."""
        if (sender, receiver) not in self.cuts:
            self.on_its_way.append(Envelope(sender, receiver, message))

    def between(
        self, sender: int | None = None, receiver: int | None = None, kind: type | None = None
    ) -> list[Envelope]:
        """What is on its way between these, of this type."""
        return [
            envelope
            for envelope in self.on_its_way
            if sender in (None, envelope.sender)
            and receiver in (None, envelope.receiver)
            and (kind is None or isinstance(envelope.message, kind))
        ]

    def drop(self, envelopes: Iterable[Envelope]) -> None:
        """These are lost."""
        lost = list(envelopes)
        self.on_its_way = [envelope for envelope in self.on_its_way if envelope not in lost]

    def hold(self, envelopes: Iterable[Envelope]) -> None:
        """These are delayed until they are released."""
        delayed = list(envelopes)
        self.drop(delayed)
        self.held += delayed

    def duplicate(self, envelopes: Iterable[Envelope]) -> None:
        """A second copy of each is held."""
        self.held += [Envelope(e.sender, e.receiver, e.message) for e in envelopes]

    def release(self, envelopes: Iterable[Envelope]) -> None:
        """These held messages are on their way again, behind the others."""
        released = list(envelopes)
        self.held = [envelope for envelope in self.held if envelope not in released]
        self.on_its_way += released

    def cut(self, sender: int, receiver: int) -> None:
        """Cut one direction of a link: what is on its way there is lost, and so is all that will be sent."""
        self.cuts.add((sender, receiver))
        self.drop(self.between(sender, receiver))

    def partition(self, *sides: Iterable[int]) -> None:
        """Cut every link between different sides."""
        groups = [sorted(set(side)) for side in sides]
        for number, group in enumerate(groups):
            for other in groups[number + 1 :]:
                for one in group:
                    for another in other:
                        self.cut(one, another)
                        self.cut(another, one)

    def heal(self) -> None:
        """Every link works again."""
        self.cuts.clear()

    def works_between(self, one: int, other: int) -> bool:
        """Whether messages pass in both directions."""
        return not {(one, other), (other, one)} & self.cuts
