"""``oarlock check``: verdicts, exit statuses, and what it says of input that makes no sense."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oarlock.cli.command import run
from tests.cli.conftest import oarlock
from tests.testing.recorded import DIRECTORY, recorded

GOOD = [
    {"process": 0, "type": "invoke", "f": "write", "key": "k", "value": 1},
    {"process": 0, "type": "ok", "f": "write", "value": 1},
    {"process": 1, "type": "invoke", "f": "read", "key": "k"},
    {"process": 1, "type": "ok", "f": "read", "value": 1},
]
BAD = [*GOOD[:3], {"process": 1, "type": "ok", "f": "read", "value": "<2>"}]


def lines(events: list[dict[str, object]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def good(tmp_path: Path) -> str:
    (tmp_path / "good.jsonl").write_text(lines(GOOD))
    return str(tmp_path / "good.jsonl")


@pytest.fixture
def bad(tmp_path: Path) -> str:
    (tmp_path / "bad.jsonl").write_text(lines(BAD))
    return str(tmp_path / "bad.jsonl")


def test_a_linearizable_history(good: str, tmp_path: Path) -> None:
    result = oarlock("check", good, "--model", "register", "--html", str(tmp_path / "page.html"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Linearizable: 2 operations on 1 object.\n"
    assert not (tmp_path / "page.html").exists(), "there is nothing to show"


def test_one_that_is_not_names_object_and_operation_and_makes_a_page(bad: str, tmp_path: Path) -> None:
    result = oarlock("check", bad, "--model", "register", "--html", str(tmp_path / "page.html"))
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.count("\n") == 1
    assert "'k' is not linearizable" in result.stdout
    assert "read() -> '<2>' by process 1" in result.stdout
    assert "&lt;2&gt;" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_does_not_hide_the_verdict(bad: str, tmp_path: Path) -> None:
    result = oarlock("check", bad, "--model", "register", "--html", str(tmp_path / "none" / "page.html"))
    assert result.returncode == 1
    assert "is not linearizable" in result.stdout
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize("budget", [1, 1_000])
def test_a_page_of_an_earlier_run_does_not_stay_next_to_another_verdict(
    good: str, bad: str, tmp_path: Path, budget: int
) -> None:
    page = tmp_path / "page.html"
    assert oarlock("check", bad, "--model", "register", "--html", str(page)).returncode == 1
    result = oarlock("check", good, "--model", "register", "--html", str(page), "--budget", str(budget))
    assert (result.returncode, result.stderr) == (0 if budget > 1 else 3, "")
    assert not page.exists()


def test_a_history_in_which_nothing_completed_is_said_to_judge_nothing(tmp_path: Path) -> None:
    (tmp_path / "open.jsonl").write_text(lines(GOOD[:1]))
    result = oarlock("check", str(tmp_path / "open.jsonl"), "--model", "register")
    assert result.returncode == 0
    assert "nothing was judged" in result.stdout


def test_a_key_is_shown_in_json_as_it_was(tmp_path: Path) -> None:
    key = {"a": [True]}
    (tmp_path / "bad.jsonl").write_text(lines([{**event, "key": key} for event in BAD]))
    result = oarlock("check", str(tmp_path / "bad.jsonl"), "--model", "register", "--json")
    assert (result.returncode, json.loads(result.stdout)["key"]) == (1, key)


@pytest.mark.parametrize(
    ("error", "saying"),
    [
        (MemoryError(), "oarlock check: there is not enough memory to judge this history; nothing is decided.\n"),
        (OSError(5, "Input/output error"), "oarlock check: Input/output error; nothing is decided.\n"),
        (ZeroDivisionError("odd"), "oarlock check: this is a bug in the check itself; nothing is decided.\n"),
    ],
)
def test_a_check_that_fails_is_no_verdict(
    error: Exception, saying: str, good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("oarlock.cli.check.check", fail)
    assert run(["check", good, "--model", "register"]) == 70
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.endswith(saying)
    assert ("Traceback" in told.err) is isinstance(error, ZeroDivisionError)


def test_an_exhausted_budget_is_no_pass(good: str) -> None:
    result = oarlock("check", good, "--model", "register", "--budget", "1")
    assert result.returncode == 3
    assert result.stdout == "Undecided: 'k' is not judged within 1 steps.\n"


def test_the_verdict_as_json(bad: str) -> None:
    result = oarlock("check", bad, "--model", "register", "--json")
    verdict = json.loads(result.stdout)
    assert result.returncode == 1
    assert (verdict["outcome"], verdict["key"], verdict["operation"]["line"]) == ("illegal", "k", 3)


def test_standard_input_is_read() -> None:
    command = [sys.executable, "-m", "oarlock", "check", "-", "--model", "kv"]
    result = subprocess.run(command, input=lines(BAD), capture_output=True, text=True, timeout=30)
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        ("", "history.jsonl, there is nothing in it."),
        ("nonsense\n", "line 1: "),
        (lines(GOOD) + '{"process": 1, "type": "done", "f": "read"}\n', "line 5: "),
        (lines(GOOD[1:]), "line 1: process 0 has invoked nothing"),
        (lines([*GOOD, *GOOD[:1], GOOD[0]]), "line 6: process 0 invokes 'write' while its call of line 5 is open"),
        (lines([{"process": 0, "type": "invoke", "f": "push"}]), "line 1: the model register has no 'push'"),
        ("\ufeff" + lines(GOOD), "line 1: "),
    ],
)
def test_input_that_makes_no_sense_is_refused_and_changes_nothing(text: str, saying: str, tmp_path: Path) -> None:
    history, page = tmp_path / "history.jsonl", tmp_path / "page.html"
    history.write_text(text)
    page.write_text("of an earlier run")
    result = oarlock("check", str(history), "--model", "register", "--html", str(page))
    assert result.returncode == 2
    assert saying in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    assert page.read_text() == "of an earlier run"


def test_a_history_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    result = oarlock("check", str(tmp_path / "none.jsonl"), "--model", "kv")
    assert result.returncode == 2
    assert "none.jsonl" in result.stderr


def test_help_shows_an_example_and_the_exit_statuses() -> None:
    result = oarlock("check", "--help")
    assert result.returncode == 0
    assert "oarlock check history.jsonl --model kv" in result.stdout
    assert "3 undecided" in result.stdout
    assert "70 the check itself failed" in " ".join(result.stdout.split())


@pytest.mark.skipif(not DIRECTORY, reason="set OARLOCK_HISTORIES to a directory of recorded histories")
def test_every_verdict_of_the_recorded_histories(tmp_path: Path) -> None:
    for history in recorded():
        path = tmp_path / f"{history.name}.jsonl"
        path.write_bytes(b"".join(history.lines))
        result = oarlock("check", str(path), "--model", history.model)
        assert result.returncode == (0 if history.linearizable else 1), (history.name, result.stdout, result.stderr)
