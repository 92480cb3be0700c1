"""How a script says what is to change of the members: ``add 4, remove 2, replace 1 by 5, move 3 to host9:7000``."""

from __future__ import annotations

from oarlock.core import Change
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.phrases import phrase
from oarlock.types import Member, ReplicaId


class Changes:
    """The clauses after ``change``, and the change that they make together."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.force = False
        self._add: list[Member] = []
        self._replace: list[tuple[ReplicaId, Member]] = []
        self._remove: list[ReplicaId] = []
        self._move: list[tuple[ReplicaId, str]] = []
        self._as_learners = False

    @property
    def change(self) -> Change:
        """What all clauses together ask for."""
        return Change(
            add=tuple(self._add),
            replace=tuple(self._replace),
            remove=tuple(self._remove),
            move=tuple(self._move),
            as_learners=self._as_learners,
        )

    @phrase("add {replicas} as learners")
    def add_learners(self, replicas: list[int]) -> None:
        """They learn, and do not vote."""
        self.add(replicas)
        self._as_learners = True

    @phrase("add {replica} at {word}")
    def add_at(self, replica: int, address: str) -> None:
        """The same, at an address that is not its usual one."""
        self._add.append(self.cluster.member(replica, address))

    @phrase("add {replicas}")
    def add(self, replicas: list[int]) -> None:
        """They learn, and become voters once they have caught up."""
        self._add += map(self.cluster.member, replicas)

    @phrase("replace {replica} by {replica}")
    def replace(self, old: int, new: int) -> None:
        """The new one takes the place of the old one. By the same id: it has lost its disk, and rejoins."""
        self._replace.append((ReplicaId(old), self.cluster.member(new)))

    @phrase("remove {replicas}")
    def remove(self, replicas: list[int]) -> None:
        """They leave for good."""
        self._remove += map(ReplicaId, replicas)

    @phrase("move {replica} to {word}")
    def move(self, replica: int, address: str) -> None:
        """It listens at another address from now on."""
        self._move.append((ReplicaId(replica), address))

    @phrase("by force")
    def by_force(self) -> None:
        """Also if most of the new voters have not been heard lately."""
        self.force = True
