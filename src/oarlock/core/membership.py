"""Membership: which configuration is in force, and how a leader changes it.

An appended configuration is in force at once, committed or not, also after a restart, and rolls back with its
entry when that is truncated (thesis, section 4.1).

Voters change by way of a joint configuration (paper, section 6; thesis, 4.3): from the moment it is appended until
the final one is, no commit and no election without both majorities. As soon as it is committed, whoever leads
appends the final one. Learners and addresses decide nothing, and change in one entry.

Who is added learns first, so that no majority ever waits for a replica that has yet to be sent the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import msgspec

from oarlock.core import quorum, replication, transfer
from oarlock.core.change import Change, changed, final, joint, promoted
from oarlock.core.progress import Progress
from oarlock.errors import ChangeRefused, ReplicaFailed
from oarlock.types import NO_REPLICA, Configuration, Entry, EntryKind, Index, ReplicaId

if TYPE_CHECKING:
    from oarlock.core.raft import Raft
    from oarlock.core.roles import Leader

_decoder = msgspec.msgpack.Decoder(Configuration)


def encode_configuration(configuration: Configuration) -> bytes:
    """The payload of a configuration entry."""
    return msgspec.msgpack.encode(configuration)


def decode_configuration(entry: Entry) -> Configuration:
    """The configuration of an entry that is one.

    :raises ReplicaFailed: if it is none that this version understands; who does not know who votes must not go on.
    """
    try:
        return _decoder.decode(entry.payload)
    except msgspec.DecodeError as error:
        raise ReplicaFailed(
            f"entry {entry.index} of term {entry.term} is a configuration that this version cannot read: {error}"
        ) from error


# ── which is in force ────────────────────────────────────────────────────────────────────────────────────────────


class Configurations:
    """One that was in force at a committed index, and those appended since, the last of which is in force."""

    def __init__(self, base: Configuration, entries: Iterable[Entry], base_index: Index) -> None:
        self._stack: list[tuple[Index, Configuration]] = [(base_index, base)]
        self.current = base
        self.appended(entries)

    @property
    def index(self) -> Index:
        """Of the entry whose configuration is in force; 0 for the one at the log's base."""
        return self._stack[-1][0]

    def at(self, index: Index) -> Configuration:
        """The one that was in force when the log ended at ``index``."""
        for appended_at, configuration in reversed(self._stack):
            if appended_at <= index:
                return configuration
        raise LookupError(f"nobody knows any more what was in force at index {index}")

    def appended(self, entries: Iterable[Entry]) -> None:
        """Put the configurations among these newly appended entries in force."""
        for entry in entries:
            if entry.kind == EntryKind.CONFIGURATION:
                self._stack.append((entry.index, decode_configuration(entry)))
        self.current = self._stack[-1][1]

    def truncated_from(self, index: Index) -> None:
        """Roll back those whose entries were truncated."""
        while self._stack[-1][0] >= index and len(self._stack) > 1:
            self._stack.pop()
        self.current = self._stack[-1][1]

    def compacted(self, through: Index) -> None:
        """The entries up to there are gone: the last configuration among them is the base now."""
        while len(self._stack) > 1 and self._stack[1][0] <= through:
            del self._stack[0]

    def reset(self, base: Configuration, base_index: Index) -> None:
        """A snapshot has replaced the log, and its configuration all those of the log."""
        self._stack = [(base_index, base)]
        self.current = base


# ── leader ───────────────────────────────────────────────────────────────────────────────────────────────────────


def change(raft: Raft, leader: Leader, wanted: Change, *, force: bool) -> Index:
    """Append what begins the change; ``proceed`` does the rest. What is so already appends nothing.

    A change that most of the new voters have not been heard to survive is refused: they could commit nothing, and
    the cluster would stand still until they are back. Nor is one that moves voters who may not be found where they are
    said to be, unless there is a majority without them. ``force`` takes that risk, and no other. Safety does not hang
    on it, since whoever is heard or not both majorities must agree; so a forced change loses no data, but if the new
    voters do not come back there is no way back either, from the moment that a majority of the old ones has it.

    :raises ChangeRefused: with a sentence; nothing was appended.
    """
    if not _knows_what_is_committed(raft, leader):
        raise ChangeRefused("this leader is new, and does not know yet what is committed: try again")
    before = final(raft.configuration)
    after = changed(before, wanted)
    if after == before:
        return raft.configurations.index
    if raft.configuration.outgoing or raft.configurations.index > raft.commit_index:
        raise ChangeRefused("another change of the members is under way: try again when it is done")
    following = joint(before, after)
    if following.outgoing and not force and not _live_majority(raft, leader, after):
        raise ChangeRefused("most of the voters that there would be then have not been heard lately")
    moving = _moving(before, after)
    if moving and not force and after.voters != (raft.id,) and not _live_majority(raft, leader, after, without=moving):
        raise ChangeRefused("without those that move most of the voters have not been heard lately")
    return _append(raft, leader, following)


def proceed(raft: Raft, leader: Leader) -> None:
    """What a leader does by itself, whoever began it: end a joint configuration that is committed, make voters of
    learners that have caught up, and leave when it is no voter any more."""
    configuration = raft.configuration
    departed = raft.id not in configuration.voters
    if not (configuration.outgoing or configuration.joining or departed):
        return
    if raft.configurations.index > raft.commit_index or not _knows_what_is_committed(raft, leader):
        return
    if departed and not configuration.outgoing:
        _leave(raft, leader)
    elif leader.transfer is None:
        if configuration.outgoing:
            _append(raft, leader, final(configuration))
        elif ready := [joining.id for joining in configuration.joining if _has_caught_up(raft, leader, joining.id)]:
            _append(raft, leader, joint(final(configuration), promoted(configuration, ready)))


def appended(raft: Raft, leader: Leader, entry: Entry) -> None:
    """A leader has appended a configuration: from now on it sends to the members that it names. What a member's
    former incarnation had is forgotten; its disk is gone."""
    incarnations = {member.id: member.incarnation for member in raft.configuration.members}
    raft.configurations.appended((entry,))
    known, leader.progress = leader.progress, {}
    for peer in raft.peers():
        member = raft.configuration.member(peer)
        if peer in known and member and member.incarnation == incarnations.get(peer):
            leader.progress[peer] = known[peer]
        else:
            leader.progress[peer] = Progress(entry.index, raft.now)
            raft.boots.pop(peer, None)


def _append(raft: Raft, leader: Leader, configuration: Configuration) -> Index:
    return replication.append(raft, leader, EntryKind.CONFIGURATION, encode_configuration(configuration))


def _knows_what_is_committed(raft: Raft, leader: Leader) -> bool:
    """Until an entry of its own term is committed, a configuration may be committed that its log has only as if it
    were not, and a change of its own could have a majority that has none in common with that one's."""
    return raft.commit_index >= leader.sentinel


def _leave(raft: Raft, leader: Leader) -> None:
    """The configuration without this leader is committed: it has nothing to lead any more (thesis, 4.2.2). The best
    of the voters takes over at once; if there is none, an election timeout finds one."""
    if not transfer.start(raft, leader, None) or (leader.transfer and leader.transfer.sent):
        raft.become_follower(raft.term, NO_REPLICA)


def _has_caught_up(raft: Raft, leader: Leader, learner: ReplicaId) -> bool:
    progress = leader.progress[learner]
    return (
        transfer.could_take_over(raft, leader, learner)
        and progress.match + raft.config.promotion_max_behind >= raft.log.last_index
    )


def _moving(before: Configuration, after: Configuration) -> set[ReplicaId]:
    """Who is to be reached at another address, with the directory that it has."""
    there = {(member.id, member.incarnation): member.address for member in before.members}
    return {
        member.id
        for member in after.members
        if there.get((member.id, member.incarnation), member.address) != member.address
    }


def _live_majority(
    raft: Raft, leader: Leader, configuration: Configuration, without: Collection[ReplicaId] = ()
) -> bool:
    def lives(voter: ReplicaId) -> bool:
        return voter not in without and (voter == raft.id or _heard_lately(raft, leader, voter))

    return bool(quorum.reached(configuration, lambda voter: int(lives(voter))))


def _heard_lately(raft: Raft, leader: Leader, voter: ReplicaId) -> bool:
    """Not only for the grace that everyone has when a leadership begins: it has acknowledged something since."""
    progress = leader.progress.get(voter)
    return (
        progress is not None
        and progress.match > 0
        and not progress.gone
        and raft.now - progress.echoed_at < raft.config.election_min_s
    )
