"""At an equal applied index, and in every snapshot of that index, replicas know the same term and time, the same
members, and the same last slice of each origin.

What a snapshot says of those does its harm much later: when another replica has begun anew with it, and only if a write
of one of its clients was under way, or the members change again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oarlock.core.invariants import Invariant
from oarlock.node.snapshots import decode_node_state
from oarlock.testing.simulation.host import Host
from oarlock.types import Index, SnapshotPoint

if TYPE_CHECKING:
    from oarlock.node.applier import Origins
    from oarlock.storage.snapshot import SnapshotHeader

SNAPSHOTS_AGREE = Invariant(
    "SNAPSHOTS_AGREE",
    "what the header of a snapshot tells is equal on all replicas at an equal index",
    lambda known, other: known == other,
)


class Agreement:
    """Watches what each replica would say in the header of a snapshot, and what its newest one says."""

    def __init__(self) -> None:
        self._known: dict[Index, tuple[SnapshotPoint, Origins]] = {}
        """By index, as the first replica knew it."""
        self._looked_at: dict[int, SnapshotHeader] = {}
        """By replica: that of its newest snapshot, when it was looked at last."""

    def stepped(self, host: Host) -> None:
        """Look at a replica that has moved.

        :raises InvariantViolated: it knows otherwise than one that has applied as much.
        """
        assert host.node is not None
        raft, newest = host.node._raft, host.node._snapshots.newest
        if not raft.restoring:
            self._look_at(host, raft.point(), host.node._applier.origins)
        if newest is not None and newest.header is not self._looked_at.get(host.id):
            self._looked_at[host.id] = newest.header
            self._look_at(host, newest.header.point, decode_node_state(newest.header).origins)

    def _look_at(self, host: Host, point: SnapshotPoint, origins: Origins) -> None:
        assert host.node is not None
        if point.configuration == host.node._identity.configuration:
            return  # it goes by what it was told when it was initialised, until its log names a configuration
        known = self._known.setdefault(point.index, (point, dict(origins)))
        SNAPSHOTS_AGREE.require(known, (point, origins))
