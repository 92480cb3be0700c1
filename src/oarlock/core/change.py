"""What a change of members makes of a configuration. Values in, values out: who may ask for it when, and how it takes
effect, is decided in ``membership.py``.

    before ──joint()──► both sets of voters must agree ──final()──► after
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import msgspec

from oarlock.core.quorum import majority_size
from oarlock.errors import ChangeRefused
from oarlock.types import NO_REPLICA, Configuration, Joining, Member, ReplicaId


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change. All of it is taken, or nothing. What is so already is no error: a change can be repeated."""

    add: tuple[Member, ...] = ()
    """They learn first, and become voters by themselves once they have caught up."""
    replace: tuple[tuple[ReplicaId, Member], ...] = ()
    """(who leaves, who comes in its place): likewise, and the old one leaves in the moment in which the new one
    becomes a voter. The same id with a new incarnation is a replica that lost its disk and *rejoins*: what votes it
    gave is forgotten, so it stops being a voter first."""
    remove: tuple[ReplicaId, ...] = ()
    """They leave for good."""
    move: tuple[tuple[ReplicaId, str], ...] = ()
    """(who, the address at which it listens from now on)."""
    as_learners: bool = False
    """Those added stay learners; refused for one that votes, or is to."""

    def __post_init__(self) -> None:
        for name in ("add", "replace", "remove", "move"):  # lists are as good
            msgspec.structs.force_setattr(self, name, tuple(getattr(self, name)))


def changed(before: Configuration, change: Change) -> Configuration:
    """What ``before``, which is not joint, is to become in the end; equal to it if all is as asked for.

    :raises ChangeRefused: with a sentence, if the change contradicts itself or what is there.
    """
    draft = _Draft(before)
    for replica in change.remove:
        draft.remove(replica)
    for replica, address in change.move:
        draft.move(replica, address)
    for replica, member in change.replace:
        if replica == member.id:
            draft.rejoin(member)
        else:
            draft.replace(replica, member)
    for member in change.add:
        draft.add(member, as_learner=change.as_learners)
    return draft.result()


def promoted(before: Configuration, ready: list[ReplicaId]) -> Configuration:
    """What ``before``, which is not joint, is to become when these of its joining learners are made voters."""
    draft = _Draft(before)
    for replica in ready:
        draft.promote(replica)
    return draft.result()


def joint(before: Configuration, after: Configuration) -> Configuration:
    """The configuration to append on the way from ``before`` to ``after``: joint if the voters change, else ``after``.

    :raises ChangeRefused: if ``before`` could never agree to it, or two members would share an address.
    """
    outgoing = before.voters if after.voters != before.voters else ()
    if len(set(outgoing) - set(after.learners)) < majority_size(len(outgoing)) and outgoing:
        _refuse("without the replicas that lost their disks there is no majority of the voters")
    leaving = tuple(member for member in before.members if member.id in outgoing and not after.member(member.id))
    members = _in_order((*after.members, *leaving))
    _check_addresses(members)
    gone = tuple(replica for replica in after.removed if replica not in outgoing)
    return Configuration(members, after.voters, outgoing, after.learners, after.joining, gone)


def final(configuration: Configuration) -> Configuration:
    """The configuration without its outgoing half: whoever was only there has left for good."""
    staying = {*configuration.voters, *configuration.learners}
    left = {member.id for member in configuration.members} - staying
    return Configuration(
        _in_order(member for member in configuration.members if member.id in staying),
        tuple(sorted(configuration.voters)),
        (),
        tuple(sorted(configuration.learners)),
        tuple(sorted(configuration.joining, key=lambda joining: joining.id)),
        tuple(sorted({*configuration.removed, *left})),
    )


class _Draft:
    """A configuration that is being changed, one wish after another."""

    def __init__(self, before: Configuration) -> None:
        self._members = {member.id: member for member in before.members}
        self._voters = set(before.voters)
        self._learners = set(before.learners)
        self._joining = {joining.id: joining for joining in before.joining}
        self._removed = set(before.removed)

    def result(self) -> Configuration:
        if not self._voters:
            _refuse("the last voter cannot leave")
        return final(
            Configuration(
                tuple(self._members.values()),
                tuple(self._voters),
                (),
                tuple(self._learners),
                tuple(self._joining.values()),
                tuple(self._removed),
            )
        )

    def add(self, member: Member, *, as_learner: bool) -> None:
        self._admit(member)
        if not as_learner:
            if member.id in self._learners:
                self._joining.setdefault(member.id, Joining(member.id))
        elif member.id in self._voters:
            _refuse(f"replica {member.id} is a voter already, and voters do not become learners")
        elif member.id in self._joining:
            _refuse(f"replica {member.id} is to become a voter already: remove it if it is not to be one")

    def replace(self, old: ReplicaId, new: Member) -> None:
        if old not in self._members and self._members.get(new.id) == new:
            return  # done already
        self._known(old)
        if old in self._learners:  # nothing is lost before the new one has caught up: it goes at once
            place = self._joining.get(old)
            self.remove(old)
            self._admit(new)
            if place and new.id in self._learners:
                self._joining[new.id] = Joining(new.id, place.replaces)
            return
        if other := next((j.id for j in self._joining.values() if j.replaces == old and j.id != new.id), None):
            _refuse(f"replica {old} is being replaced by replica {other} already")
        self._admit(new)
        if new.id in self._voters:
            _refuse(f"replica {new.id} is a voter already: remove replica {old} instead")
        self._joining[new.id] = Joining(new.id, old)

    def rejoin(self, member: Member) -> None:
        known = self._known(member.id)
        if known.incarnation == member.incarnation and known.address == member.address:
            return
        if known.incarnation == member.incarnation:
            _refuse(f"replica {member.id} has this data directory already, and another address: move it")
        if member.generation not in (0, known.generation + 1):
            # Its boots would be those of the directory that came in between.
            _refuse(f"replica {member.id} has rejoined since this data directory was made for it: make another")
        _check(member)
        self._members[member.id] = msgspec.structs.replace(member, generation=known.generation + 1)
        if member.id in self._voters:
            self._voters.remove(member.id)
            self._learners.add(member.id)
            self._joining[member.id] = Joining(member.id)

    def remove(self, replica: ReplicaId) -> None:
        if self._members.pop(replica, None) is None:
            return
        self._voters.discard(replica)
        self._learners.discard(replica)
        self._joining.pop(replica, None)
        self._removed.add(replica)
        for joining in list(self._joining.values()):
            if joining.replaces == replica:
                self._joining[joining.id] = Joining(joining.id)

    def move(self, replica: ReplicaId, address: str) -> None:
        self._members[replica] = msgspec.structs.replace(self._known(replica), address=address)

    def promote(self, replica: ReplicaId) -> None:
        joining = self._joining.pop(replica)
        self._learners.remove(replica)
        self._voters.add(replica)
        if joining.replaces != NO_REPLICA:
            self.remove(joining.replaces)

    def _known(self, replica: ReplicaId) -> Member:
        if replica not in self._members:
            _refuse(f"there is no replica {replica}")
        return self._members[replica]

    def _admit(self, member: Member) -> None:
        """As a learner, if it is not there yet."""
        if member.id in self._removed:
            _refuse(f"replica {member.id} has been removed, and its id is never used again")
        known = self._members.get(member.id)
        if known is None:
            _check(member)
            self._members[member.id] = member
            self._learners.add(member.id)
        elif known.incarnation != member.incarnation:
            _refuse(f"there is a replica {member.id} already, with another data directory")
        elif known.address != member.address:
            _refuse(f"there is a replica {member.id} already, at {known.address}")


def _check(member: Member) -> None:
    if member.id <= NO_REPLICA or not member.address or not member.incarnation:
        _refuse(f"a member needs an id, an address and an incarnation, not {member}")


def _check_addresses(members: tuple[Member, ...]) -> None:
    at: dict[str, ReplicaId] = {}
    for member in members:
        if (other := at.setdefault(member.address, member.id)) != member.id:
            _refuse(f"replicas {other} and {member.id} cannot share the address {member.address}")


def _in_order(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: member.id))


def _refuse(sentence: str) -> NoReturn:
    raise ChangeRefused(sentence)
