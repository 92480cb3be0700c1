"""How a script begins: who there is, and what they have been through."""

from __future__ import annotations

from typing import Any

import msgspec

from oarlock.core import Config
from oarlock.testing.script.cluster import Cluster
from oarlock.testing.script.errors import NotUnderstood
from oarlock.testing.script.phrases import phrase

LIMITS = {field.name: field.type for field in msgspec.structs.fields(Config)}


class Setup:
    """The lines before the first step, and the cluster that they make."""

    def __init__(self) -> None:
        self._voters: list[int] = []
        self._outgoing: list[int] = []
        self._learners: list[int] = []
        self._formed = True
        self._logs: dict[int, list[int]] = {}
        self._terms: dict[int, int] = {}
        self._limits: dict[str, Any] = {}
        self._seed = 0

    def build(self) -> Cluster:
        """The cluster, everybody started and connected, at time 0.

        :raises NotUnderstood: if no line says who the voters are, or a past is given to nobody.
        """
        if not self._voters:
            raise NotUnderstood("the script must first say who there is: replicas 3, or voters 1 2 3")
        if strangers := {*self._logs, *self._terms} - {*self._voters, *self._outgoing, *self._learners}:
            raise NotUnderstood(f"a log or a term for {min(strangers)}, which is not in the cluster")
        try:
            config = Config(**self._limits)
        except ValueError as error:
            raise NotUnderstood(str(error)) from error
        return Cluster(
            self._voters,
            learners=self._learners,
            outgoing=self._outgoing,
            formed=self._formed,
            logs=self._logs,
            terms=self._terms,
            config=config,
            seed=self._seed,
        )

    @phrase("replicas {count}")
    def replicas(self, count: int) -> None:
        """Replicas 1, 2, ..., all of them voters."""
        self._voters = list(range(1, count + 1))

    @phrase("voters {replicas}")
    def voters(self, replicas: list[int]) -> None:
        """These vote."""
        self._voters = replicas

    @phrase("learners {replicas}")
    def learners(self, replicas: list[int]) -> None:
        """These have the log, and no vote."""
        self._learners = replicas

    @phrase("joint {sides}")
    def joint(self, sides: list[list[int]]) -> None:
        """The voters of the new half, and of the old: both majorities must agree."""
        self._voters, self._outgoing = sides

    @phrase("unformed")
    def unformed(self) -> None:
        """The cluster has never had a leader: nobody knows the others' incarnations."""
        self._formed = False

    @phrase("log {replicas}: {terms}")
    def log(self, replicas: list[int], terms: list[int]) -> None:
        """The terms of their entries, as the paper draws logs; the last is their current term."""
        for replica in replicas:
            self._logs[replica] = terms

    @phrase("term {replicas}: {count}")
    def term(self, replicas: list[int], term: int) -> None:
        """Their current term, if it is not that of their last entries."""
        for replica in replicas:
            self._terms[replica] = term

    @phrase("limit {word} {count}")
    def limit(self, name: str, value: int) -> None:
        """A value of ``core/config.py``."""
        if LIMITS.get(name) is not int:
            raise NotUnderstood(f"no limit is named {name!r}")
        self._limits[name] = value

    @phrase("seed {count}")
    def seed(self, seed: int) -> None:
        """Of the random election timeouts."""
        self._seed = seed
