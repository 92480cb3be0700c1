"""Scenarios 32 and 33: the disk of a leader hangs, or fails, while its process is as well as ever."""

import time
from pathlib import Path

import pytest

from oarlock.core import Config
from tests.process import stalling_serve
from tests.process.conftest import ClusterOf
from tests.process.operating import Operate, join, voters_are
from tests.process.replicas import DEADLINE_S, Process, Processes, until
from tests.process.riders import Riders
from tests.process.stalling_serve import FAILING, STALLED
from tests.process.tally import Tally, each_once_and_in_order

CLIENTS = 6
PROGRAM = (str(Path(stalling_serve.__file__)),)


def mark(replica: Process, suffix: str) -> Path:
    """From here on its disk stalls, or fails, until the file is gone."""
    path = replica.directory.with_suffix(suffix)
    path.touch()
    return path


def test_32_a_leader_whose_disk_hangs_is_out_of_office_and_no_client_of_another_hears_an_error(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3, program=PROGRAM)
    tallies = [Tally(number) for number in range(CLIENTS)]
    with Riders(tallies) as riders:
        leader = riders.leave_the_leader(cluster)
        riders.go_on()
        riders.longest_step_s()
        stalled = mark(leader, STALLED)
        began = time.monotonic()
        until(lambda: leader.info()["role"] != "leader", "it is out of office")
        took_s = time.monotonic() - began
        riders.go_on()
        pause_s = riders.longest_step_s()
        assert cluster.leader() is not leader
        stalled.unlink()
        riders.go_on()
    cluster.caught_up()
    for replica in cluster.all:
        each_once_and_in_order(tallies, replica)
    print(f"out of office after {took_s:.2f} s; longest pause of clients of the others: {pause_s:.2f} s")
    assert took_s < 2 * Config().election_max_s


@pytest.mark.long
def test_32_a_disk_that_hangs_at_all_replicas_costs_nobody_his_office(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3, program=PROGRAM)
    tallies = [Tally(number) for number in range(CLIENTS)]
    leader = cluster.leader()
    term = leader.info()["term"]
    with Riders(tallies) as riders:
        riders.at(*cluster.all)
        riders.go_on()
        stalled = [mark(replica, STALLED) for replica in cluster.all]
        time.sleep(2 * Config().election_min_s)  # nothing is to happen
        for path in stalled:
            path.unlink()
        riders.go_on()
    assert (leader.info()["role"], leader.info()["term"]) == ("leader", term)


def test_33_a_leader_whose_disk_fails_ends_and_is_replaced(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3, program=PROGRAM)
    tallies = [Tally(number) for number in range(CLIENTS)]
    with Riders(tallies) as riders:
        leader = riders.leave_the_leader(cluster)
        riders.go_on()
        riders.longest_step_s()
        mark(leader, FAILING)
        assert leader.process is not None and leader.process.wait(DEADLINE_S) == 1
        riders.go_on()
        pause_s = riders.longest_step_s()
        replaced_by(cluster, leader, operate)
        riders.go_on()
    for replica in cluster.living:
        each_once_and_in_order(tallies, replica)
    print(f"longest pause of clients of the others: {pause_s:.2f} s")
    assert pause_s < 2.0


def replaced_by(cluster: Processes, old: Process, operate: Operate) -> None:
    new = cluster.newcomer()
    at = next(replica for replica in cluster.living if replica is not old)
    join(operate, new, at, "replace", "--id", str(old.number), "--by", str(new.number))
    voters_are(cluster, *sorted(replica.number for replica in cluster.living))
