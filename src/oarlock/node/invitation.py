"""What a replica that is to join must know of its cluster before it can talk to anyone."""

from __future__ import annotations

import msgspec

from oarlock.core.change import Change, changed, final, joint
from oarlock.errors import ChangeRefused, StartupError
from oarlock.storage.identity import Identity, joining_identity
from oarlock.types import Configuration, Member, ReplicaId


class Invitation(msgspec.Struct, frozen=True):
    """Says who the cluster is. It admits nobody: the leader does, by a change of its members."""

    cluster_id: str
    cluster_name: str
    configuration: Configuration

    def encode(self) -> bytes:
        """To be carried to the new replica."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Invitation:
        """:raises StartupError: it is none"""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (ValueError, RecursionError) as error:
            raise StartupError(f"this is no invitation of a replica's: {error}") from error

    def identity(self, member: Member) -> Identity:
        """Of a new data directory for this member; or for a new life of one that has lost its own.

        :raises StartupError: the cluster has not formed yet, or could not take it in
        """
        known = self.configuration.member(member.id)
        change = Change(replace=((member.id, member),)) if known is not None else Change(add=(member,))
        try:
            return self.identity_by(change, member.id)
        except ChangeRefused as refusal:
            raise StartupError(f"the cluster would not take in replica {member.id}: {refusal}") from refusal

    def identity_by(self, change: Change, replica: ReplicaId) -> Identity:
        """Of a new data directory for the replica that this change brings in.

        :raises StartupError: the cluster has not formed yet
        :raises ChangeRefused: it would refuse the change, by its own rules
        """
        if not self.configuration.formed:
            raise StartupError("the cluster has not formed yet: start all of its initial replicas first")
        before = final(self.configuration)
        after = changed(before, change)
        joint(before, after)
        return joining_identity(
            replica, cluster_id=self.cluster_id, cluster_name=self.cluster_name, configuration=after
        )
