"""Replicas are replaced by new ones with empty disks while clients write, and no client of another replica notices."""

import shutil

import pytest

from tests.process.conftest import ClusterOf
from tests.process.operating import Operate, join, voters_are
from tests.process.replicas import DEADLINE_S, Process, Processes
from tests.process.riders import Riders
from tests.process.tally import Tally, each_once_and_in_order

CLIENTS = 6
KEYS = 3000
VALUE = "v" * 200
SNAPSHOT_AFTER = "64KiB"


def filled(cluster: Processes) -> None:
    """So much state that several snapshots have been taken, and a newcomer needs the newest."""
    client = cluster.leader().client()
    for start in range(0, KEYS, 500):
        client.mset({f"k:{n}": VALUE for n in range(start, start + 500)})


def holds_all(replica: Process) -> None:
    assert replica.client().mget([f"k:{n}" for n in range(KEYS)]) == [VALUE] * KEYS


def came_by_a_snapshot(replica: Process) -> bool:
    return f"replica {replica.number} fetches a snapshot" in replica.last_words(1 << 20)


@pytest.mark.long
def test_all_three_are_replaced_one_after_another_and_no_client_of_another_notices(
    cluster_of: ClusterOf, operate: Operate
) -> None:
    cluster = cluster_of(3, options=("--snapshot-after", SNAPSHOT_AFTER))
    filled(cluster)
    pauses = []
    tallies = [Tally(number) for number in range(CLIENTS)]
    with Riders(tallies) as riders:
        serving = [*cluster.followers(), cluster.leader()]
        for old in list(serving):
            serving.remove(old)
            riders.at(*serving)
            riders.longest_step_s()
            new = cluster.newcomer()
            join(operate, new, serving[0], "replace", "--id", str(old.number), "--by", str(new.number))
            serving.append(new)
            voters_are(cluster, *sorted(replica.number for replica in serving))
            assert old.process is not None and old.process.wait(DEADLINE_S) == 0, "it leaves in peace"
            riders.go_on()
            pauses.append(riders.longest_step_s())
            assert came_by_a_snapshot(new)
    for replica in serving:
        each_once_and_in_order(tallies, replica)
        holds_all(replica)
    steps = sum(len(tally.answers) for tally in tallies)
    print(f"{steps} increments; longest pauses: {', '.join(f'{pause:.3f} s' for pause in pauses)}")
    assert max(pauses) < 3.0


@pytest.mark.long
def test_a_follower_that_is_wiped_rejoins_under_writes_again_and_again(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3, options=("--snapshot-after", SNAPSHOT_AFTER))
    filled(cluster)
    tallies = [Tally(number) for number in range(CLIENTS)]
    with Riders(tallies) as riders:
        for _ in range(2):
            wiped, other = cluster.followers()
            riders.at(cluster.leader(), other)
            wiped.kill()
            shutil.rmtree(wiped.directory)
            wiped.log.unlink()
            operate(
                "rejoin", "--data-dir", str(wiped.directory), "--id", str(wiped.number), "--at", other.http, "--yes"
            )
            wiped.start()
            voters_are(cluster, 1, 2, 3)
            riders.go_on()
            assert came_by_a_snapshot(wiped)
            holds_all(wiped)
        longest_s = riders.longest_step_s()
        riders.at(wiped)
        riders.go_on()
        other.kill()  # from here on its vote is needed
        riders.go_on()
    each_once_and_in_order(tallies, wiped)
    print(f"longest pause while it was wiped and came back: {longest_s:.3f} s")
    assert longest_s < 3.0
