"""The messages that cores exchange. One-way: loss, duplication, delay and reordering are normal for all.

Names and fields follow the Raft paper and thesis; ``beat`` is ours (see ``authority.py``). Every message carries
its sender's term, except a :class:`PreVote`, which carries the term its sender *would* stand in, and a granted
:class:`PreVoteReply`, which repeats it.
"""

from typing import TypeAlias

import msgspec

from oarlock.types import Beat, Entry, Index, Term


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of every message."""

    term: Term


class AppendEntries(Message, frozen=True, array_like=True, gc=False, tag=1):
    """Leader to follower: these entries follow (prev_index, prev_term). Empty: a heartbeat or a read round."""

    beat: Beat
    prev_index: Index
    prev_term: Term
    commit: Index
    echo_now: bool
    """Answer before the entries are durable: a read waits for this beat, or the leader checks its quorum."""
    time_ms: int
    """The leader's log time when it sent this."""
    entries: tuple[Entry, ...]


class AppendAck(Message, frozen=True, array_like=True, gc=False, tag=2):
    """Follower to leader: you were my leader when I handled ``beat``; my log matches yours, durably, to ``match``."""

    beat: Beat
    match: Index


class AppendReject(Message, frozen=True, array_like=True, gc=False, tag=3):
    """Follower to leader: you are my leader (so the beat counts), but my log does not match at ``prev_index``."""

    beat: Beat
    prev_index: Index
    hint_index: Index
    """The last index of the follower's log at which the two may still agree (paper, section 5.3, end)."""
    hint_term: Term


class PreVote(Message, frozen=True, array_like=True, gc=False, tag=4):
    """Would you vote for me in ``term``? Changes nothing at either side (thesis, section 9.6)."""

    last_index: Index
    last_term: Term
    leader_dead: bool
    """The sender found its leader's process gone; the receiver should look for itself at once."""


class PreVoteReply(Message, frozen=True, array_like=True, gc=False, tag=5):
    """Answer to a PreVote: granted repeats its term; refused carries the voter's own."""

    granted: bool


class RequestVote(Message, frozen=True, array_like=True, gc=False, tag=6):
    """Candidate to voter (paper, figure 2). Sent only after the candidate's own term and vote are durable."""

    last_index: Index
    last_term: Term
    transfer: bool
    """The leader asked for this election (thesis, section 3.10): leader stickiness does not apply."""


class RequestVoteReply(Message, frozen=True, array_like=True, gc=False, tag=7):
    """Voter to candidate, sent only after the vote is durable."""

    granted: bool
    incarnation: int
    """Of the voter's data directory, so that the first leader can fix everyone's in the first entry."""
    time_ms: int
    """The voter's log time: a new leader goes on from the highest of a majority's."""


class TimeoutNow(Message, frozen=True, array_like=True, gc=False, tag=8):
    """Leader to a caught-up follower: stand for election now (thesis, section 3.10)."""


class StaleTerm(Message, frozen=True, array_like=True, gc=False, tag=9):
    """Answer to a message of an old term: its sender must move on to this one, or neither gets unstuck."""


class InstallSnapshot(Message, frozen=True, array_like=True, gc=False, tag=10):
    """Leader to follower (paper, section 7): my log does not reach back to yours; fetch my snapshot. But for entries it
    is an AppendEntries, and answered by an AppendAck. The snapshot itself is fetched beside (``Fetch`` in ready.py)."""

    beat: Beat
    index: Index
    """Where the leader's newest snapshot stands ..."""
    index_term: Term
    """... and the term of the entry there."""
    time_ms: int
    """The leader's log time when it sent this."""


CoreMessage: TypeAlias = (
    AppendEntries
    | AppendAck
    | AppendReject
    | PreVote
    | PreVoteReply
    | RequestVote
    | RequestVoteReply
    | TimeoutNow
    | StaleTerm
    | InstallSnapshot
)
