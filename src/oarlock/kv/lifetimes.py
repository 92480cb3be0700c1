"""When keys end: a table beside the data, and a heap that tells which key is next.

Times are log times. A key whose time has come is gone from that moment on, for every command and every query; freeing
its memory is done bit by bit afterwards and shows nowhere. The heap holds a key once while its lifetime is only ever
extended, as that of a session is: its old place is looked at when it comes up, and then moved.
"""

from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

NEVER: Final = 1 << 64
"""A deadline that no log time reaches."""

_SLACK: Final = 1024
"""Places in the heap that may be out of date, besides as many as there are lifetimes."""


class End(NamedTuple):
    """When a key ends."""

    deadline_ms: int
    unix_ms: int


class Lifetimes:
    """The keys that end, and when."""

    __slots__ = ("_heap", "_placed", "_unix_ms", "deadlines", "now_ms")

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms
        """Log time of the last applied entry."""
        self.deadlines: dict[bytes, int] = {}
        """Log time at which a key is gone; keys without a lifetime are not in here."""
        self._unix_ms: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []
        self._placed: dict[bytes, int] = {}
        """Where in the heap a key comes up first, which is never later than its deadline."""

    def gone(self, key: bytes) -> bool:
        """Whether the key had a lifetime, and it is over."""
        return self.deadlines.get(key, NEVER) <= self.now_ms

    def unix_ms(self, key: bytes) -> int | None:
        """The end of the key's lifetime as its client's replica told it from the wall clock; decides nothing."""
        return self._unix_ms.get(key)

    def end(self, key: bytes) -> End:
        """When a key ends that has a lifetime."""
        return End(self.deadlines[key], self._unix_ms[key])

    def give(self, key: bytes, deadline_ms: int, unix_ms: int) -> None:
        """Let the key end at this log time, whatever was said before."""
        self.deadlines[key] = deadline_ms
        self._unix_ms[key] = unix_ms
        if deadline_ms < self._placed.get(key, NEVER):
            self._place(key, deadline_ms)

    def forget(self, key: bytes) -> bool:
        """Let the key live for ever, or be gone for another reason; whether it had a lifetime."""
        if self.deadlines.pop(key, None) is None:
            return False
        del self._unix_ms[key]
        return True

    @property
    def next_due_ms(self) -> int | None:
        """Log time at which the next key ends. Never too late; too early only while much is due."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, budget: int) -> list[bytes]:
        """Keys whose time has come, to be removed and forgotten. Looks at ``budget`` places of the heap at the most."""
        heap, placed, deadlines, now_ms = self._heap, self._placed, self.deadlines, self.now_ms
        due: list[bytes] = []
        while heap and budget > 0:
            place, key = heap[0]
            deadline = deadlines.get(key, NEVER)
            if placed.get(key) != place:
                heappop(heap)  # It has an earlier place, or had one.
            elif deadline != place:
                heappop(heap)
                del placed[key]
                if deadline < NEVER:
                    placed[key] = deadline
                    heappush(heap, (deadline, key))
            elif deadline <= now_ms:
                heappop(heap)
                del placed[key]
                due.append(key)
            else:
                break
            budget -= 1
        return due

    def count_gone(self) -> int:
        """How many keys are gone and not removed yet. Looks at no more of the heap than was ever due."""
        heap, deadlines, now_ms = self._heap, self.deadlines, self.now_ms
        found: set[bytes] = set()
        look_at = [0]
        while look_at:
            position = look_at.pop()
            if position < len(heap) and heap[position][0] <= now_ms:
                key = heap[position][1]
                if deadlines.get(key, NEVER) <= now_ms:
                    found.add(key)
                look_at += (2 * position + 1, 2 * position + 2)
        return len(found)

    def tables(self) -> list[Any]:
        """All that takes memory, to be freed by somebody with more patience than a destructor."""
        return [self.deadlines, self._unix_ms, self._placed, self._heap]

    def _place(self, key: bytes, deadline_ms: int) -> None:
        if len(self._heap) >= 2 * len(self.deadlines) + _SLACK:
            self._placed = dict(self.deadlines)
            self._heap = [(deadline, key) for key, deadline in self._placed.items()]
            heapify(self._heap)
            if self._placed.get(key) == deadline_ms:
                return
        self._placed[key] = deadline_ms
        heappush(self._heap, (deadline_ms, key))
