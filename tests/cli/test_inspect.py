"""``oarlock inspect``: tells what is there and what is wrong with it, and changes nothing."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oarlock.kv import snapshot as kv_snapshot
from oarlock.storage.identity import encode_identity, record_refusal
from oarlock.storage.os_disk import OsDisk
from tests.cli.conftest import Command, refused
from tests.cli.offline_replica import MEMBERS, a_backup, a_directory, files, keys_at, now, with_version


def look(command: Command, path: Path, *more: str, status: int = 0) -> tuple[str, dict[str, Any]]:
    """What it says, and the document; it leaves all as it was."""
    before = files(path.parent)
    code, text, err = command("inspect", str(path), *more)
    assert (code, err) == (status, ""), err
    code, document, err = command("inspect", str(path), "--json", *more)
    assert (code, err) == (status, "")
    assert files(path.parent) == before
    return text, json.loads(document)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("wal/*.wal"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def text_keys(index: int) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in keys_at(index).items()}


# ── a data directory ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_directory_says_whose_it_is_and_how_far_it_goes(tmp_path: Path, command: Command) -> None:
    identity = a_directory(tmp_path / "one")
    (tmp_path / "one" / "lock").unlink()
    text, found = look(command, tmp_path / "one")
    assert f"replica 1 of cluster orders ({identity.cluster_id}), incarnation 101" in text
    assert (found["replica"], found["cluster_id"], found["incarnation"]) == (1, identity.cluster_id, 101)
    assert "Boot 1, term 5, voted for replica 2." in text
    assert (found["boot"], found["term"], found["vote"]) == (1, 5, 2)
    assert "voters: 1, 2, 3" in text and "not formed" not in text
    assert {one["id"]: one["address"] for one in found["configuration"]["members"]} == MEMBERS
    assert found["last_index"] == 40 and found["first_index"] <= 11
    assert f"goes from index {found['first_index']} to 40 of term 5, 0:00:00.400 after" in text
    assert [(one["index"], one["damage"]) for one in found["snapshots"]] == [(20, None), (10, None)]
    assert [(one["needed"], one["damage"]) for one in found["segments"]] == [(True, None)] * len(found["segments"])
    assert [one["path"] for one in found["segments"]] == [str(path) for path in segments(tmp_path / "one")]
    assert [one["index"] for one in found["entries"]] == [36, 37, 38, 39, 40]
    assert "1 commands that came to replica 2" in text and "more with --entries" in text
    assert (found["damage"], found["notes"], found["keys"], found["would_start"]) == ([], [], None, True)


def test_all_entries_and_keys_are_shown_if_asked_for(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 12, ())
    text, found = look(command, tmp_path / "one", "--keys", "--entries")
    assert [one["index"] for one in found["entries"]] == list(range(1, 13))
    assert found["entries"][0]["what"].startswith("members: 1 at 127.0.0.1:7401")
    assert found["keys"] == text_keys(12)
    assert "There is no snapshot." in text
    assert "nobody knows here what is committed behind index 0" in text and "11 keys:\nk:002 = v2" in text


def test_keys_are_those_of_the_snapshot_and_of_all_the_log_behind_it(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one")
    text, found = look(command, tmp_path / "one", "--keys")
    assert found["keys"] == text_keys(40)
    assert "what is committed behind index 20" in text


def test_one_that_was_never_started_is_shown_too(tmp_path: Path, command: Command) -> None:
    assert command("init", "--data-dir", str(tmp_path / "one"), "--id", "1", "--members", "1=a:1,2=b:1")[0] == 0
    text, found = look(command, tmp_path / "one", "--keys")
    assert "Boot 0, term 0, no vote in it." in text and "(not formed yet)" in text and "holds no entries" in text
    assert (found["entries"], found["keys"], found["last_index"]) == ([], {}, 0)


def test_one_that_was_refused_is_shown_too(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 3, ())
    now(record_refusal(OsDisk(), str(tmp_path / "one"), "its past is older than its promises"))
    text, found = look(command, tmp_path / "one")
    assert "has refused it: its past is older" in text and not found["would_start"]


def test_a_replica_that_runs_is_left_alone(tmp_path: Path, command: Command) -> None:
    a_directory(tmp_path / "one", 3, ())
    lock = OsDisk().lock(str(tmp_path / "one" / "lock"))
    assert lock is not None
    refused(command("inspect", str(tmp_path / "one")), "a replica runs on")
    assert OsDisk().lock(str(tmp_path / "one" / "lock")) is None, "it has its lock still"
    lock.release()
    look(command, tmp_path / "one")
    lock = OsDisk().lock(str(tmp_path / "one" / "lock"))
    assert lock is not None, "looking takes none"


def test_what_may_not_be_written_can_be_looked_at(tmp_path: Path, command: Command, monkeypatch: Any) -> None:
    a_directory(tmp_path / "one")
    opened, real = [], os.open

    def watched(path: str, flags: int, *more: int, **named: int) -> int:
        opened.append(flags)
        return real(path, flags, *more, **named)

    monkeypatch.setattr("oarlock.storage.os_disk.os.open", watched)
    assert command("inspect", str(tmp_path / "one"), "--keys")[0] == 0
    assert opened and not any(flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT) for flags in opened)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_damaged_frame_is_told_of_and_what_stands_before_it_is_shown(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory, 40, ())
    path = segments(directory)[1]
    flip(path, 3 * 4096 + 100)  # behind the header and two frames
    text, found = look(command, directory, "--keys", status=1)
    assert found["damage"][0].startswith(f"{path} is damaged at offset 12288: a frame cannot be read")
    assert f"- {path} is damaged at offset 12288" in text
    last = found["last_index"]
    assert 1 < last < 20 and found["keys"] == text_keys(last)
    assert f"What can be read of the log goes from index 1 to {last}" in text and "as far as it can be read" in text
    assert [one["damage"] is None for one in found["segments"]] == [True, False] + [True] * (len(found["segments"]) - 2)
    assert not found["would_start"]


def test_all_that_is_damaged_is_told_of(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory, 40, ())
    for path in segments(directory)[1:3]:
        flip(path, 3 * 4096 + 100)
    _, found = look(command, directory, status=1)
    assert [one.split()[0] for one in found["damage"]] == [str(path) for path in segments(directory)[1:3]]


def test_a_missing_segment_leaves_the_snapshots(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    gone = segments(directory)[1]
    gone.unlink()
    text, found = look(command, directory, "--keys", status=1)
    assert found["damage"] == [found["damage"][0]] and f"{gone} is damaged at offset 0: the file is missing" in text
    assert found["keys"] == text_keys(20)
    for path in segments(directory):
        path.unlink()
    text, found = look(command, directory, "--keys", status=1)
    assert "holds no log although this replica was initialised" in text and found["keys"] == text_keys(20)


def test_a_damaged_header_of_a_segment_is_told_of(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    flip(segments(directory)[-1], 3)
    _, found = look(command, directory, status=1)
    assert "its header does not match its checksum" in found["segments"][-1]["damage"]
    assert found["boot"] == 1 and len(found["damage"]) == 1


def test_a_damaged_snapshot_is_told_of_though_another_will_do(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    older, newer = sorted(directory.glob("snapshots/*"))
    flip(newer, 400)
    text, found = look(command, directory, "--keys", status=1)
    assert f"{newer} is damaged at offset" in text and found["would_start"]
    assert "The log goes from" in text and found["keys"] == text_keys(40)
    assert [one["path"] for one in found["snapshots"]] == [str(older), str(newer)]
    flip(newer, 400)
    flip(older, 400)
    _, found = look(command, directory, "--keys", status=1)
    assert found["damage"][0].startswith(f"{older} is damaged") and found["would_start"]


def test_a_gap_between_snapshot_and_log_is_told_of(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory)
    for path in directory.glob("snapshots/*"):
        path.unlink()
    text, found = look(command, directory, "--keys", status=1)
    assert "no whole snapshot reaches up to there" in text and not found["would_start"]
    assert found["keys"] is None and found["entries"][-1]["index"] == 40


def test_a_torn_frame_is_no_damage(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "one"
    a_directory(directory, 12, ())
    path = segments(directory)[-1]
    used = -(-len(path.read_bytes().rstrip(b"\0")) // 4096) * 4096
    with path.open("r+b") as file:
        file.seek(used + 4096)
        file.write(b"the second sector of a frame whose first never arrived")
    text, found = look(command, directory, status=0)
    assert "dropped a torn frame at offset" in text and len(found["notes"]) == 1
    assert found["last_index"] == 12


# ── a backup ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_says_what_it_is_of(tmp_path: Path, command: Command) -> None:
    text, found = look(command, a_backup(tmp_path / "monday"), "--keys")
    assert "a snapshot of cluster orders (0123456789abcdef)" in text and "whole" in text
    assert "everything up to index 30 of term 5, 0:00:00.300 after" in text
    assert (found["index"], found["term"], found["damage"], found["keys"]) == (30, 5, None, text_keys(30))
    assert "29 keys:\nk:002 = v2" in text


@pytest.mark.parametrize("place", [300, -40])
def test_a_damaged_backup_is_told_of(tmp_path: Path, command: Command, place: int) -> None:
    backup = a_backup(tmp_path / "monday")
    size = backup.stat().st_size
    flip(backup, -40 if place < 0 else size // 2)
    text, found = look(command, backup, "--keys", status=1)
    assert "damaged." in text and f"{backup} is damaged at offset" in found["damage"]
    assert (found["index"], found["keys"]) == (30, None)
    flip(backup, 30)
    code, out, err = command("inspect", str(backup))
    assert (code, out) == (1, "") and err.startswith(f"{backup} is damaged at offset 0")


def test_values_are_abbreviated_and_bytes_do_not_reach_the_terminal(tmp_path: Path, command: Command) -> None:
    from oarlock.cli.looking import _abbreviated, _text

    assert _abbreviated(b"x" * 60) == "x" * 60
    assert _abbreviated(b"x" * 2000) == "x" * 60 + "… (2,000 bytes)"
    assert _text(b"\x1b[2J\n\xff'\\") == "\\x1b[2J\\n\\xff'\\"
    assert _text("Grüße".encode()) == "Grüße"


# ── what it does not understand ──────────────────────────────────────────────────────────────────────────────────


def test_what_a_newer_version_wrote_is_refused(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "one"
    identity = a_directory(directory)
    backup = a_backup(tmp_path / "monday")
    for path in (segments(directory)[-1], max(directory.glob("snapshots/*")), backup):
        whole = path.read_bytes()
        path.write_bytes(with_version(whole, 9))
        looked_at = path if path == backup else directory
        refused(command("inspect", str(looked_at)), f"{path} was written by a newer Oarlock (format 9; this one reads")
        path.write_bytes(whole)
    (directory / "identity.json").write_bytes(encode_identity(msgspec.structs.replace(identity, format_version=9)))
    refused(command("inspect", str(directory)), "identity.json was written by a newer Oarlock (format 9;")
    monkeypatch.setattr(kv_snapshot, "FORMAT", 2)
    a_backup(backup)
    monkeypatch.undo()
    assert look(command, backup)[1]["index"] == 30, "all but the keys can be told of"
    refused(command("inspect", str(backup), "--keys"), "cannot be understood by this version")


def test_what_is_nothing_of_ours_is_refused(tmp_path: Path, command: Command) -> None:
    (tmp_path / "file").write_text("a thesis" * 100)
    assert "its header does not match" in command("inspect", str(tmp_path / "file"))[2]
    refused(command("inspect", str(tmp_path)), "holds files but no identity.json")
    refused(command("inspect", str(tmp_path / "none")), "does not exist")
    (tmp_path / "empty").mkdir()
    refused(command("inspect", str(tmp_path / "empty")), "is empty")
    assert not list((tmp_path / "empty").iterdir())
