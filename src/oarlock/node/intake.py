"""The leader's side of forwarding: which slice of each origin's stream comes next.

Command numbers restart at 1 for each (origin, boot, term). The leader takes only the next number, so that what it
took of a stream is always a prefix of it, and each command once. It checks when it **appends**, not when it
receives, and advances only then: a slice that waited here while the leadership ended counts for nothing.
"""

from collections import deque

from oarlock.network.messages import ForwardSlice, SliceExpected
from oarlock.node.batch import BATCH_BYTES
from oarlock.types import Boot, Command, ReplicaId, Slice, Term

HEADER_BYTES = 5
"""Largest header of a byte string or an array in an encoded batch."""


class Intake:
    """Slices that followers forwarded to this leadership and that wait to be appended."""

    def __init__(self, term: Term) -> None:
        self.term = term
        self._waiting: deque[tuple[ReplicaId, Slice]] = deque()
        self._expected: dict[ReplicaId, tuple[Boot, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def received(self, sender: ReplicaId, message: ForwardSlice) -> None:
        """A slice arrived. One cut for another term can never stand in this one: its origin will learn that from
        what it applies."""
        if message.term == self.term and message.slice.origin == sender:
            self._waiting.append((sender, message.slice))

    def forget(self, sender: ReplicaId) -> None:
        """A fresh link from this origin is up. It sends everything again: what waits is the same, and would pile up."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0] != sender)

    def take(self, room_bytes: int) -> tuple[list[Slice], list[tuple[ReplicaId, SliceExpected]]]:
        """The slices to append next, of up to ``room_bytes`` or one, and what to answer to those out of order."""
        taken: list[Slice] = []
        answers: list[tuple[ReplicaId, SliceExpected]] = []
        while self._waiting:
            sender, piece = self._waiting[0]
            boot, number = self._expected.get(sender, (Boot(0), 1))
            if piece.boot > boot:
                boot, number = piece.boot, 1
            if piece.boot == boot and piece.first == number:
                size_bytes = slice_bytes(piece)
                if taken and size_bytes > room_bytes:
                    break
                room_bytes -= size_bytes
                taken.append(piece)
                self._expected[sender] = (boot, number + len(piece.commands))
            elif piece.boot == boot and piece.first > number:
                answer = (sender, SliceExpected(self.term, boot, number))
                if answer not in answers:
                    answers.append(answer)
            self._waiting.popleft()  # taken; or a repeat, or of an older boot: dropped
        return taken, answers


def slice_bytes(piece: Slice) -> int:
    """About how many bytes a slice's commands are."""
    if len(piece.commands) == 1:
        return command_bytes(piece.commands[0])
    return sum(map(command_bytes, piece.commands))


def is_command(value: object) -> bool:
    """Whether the value is a command. Anything else would be replicated, and then stop every replica that reads it."""
    return isinstance(value, bytes) or (isinstance(value, tuple) and all(isinstance(part, bytes) for part in value))


def command_bytes(command: Command) -> int:
    """About how many bytes a command takes in an entry: its parts, and the header that each has there. Without the
    headers a command of very many empty parts would pass for small."""
    if isinstance(command, bytes):
        return HEADER_BYTES + len(command)
    return HEADER_BYTES + HEADER_BYTES * len(command) + sum(map(len, command))


__all__ = ["BATCH_BYTES", "Intake", "command_bytes", "is_command", "slice_bytes"]
