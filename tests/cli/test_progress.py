"""How far something long has come, on a terminal; nothing anywhere else."""

import pytest

from oarlock.cli import progress
from oarlock.cli.progress import Progress


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY_S", -1.0)


@pytest.mark.usefixtures("always")
def test_a_terminal_is_told_how_much_of_how_much_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(Progress("Read", 3 * 1024).through([b"x" * 1024] * 3)) == [b"x" * 1024] * 3
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.strip() for line in told.err.split("\r")[1:]] == [
        "Read: 1.0 KiB of 3.0 KiB", "Read: 2.0 KiB of 3.0 KiB", "Read: 3.0 KiB of 3.0 KiB", "Read: 3.0 KiB of 3.0 KiB",
    ]  # fmt: skip


@pytest.mark.usefixtures("always")
def test_nothing_else_is_told_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Progress("Read").through([b"x"])) == [b"x"]
    assert capsys.readouterr().err == ""
