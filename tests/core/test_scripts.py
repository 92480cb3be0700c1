"""Every script in tests/scenarios, one test each; and what the language says of scripts that are wrong."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from oarlock.testing import script
from oarlock.testing.script import ScenarioFailed, play
from oarlock.testing.script.player import EXPECTATIONS, SETUP, STEPS
from oarlock.testing.script.steps import CHANGES

SCENARIOS = sorted((Path(__file__).parent.parent / "scenarios").glob("*.txt"))
SETUP_WORDS = SETUP.openings()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    play(path.read_text(encoding="utf-8"), f"tests/scenarios/{path.name}")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_scenario_hangs_on_how_long_random_timeouts_are(path: Path, seed: int) -> None:
    play(f"seed {seed}\n{path.read_text(encoding='utf-8')}", f"tests/scenarios/{path.name} with seed {seed}")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_it_begins_by_telling_what_happened(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = 0
    while lines[comment].startswith("# "):
        comment += 1
    assert 1 <= comment <= 3
    assert max(map(len, lines)) <= 120


def test_no_phrase_of_the_language_goes_unsaid() -> None:
    """What no story needs is not worth learning. Only random runs need seeds."""
    said = {wording for path in SCENARIOS for wording in phrases_said(path.read_text(encoding="utf-8"))}
    language = {phrase.wording for book in (SETUP, STEPS, EXPECTATIONS) for phrase in book.phrases}
    assert language - said == {"seed {count}"}


def test_no_clause_of_a_change_goes_unsaid() -> None:
    said = "\n".join(path.read_text(encoding="utf-8") for path in SCENARIOS)
    clauses = {clause for rest in re.findall(r"change \d+ ([^#\n]+)", said) for clause in rest.strip().split(", ")}
    for phrase in CHANGES.phrases:
        assert any(phrase.fit(clause.partition(" because ")[0]) is not None for clause in clauses), phrase.wording


def phrases_said(text: str) -> Iterator[str]:
    for line in text.splitlines():
        words = line.partition("#")[0].strip().removeprefix("cannot ")
        book = EXPECTATIONS if words.startswith("expect ") else SETUP if words.split(" ")[0] in SETUP_WORDS else STEPS
        for phrase in book.phrases:
            if phrase.fit(words.removeprefix("expect ")) is not None:
                yield phrase.wording
                break


def test_the_example_of_the_package_plays() -> None:
    outcome = doctest.testmod(script)
    assert (outcome.attempted, outcome.failed) == (1, 0)


def failure_of(text: str) -> str:
    with pytest.raises(ScenarioFailed) as failure:
        play(text, "a.txt")
    return str(failure.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        # not in the language
        ("jump 1", "nothing begins with 'jump'; there are: wait, run, timeout"),
        ("change 1 shrink", "nothing begins with 'shrink'; there are: add, replace, remove, move, by"),
        ("crash", "'crash' fits none of: crash {replica} keeping {count}; crash {replicas}"),
        ("wait 5", "'wait 5' fits none of: wait {time}"),
        ("deliver 1→2 appendix", "there is no message 'appendix'; there are append, ack"),
        ("deliver 1→2 ack entries 2:1", "ack says nothing of 'entries', only of term, beat, match"),
        ("inject 2→1 ack term 1", "such a message must say its 'match'"),
        ("inject 2→1 ack term x match 1", "not a number"),
        ("expect 1 happy", "'1 happy' fits none of: {replicas} role {word}"),
        ("expect luck", "nothing begins with 'luck'; there are: no, a, leader"),
        ("expect sent", "'sent' fits none of: sent {messages}"),
        ("replicas 3", "nothing begins with 'replicas'"),
        # nothing there to do it with
        ("deliver 1→2 reject", "no such message is on its way"),
        ("deliver 2nd 1→2 append", "only 1 such message is on its way"),
        ("drop 2→1", "no such message is on its way"),
        ("release 1→2 append", "no such message is held"),
        ("fsync 1", "1 has no fsync outstanding"),
        ("crash 9", "there is no replica 9"),
        ("partition 1 2 | 9", "there is no replica 9"),
        ("cut 9→1", "there is no replica 9"),
        ("expect not sent 1→9 append", "there is no replica 9"),
        ("expect 9 commit 1", "there is no replica 9"),
        ("restart 1", "1 is running"),
        ("start 2 joining", "2 is running"),
        ("change 2 add 4", "refused: not the leader; replica 1 is"),
        ("propose 2 y", "refused: not the leader; replica 1 is"),
        ("hand over 2", "2 cannot hand over"),
        ("elect 2", "AssertionError: 2 did not win"),
        ("expect read r waiting", "no read is named 'r'"),
        # not as expected
        ("expect leader 2", "the leader is 1, not 2"),
        ("expect no leader", "the leader is 1, not nobody"),
        ("expect leader 2 or 3", "the leader is 1, not 2 or 3"),
        ("expect 1 2 term 2", "1's term is 1, not 2"),
        ("expect 1 role follower", "1's role is leader, not follower"),
        ("expect 2 3 follow 3", "2's leader is 1, not 3"),
        ("expect 2 follows nobody", "2's leader is 1, not 0"),
        ("expect 2 voted for 3", "2's vote is 1, not 3"),
        ("expect 2 voters 1 2", "2's voters is [1, 2, 3], not [1, 2]"),
        ("expect 2 learners 3", "2's learners is [], not [3]"),
        ("expect 1 joint", "1's being joint is False, not True"),
        ("expect 1 removed 2", "1's removed is [], not [2]"),
        ("expect 1 knows 2 at host9:7000", "the address of 2 that 1 knows is host2:7000, not host9:7000"),
        ("expect 1 log 1", "1's log is [1, 1], not [1]"),
        ("expect 1 3 same log", "3's log, 1's being other, is [1], not [1, 1]"),
        ("expect 1 commit 2", "1's commit index is 1, not 2"),
        ("expect 2 durable 2", "2's durable index is 1, not 2"),
        ("expect 1 applied x", "what 1 has applied is [], not ['x']"),
        ("expect 1 log time at least 9h", "fits none of"),
        ("expect 1 log time at least 9s", "1's log time is "),
        ("expect 1 unsynced 1", "the number of 1's fsyncs is 0, not 1"),
        ("expect 1 match 2:2", "match index of 2 is 1, not 2"),
        ("expect 1 next 2:2", "next index of 2 is 3, not 2"),
        ("expect 1 probes 2", "whether 2 is probed is False, not True"),
        ("expect 2 pipelines 1", "2 does not lead"),
        ("expect 1 beat 1", "1's beat is 0, not 1"),
        ("expect 1 confirmed 1", "1's confirmed beat is 0, not 1"),
        ("expect 2 takes 1 for dead", "whom 2 takes for dead is 0, not 1"),
        ("expect 2 dials 1", "2 has dialled nobody"),
        ("expect nothing sent", "something is on its way"),
        ("expect sent 1→2 append entries none", "no such message is on its way"),
        ("expect not sent 1→2 append entries 2:1", "such a message is on its way"),
        ("cannot propose 1 y", "it was not refused"),
        ("cannot propose 2 y because it is late", "it was refused: not the leader; replica 1 is"),
    ],
)
def test_a_line_that_is_wrong_is_answered_with_its_place_and_a_sentence(line: str, sentence: str) -> None:
    message = failure_of(f"replicas 3\n\n  # one is proposed, and on its way\nelect 1\npropose 1 x\n{line}  # here\n")
    assert message.startswith(f"a.txt:6: {line}\n    ")
    assert sentence in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("elect 1", "a.txt:1: elect 1\n    the script must first say who there is: replicas 3, or voters 1 2 3"),
        ("", "a.txt: nothing happens in this script"),
        ("replicas 3\nlog 4: 1\nelect 1", "a.txt:3: elect 1\n    a log or a term for 4, which is not in the cluster"),
        ("replicas 3\nlimit patience 4\nelect 1", "a.txt:2: limit patience 4\n    no limit is named 'patience'"),
        ("replicas 3\nlimit max_inflight_bytes 1\nelect 1", "every window must hold at least one entry"),
        ("replicas three", "'replicas three' fits none of: replicas {count}"),
    ],
)
def test_a_wrong_beginning_is_answered_likewise(text: str, sentence: str) -> None:
    assert sentence in failure_of(text)


def test_a_failure_tells_the_state_and_what_is_on_its_way() -> None:
    message = failure_of("replicas 3\nelect 1\ncrash 3\npropose 1 x\nhold 1→3 append\ndeliver 1→3 append")
    assert message.splitlines()[2:] == [
        "    1: leader, term 1, log 1 1, durable 2, commit 1",
        "    2: follower, term 1, log 1, durable 1, commit 1",
        "    3: crashed; on disk term 1, 1 entries",
        "    on its way:",
        "      1→2 append term 1 beat 0 after 1:1 entries 2:1 commit 1",
        "    held:",
        "      1→3 append term 1 beat 0 after 1:1 entries 2:1 commit 1",
    ]


def test_what_a_failure_tells_of_a_message_is_a_pattern_that_means_it() -> None:
    message = failure_of("replicas 3\ntimeout 1\ndeliver all but append\nexpect nothing sent")
    told = re.findall(r"^ +(\d→\d .*)$", message, re.MULTILINE)
    assert len(told) == 2
    deliveries = "\n".join(f"deliver {words}" for words in told)
    play(f"replicas 3\ntimeout 1\ndeliver all but append\n{deliveries}")


def test_a_broken_invariant_names_the_line_and_keeps_its_traceback() -> None:
    with pytest.raises(ScenarioFailed, match=r"(?s)^script:3: inject .*COMMITTED_IS_KEPT") as failure:
        play("replicas 3\nelect 1\ninject 3->2 append term 2 after 0:0 entries 1:2")
    assert failure.value.__cause__ is not None


def test_the_checks_watch_every_step() -> None:
    with pytest.raises(ScenarioFailed, match="no majority holds it durably"):
        play("replicas 3\nelect 1\nhold fsync 2 3\npropose 1 x\ninject 2→1 ack term 1 match 2")
    with pytest.raises(ScenarioFailed, match="ONE_LEADERSHIP_PER_TERM"):
        play("replicas 3\nelect 1\ninject 3→2 append term 1 after 1:1")


def test_scripts_repeat_themselves_exactly_and_a_seed_changes_the_timeouts() -> None:
    def deadline(seed: int) -> str:
        return failure_of(f"replicas 3\nseed {seed}\nelect 1\nexpect 1 log time at least 99s").splitlines()[1]

    assert deadline(1) == deadline(1) != deadline(2)
