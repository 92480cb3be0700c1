"""What is checked after every step of a script can fail: each check, with a core that has the bug it is there for."""

from typing import Any

import pytest

from oarlock.core import Raft, ReadConfirmed, authority, election, quorum, replication
from oarlock.core.log import Log
from oarlock.core.quorum import VoteResult
from oarlock.testing.script import ScenarioFailed, play

append, campaign = Log.append, election.campaign


def durable_at_once(log: Any, entries: Any) -> None:
    append(log, entries)
    log.durable_index = log.last_index


def lead_at_once(raft: Any, *, transfer: bool, retries: int = 0) -> None:
    campaign(raft, transfer=transfer, retries=retries)
    election.own_vote_is_durable(raft)


def confirm_unasked(raft: Any, leader: Any) -> None:
    for token in leader.tokens:
        raft.read_outcomes.append(ReadConfirmed(token.request, token.index, 0))
    leader.tokens.clear()


def confirm_for_ever(raft: Any, leader: Any) -> None:
    for token in leader.tokens:
        raft.read_outcomes.append(ReadConfirmed(token.request, token.index, 0))


@pytest.mark.parametrize(
    ("where", "what", "bug", "script", "sentence"),
    [
        (Raft, "send_after_persist", Raft.send, "replicas 2\nelect 1", "1's vote for 1 in term 1 left before"),
        (
            replication,
            "_acknowledgeable",
            lambda raft, follower: min(follower.matched, raft.log.durable_index),
            "replicas 3\nlog 1 2 3: 1\nhold fsync 2\nelect 1",
            "2 acknowledged in a term that is not durable",
        ),
        (
            Log,
            "append",
            durable_at_once,
            "replicas 3\nelect 1",
            "2 acknowledged up to 1, which is not all durable",
        ),
        (quorum, "majority_size", lambda voters: 1, "replicas 3\nelect 1", "but no majority holds it durably"),
        (
            election,
            "_result",
            lambda raft, votes: VoteResult.WON,
            "replicas 3\ntimeout 1\ntimeout 2",
            "two leaders in term 1",
        ),
        (
            election,
            "campaign",
            lead_at_once,
            "replicas 1\nhold fsync 1\ntimeout 1\ncrash 1\nrestart 1\ntimeout 1",
            "1 leads term 1 a second time",
        ),
        (
            Log,
            "is_up_to_date",
            lambda log, last_index, last_term: True,
            "replicas 3\nelect 1\npartition 1 2 | 3\npropose 1 x\ndeliver all\nheal\ncrash 1\ntimeout 3\ndeliver all",
            "leader 3 of term 2 lacks committed entry",
        ),
        (
            replication,
            "_has",
            lambda raft, entry: entry.index <= raft.log.last_index,
            "replicas 3\nlog 1: 1 3\nlog 2: 1 2\nelect 1\nrun 1s",
            "LOG_MATCHING",
        ),
        (
            authority,
            "open_round",
            confirm_unasked,
            "replicas 3\nelect 1\npartition 1 | 2 3\nelect 2\nread 1 r",
            "a read at 1 was confirmed at 1, but 2 was committed before it began",
        ),
        (
            authority,
            "open_round",
            confirm_for_ever,
            "replicas 3\nelect 1\nread 1 r\npropose 1 x\ndeliver all",
            "read r ended twice",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and "\n" not in value else "",
)
@pytest.mark.interpreted
def test_a_core_with_a_bug_fails(
    where: Any, what: str, bug: Any, script: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(script)  # without the bug nothing is wrong
    monkeypatch.setattr(where, what, bug)
    with pytest.raises(ScenarioFailed, match=sentence):
        play(script)
