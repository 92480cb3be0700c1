"""Messages that decode and are nonsense, as only a peer could send them: reversed indexes, gaps, giant terms.

The core trusts its peers, and a broken promise stops the replica by name. What must not happen is anything else: an
error of another kind, work without end, or a promise broken in silence.
"""

from random import Random

from fuzz.pieces import Numbers
from fuzz.target import Target
from oarlock.core import Config, Raft, Restored
from oarlock.core.messages import (
    AppendAck,
    AppendEntries,
    AppendReject,
    CoreMessage,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    StaleTerm,
    TimeoutNow,
)
from oarlock.core.roles import Leader
from oarlock.errors import InvariantViolated, ReplicaFailed
from oarlock.types import Beat, Configuration, Entry, EntryKind, Index, Member, ReplicaId, SnapshotPoint, Term

_MEMBERS = tuple(Member(ReplicaId(number), f"h:{number}", number) for number in (1, 2, 3))
_CONFIGURATION = Configuration(_MEMBERS, (ReplicaId(1), ReplicaId(2), ReplicaId(3)))
_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, -1, -2, 100, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
"""What fields hold: near what is sensible, and as far from it as msgpack goes."""


class Scene:
    """A replica of three, whose peers say what they like."""

    def __init__(self) -> None:
        log = [Entry(Index(i), Term(1 + i // 3), EntryKind.SENTINEL, i, b"") for i in range(1, 5)]
        restored = Restored(Term(2), ReplicaId(0), _CONFIGURATION, Index(0), Term(0), log)
        self.now = 0.0
        self.raft = Raft(ReplicaId(1), 1, Config(), restored, Random(1), self.now)

    def turn(self) -> None:
        """Carry out what the core asks for, at once."""
        raft = self.raft
        for _ in range(8):
            ready = raft.ready()
            if ready.persist is not None:
                raft.persisted(ready.persist.mark, self.now)
            if ready.restore is not None:
                raft.applied(ready.restore.index)
            if ready.committed:
                raft.applied(ready.committed[-1].index)
            if ready.fetch is not None:
                raft.install(SnapshotPoint(ready.fetch.index, ready.fetch.term, 0, _CONFIGURATION), self.now)
                continue
            if ready.persist is None and not raft.has_more_to_apply:
                break
        raft.deadline()
        raft.status()
        assert raft.applied_index <= raft.commit_index <= raft.log.last_index
        assert raft.log.durable_index <= raft.log.last_index

    def lead(self) -> None:
        """Win an election."""
        raft = self.raft
        self.now = raft.deadline()
        raft.timeout(self.now)
        self.turn()
        raft.receive(ReplicaId(2), PreVoteReply(Term(raft.term + 1), True), self.now)
        self.turn()
        raft.receive(ReplicaId(2), RequestVoteReply(raft.term, True, 2, 0), self.now)
        self.turn()
        assert isinstance(raft.role, Leader)


def _message(numbers: Numbers, term: int) -> CoreMessage:
    def number() -> int:
        return _NUMBERS[numbers.take() % len(_NUMBERS)]

    kind = numbers.take()
    term = Term(term + (0, 0, 0, 1, -1, 2)[kind >> 4] if kind < 0x60 else number())
    flag = bool(numbers.take() & 1)
    match kind % 10:
        case 0:
            entries = tuple(
                Entry(Index(number()), Term(number()), numbers.take() % 5, number(), bytes(numbers.take() % 4))
                for _ in range(numbers.take() % 4)
            )
            return AppendEntries(
                term, Beat(number()), Index(number()), Term(number()), Index(number()), flag, number(), entries
            )
        case 1:
            return AppendAck(term, Beat(number()), Index(number()))
        case 2:
            return AppendReject(term, Beat(number()), Index(number()), Index(number()), Term(number()))
        case 3:
            return PreVote(term, Index(number()), Term(number()), flag)
        case 4:
            return PreVoteReply(term, flag)
        case 5:
            return RequestVote(term, Index(number()), Term(number()), flag)
        case 6:
            return RequestVoteReply(term, flag, number(), number())
        case 7:
            return TimeoutNow(term)
        case 8:
            return InstallSnapshot(term, Beat(number()), Index(number()), Term(number()), number())
        case _:
            return StaleTerm(term)


def check_core(data: bytes) -> None:
    """Whatever peers say, a replica goes on, or stops naming the promise that is broken."""
    numbers = Numbers(data)
    scene = Scene()
    try:
        how = numbers.take()
        if how & 1:
            scene.lead()
        for _ in range(12):
            if not numbers:
                break
            scene.raft.receive(ReplicaId(2 + (how >> 1 & 1)), _message(numbers, scene.raft.term), scene.now)
            scene.turn()
            how >>= 1
            if how & 4:
                scene.now += 0.2
                scene.raft.timeout(scene.now)
                scene.turn()
    except (InvariantViolated, ReplicaFailed):  # the latter for a configuration that makes no sense
        pass


TARGETS = [
    Target(
        name="core", check=check_core, max_bytes=120,
        seeds=[
            bytes((how, kind, 0, 1, 4, 2, 3, 0, 5)) + bytes((1, 5, 2, 0, 4, 2))
            for how in (0, 1, 0x15, 0x0E) for kind in (*range(10), 0x30, 0x70)
        ],
    ),
]  # fmt: skip
