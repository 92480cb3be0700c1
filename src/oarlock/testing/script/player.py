"""Plays a script line by line, and tells in which line and in what state it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from oarlock.testing.script.errors import CannotBeDone, NotAsExpected, NotUnderstood, Refused, ScenarioFailed
from oarlock.testing.script.expectations import Expectations, role_of
from oarlock.testing.script.network import Envelope
from oarlock.testing.script.phrases import Phrasebook
from oarlock.testing.script.setup import Setup
from oarlock.testing.script.steps import Steps
from oarlock.testing.script.wording import Pattern, describe

SETUP = Phrasebook(Setup)
STEPS = Phrasebook(Steps)
EXPECTATIONS = Phrasebook(Expectations)
MESSAGES_TOLD = 30
OURS = (CannotBeDone, NotAsExpected, NotUnderstood)
"""Errors that say all by themselves; any other comes from a core or a check, and keeps its traceback."""


def play(text: str, name: str = "") -> None:
    """Play a whole script. ``name``, usually its file's, is for the message.

    :raises ScenarioFailed: if an expectation or an invariant does not hold, or a line cannot be carried out.
    """
    player = Player(name)
    for line in text.splitlines():
        player.play(line)
    player.end()


class Player:
    """Takes one line after another; ``said`` is the script so far."""

    def __init__(self, name: str = "") -> None:
        self.name = name or "script"
        self.said: list[str] = []
        self._setup = Setup()
        self._steps: Steps | None = None

    @property
    def steps(self) -> Steps:
        """The steps, and the cluster that they are done to; the setup ends here."""
        if self._steps is None:
            self._steps = Steps(self._setup.build())
        return self._steps

    @property
    def expectations(self) -> Expectations:
        """What can be expected of that cluster."""
        return Expectations(self.steps.cluster, self.steps.reads)

    def play(self, line: str) -> None:
        """Do what the line says.

        :raises ScenarioFailed: if it cannot be done, or does not hold.
        """
        self.said.append(line)
        words = " ".join(line.partition("#")[0].replace("->", "→").split())
        if words:
            try:
                self._do(words)
            except Exception as error:  # whatever a core throws, the reader wants the line first
                raise ScenarioFailed(self._report(words, error)) from (None if isinstance(error, OURS) else error)

    def attempt(self, line: str) -> None:
        """Do what the line says, if the core does not refuse; if it does, ``cannot`` is what has been said.

        :raises ScenarioFailed: if anything else comes of it.
        """
        try:
            self.play(line)
        except ScenarioFailed as failure:
            if not isinstance(failure.__context__, Refused):
                raise
            self.said[-1] = f"cannot {line}"

    def end(self) -> None:
        """The script is over.

        :raises ScenarioFailed: if it has said nothing but who there is.
        """
        if self._steps is None:
            raise ScenarioFailed(f"{self.name}: nothing happens in this script")

    def _do(self, words: str) -> None:
        opening, _, rest = words.partition(" ")
        if self._steps is None and opening in SETUP.openings():
            method, arguments = SETUP.understand(words)
            getattr(self._setup, method)(*arguments)
        elif opening == "expect":
            self._carry_out(EXPECTATIONS, self.expectations, rest)
        elif opening == "cannot":
            self._expect_refusal(rest)
        else:
            self._carry_out(STEPS, self.steps, words)

    def _expect_refusal(self, words: str) -> None:
        words, _, reason = words.partition(" because ")
        try:
            self._carry_out(STEPS, self.steps, words)
        except Refused as refusal:
            if reason not in str(refusal):
                raise NotAsExpected(f"it was {refusal}") from refusal
            return
        raise NotAsExpected("it was not refused")

    def _carry_out(self, book: Phrasebook, speaker: Steps | Expectations, words: str) -> None:
        method, arguments = book.understand(words)
        for argument in arguments:
            if isinstance(argument, Pattern):  # else a wrong number in ``expect not sent`` would always hold
                argument.check_ends(speaker.cluster.replicas)
        getattr(speaker, method)(*arguments)

    def _report(self, words: str, error: Exception) -> str:
        what = str(error) if isinstance(error, OURS) else f"{type(error).__name__}: {error}"
        lines = [f"{self.name}:{len(self.said)}: {words}", what]
        if self._steps and not isinstance(error, NotUnderstood):
            lines += _state(self._steps)
        return "\n    ".join(lines)


def _state(steps: Steps) -> list[str]:
    """The cluster in a few lines."""
    cluster = steps.cluster
    lines = []
    for replica in cluster.replicas.values():
        if not replica.running:
            lines.append(
                f"{replica.id}: crashed; on disk term {replica.disk.term}, {len(replica.disk.entries)} entries"
                + (f" after {replica.disk.base[0]}" if replica.disk.base[0] else "")
            )
            continue
        raft, terms = replica.raft, " ".join(map(str, replica.terms)) or "nothing"
        lines.append(
            f"{replica.id}: {role_of(raft)}, term {raft.term}, log {terms}, durable {raft.log.durable_index}, "
            f"commit {raft.commit_index}"
            + (f", base {raft.log.base_index}" if raft.log.base_index else "")
            + (f", fetches {replica.fetch.index}" if replica.fetch else "")
            + (f", restores {replica.restoring.point.index}" if replica.restoring else "")
        )
    lines += _listed("on its way", cluster.network.on_its_way)
    if cluster.network.held:
        lines += _listed("held", cluster.network.held)
    return lines


def _listed(where: str, envelopes: Sequence[Envelope]) -> list[str]:
    told = [f"{where}: {'' if envelopes else 'nothing'}".rstrip()]
    told += [f"  {describe(envelope)}" for envelope in envelopes[:MESSAGES_TOLD]]
    if len(envelopes) > MESSAGES_TOLD:
        told.append(f"  and {len(envelopes) - MESSAGES_TOLD} more")
    return told
