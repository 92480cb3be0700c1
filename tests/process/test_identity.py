"""Replicas that come back with another past than theirs, or with a damaged one: they stay down, the others serve."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oarlock.storage.disk import SECTOR_BYTES
from tests.process.conftest import ClusterOf
from tests.process.replicas import DEADLINE_S, Process, Processes, until

WRITES = 100


def serves_with_a_minority_down(cluster: Processes, down: Process, value: str) -> None:
    for replica in cluster.all:
        if replica is not down:
            client = replica.client()
            assert client.get("k:1") == "v"
            assert client.set(f"k:{replica.number}:now", value)


def last_sentence(replica: Process) -> str:
    return replica.last_words().splitlines()[-1]


def ends_with(replica: Process) -> int:
    """Start it, and wait for its exit status."""
    replica.start()
    assert replica.process is not None
    return replica.process.wait(DEADLINE_S)


def test_36_a_bit_flipped_in_an_acknowledged_frame_stops_that_replica_only(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    victim = cluster.followers()[0]
    client = cluster.leader().client()
    for n in range(WRITES):
        client.set(f"k:{n}", "v")
    cluster.caught_up()
    victim.kill()

    segment = max((victim.directory / "wal").glob("*.wal"))
    offset = middle_frame(segment)
    damaged = bytearray(segment.read_bytes())
    damaged[offset + SECTOR_BYTES // 100] ^= 0x10
    segment.write_bytes(damaged)

    assert ends_with(victim) == 2
    assert f"{segment} is damaged at offset {offset}" in last_sentence(victim)
    assert "Traceback" not in victim.last_words()
    serves_with_a_minority_down(cluster, victim, "after")
    assert segment.read_bytes() == damaged, "refusing changes nothing"


def middle_frame(segment: Path) -> int:
    """Where a frame in the middle of those that a segment holds begins."""
    content = segment.read_bytes()
    frames = [offset for offset in range(0, len(content), SECTOR_BYTES) if content.startswith(b"oarframe", offset)]
    assert len(frames) > 10
    return frames[len(frames) // 2]


def test_52_a_replica_whose_past_was_wiped_or_set_back_stays_down(cluster_of: ClusterOf, tmp_path: Path) -> None:
    cluster = cluster_of(3)
    client = cluster.leader().client()
    for n in range(WRITES):
        client.set(f"k:{n}", "v")
    wiped, restored = cluster.followers()
    # A copy made while it is down, as an honest backup is; it comes back, and promises more.
    assert restored.end() == 0
    backup = tmp_path / "backup"
    shutil.copytree(restored.directory, backup)
    restored.start()
    until(lambda: restored.knows_a_leader, "it is back")
    for n in range(WRITES):
        client.set(f"later:{n}", "v")
    cluster.caught_up()
    restored.kill()
    shutil.rmtree(restored.directory)
    shutil.copytree(backup, restored.directory)
    assert ends_with(restored) == 2
    assert "its data directory is" in restored.last_words()
    assert ends_with(restored) == 2, "it stays down"
    assert "must not be used again" in last_sentence(restored)

    wiped.kill()
    shutil.rmtree(wiped.directory)
    cluster.initialise(wiped)
    assert ends_with(wiped) == 2
    assert "initialised" in last_sentence(wiped)
    assert ends_with(wiped) == 2, "it stays down"


def test_a_replica_of_another_cluster_gets_no_part_in_this_one(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    stranger = cluster.followers()[0]
    cluster.leader().client().set("k:1", "v")
    stranger.kill()
    shutil.rmtree(stranger.directory)
    cluster.initialise(stranger, cluster_name="another")
    assert ends_with(stranger) == 2
    # Not always its last sentence: the others may dial it at that moment, and are refused in their turn.
    assert "start each replica on its own data directory" in stranger.last_words()
    serves_with_a_minority_down(cluster, stranger, "after")


@pytest.mark.parametrize("step", range(6))
def test_40_a_kill_while_a_directory_is_initialised_leaves_one_that_is_new_or_whole(tmp_path: Path, step: int) -> None:
    """Killed when so many changes of the directory have been seen; the last of these are past the end."""
    directory = tmp_path / "data"
    arguments = ["--data-dir", str(directory), "--id", "1", "--members", "1=127.0.0.1:7999"]
    command = [sys.executable, "-m", "oarlock", "init", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen, changes = _names(directory), 0
    while process.poll() is None and changes <= step:  # without a pause: it takes a few milliseconds
        now = _names(directory)
        changes += now != seen
        seen = now
    process.kill()
    process.wait()
    print(f"killed with {_names(directory)}")

    again = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    if again.returncode != 0:
        assert again.returncode == 2
        assert "is initialised once" in again.stderr
    assert _names(directory) == ["identity.json", "lock", "wal", "wal/0000000000000001.wal"]


def _names(directory: Path) -> list[str]:
    """All that is in it, also further down."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
