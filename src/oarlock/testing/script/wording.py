"""Messages in words: how a script names those it means, and how a report tells what is on its way.

    append term 3 beat 0 after 1:1 entries 2:2 3:3 commit 0       entries are written index:term
    vote-reply term 3 granted

A pattern names a link, a kind and any of the attributes: ``1→2 append entries 2:2``. What it leaves out may be
anything; ``*`` stands for any replica. ``2nd 1→2 append`` is the second oldest of those.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

import msgspec

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
from oarlock.testing.script.errors import CannotBeDone, NotUnderstood
from oarlock.testing.script.network import Envelope
from oarlock.testing.script.replica import past_entry
from oarlock.types import Beat, Index, Term

KINDS: dict[str, type[CoreMessage]] = {
    "append": AppendEntries,
    "ack": AppendAck,
    "reject": AppendReject,
    "pre-vote": PreVote,
    "pre-vote-reply": PreVoteReply,
    "request-vote": RequestVote,
    "vote-reply": RequestVoteReply,
    "timeout-now": TimeoutNow,
    "stale-term": StaleTerm,
    "install-snapshot": InstallSnapshot,
}
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "append": ("term", "beat", "after", "entries", "commit", "echo-now"),
    "ack": ("term", "beat", "match"),
    "reject": ("term", "beat", "after", "hint"),
    "pre-vote": ("term", "log", "leader-dead"),
    "pre-vote-reply": ("term", "granted", "refused"),
    "request-vote": ("term", "log", "transfer"),
    "vote-reply": ("term", "granted", "refused"),
    "timeout-now": ("term",),
    "stale-term": ("term",),
    "install-snapshot": ("term", "beat", "at"),
}
"""``after`` is the entry before those sent, ``log`` the last entry of the sender's, ``at`` where a snapshot stands.
Flags stand or do not."""

Attributes = dict[str, str]


class Pattern(msgspec.Struct, frozen=True):
    """Which messages a script means."""

    sender: int | None = None
    receiver: int | None = None
    kind: str | None = None
    attributes: Attributes = {}
    ordinal: int = 1

    def matches(self, envelope: Envelope) -> bool:
        """Whether it means this one, but for the ordinal."""
        if self.sender not in (None, envelope.sender) or self.receiver not in (None, envelope.receiver):
            return False
        kind, attributes = attributes_of(envelope.message)
        return self.kind in (None, kind) and self.attributes.items() <= attributes.items()

    def check_ends(self, replicas: Container[int]) -> None:
        """That there are such replicas.

        :raises CannotBeDone: if there is none of that number.
        """
        for end in (self.sender, self.receiver):
            if end is not None and end not in replicas:
                raise CannotBeDone(f"there is no replica {end}")

    def among(self, envelopes: Iterable[Envelope]) -> list[Envelope]:
        """Those it means, oldest first."""
        return [envelope for envelope in envelopes if self.matches(envelope)]


def attributes_of(message: CoreMessage) -> tuple[str, Attributes]:
    """Its kind, and what it says."""
    told: Attributes = {"term": str(message.term)}
    match message:
        case AppendEntries():
            kind = "append"
            entries = " ".join(f"{entry.index}:{entry.term}" for entry in message.entries)
            told |= {"beat": str(message.beat), "after": f"{message.prev_index}:{message.prev_term}"}
            told |= {"entries": entries or "none", "commit": str(message.commit)}
            told |= {"echo-now": ""} if message.echo_now else {}
        case AppendAck():
            kind = "ack"
            told |= {"beat": str(message.beat), "match": str(message.match)}
        case AppendReject():
            kind = "reject"
            told |= {"beat": str(message.beat), "after": str(message.prev_index)}
            told |= {"hint": f"{message.hint_index}:{message.hint_term}"}
        case PreVote():
            kind = "pre-vote"
            told |= {"log": f"{message.last_index}:{message.last_term}"}
            told |= {"leader-dead": ""} if message.leader_dead else {}
        case PreVoteReply():
            kind = "pre-vote-reply"
            told |= {"granted" if message.granted else "refused": ""}
        case RequestVote():
            kind = "request-vote"
            told |= {"log": f"{message.last_index}:{message.last_term}"}
            told |= {"transfer": ""} if message.transfer else {}
        case RequestVoteReply():
            kind = "vote-reply"
            told |= {"granted" if message.granted else "refused": ""}
        case TimeoutNow():
            kind = "timeout-now"
        case StaleTerm():
            kind = "stale-term"
        case InstallSnapshot():
            kind = "install-snapshot"
            told |= {"beat": str(message.beat), "at": f"{message.index}:{message.index_term}"}
    return kind, told


def describe(envelope: Envelope) -> str:
    """The whole message in words, which are a pattern that means it."""
    kind, attributes = attributes_of(envelope.message)
    words = [" ".join([name, value]).strip() for name, value in attributes.items()]
    return " ".join([f"{envelope.sender}→{envelope.receiver}", kind, *words])


def pattern_of(text: str) -> Pattern:
    """The pattern that these words make: ``[2nd] [1→2] [kind [attribute [value ...]] ...]``.

    :raises NotUnderstood: if they make none.
    """
    words = text.split()
    ordinal, sender, receiver, kind = 1, None, None, None
    if words and (count := re.fullmatch(r"([1-9]\d*)(st|nd|rd|th)", words[0])):
        ordinal, words = int(count[1]), words[1:]
    if words and (link := re.fullmatch(r"(\d+|\*)→(\d+|\*)", words[0])):
        sender, receiver = (None if end == "*" else int(end) for end in link.groups())
        words = words[1:]
    if words:
        kind, words = words[0], words[1:]
        if kind not in KINDS:
            raise NotUnderstood(f"there is no message {kind!r}; there are {', '.join(KINDS)}")
    return Pattern(sender, receiver, kind, _attributes(kind, words), ordinal)


def message_of(pattern: Pattern) -> CoreMessage:
    """The message that a whole pattern describes, for one from nowhere.

    :raises NotUnderstood: if the pattern leaves out what such a message must say.
    """
    given = pattern.attributes
    try:
        term = Term(int(given["term"]))
        match pattern.kind:
            case "append":
                prev_index, prev_term = _position(given["after"])
                entries = given.get("entries", "none").replace("none", "").split()
                return AppendEntries(
                    term,
                    Beat(int(given.get("beat", "0"))),
                    prev_index,
                    prev_term,
                    Index(int(given.get("commit", "0"))),
                    "echo-now" in given,
                    0,
                    tuple(past_entry(*_position(entry)) for entry in entries),
                )
            case "ack":
                return AppendAck(term, Beat(int(given.get("beat", "0"))), Index(int(given["match"])))
            case "reject":
                beat = Beat(int(given.get("beat", "0")))
                return AppendReject(term, beat, Index(int(given["after"])), *_position(given["hint"]))
            case "pre-vote":
                return PreVote(term, *_position(given["log"]), "leader-dead" in given)
            case "pre-vote-reply":
                return PreVoteReply(term, "granted" in given)
            case "request-vote":
                return RequestVote(term, *_position(given["log"]), "transfer" in given)
            case "vote-reply":
                return RequestVoteReply(term, "granted" in given, 100 + (pattern.sender or 0), 0)
            case "timeout-now":
                return TimeoutNow(term)
            case "stale-term":
                return StaleTerm(term)
            case "install-snapshot":
                return InstallSnapshot(term, Beat(int(given.get("beat", "0"))), *_position(given["at"]), 0)
    except KeyError as missing:
        raise NotUnderstood(f"such a message must say its {missing.args[0]!r}") from missing
    except ValueError as error:
        raise NotUnderstood(f"not a number: {error}") from error
    raise NotUnderstood("say which kind of message")


def _attributes(kind: str | None, words: list[str]) -> Attributes:
    known = ATTRIBUTES.get(kind or "", ())
    attributes: Attributes = {}
    name = ""
    for word in words:
        if word in known:
            name = word
            attributes[name] = ""
        elif not name:
            raise NotUnderstood(f"{kind} says nothing of {word!r}, only of {', '.join(known)}")
        else:
            attributes[name] = f"{attributes[name]} {word}".strip()
    return attributes


def _position(text: str) -> tuple[Index, Term]:
    index, _, term = text.partition(":")
    return Index(int(index)), Term(int(term))
