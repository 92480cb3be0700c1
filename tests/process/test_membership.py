"""Clusters that are looked after while they run: by the commands that operators type, at processes that serve."""

import shutil
from pathlib import Path

import pytest

from tests.process.conftest import ClusterOf
from tests.process.operating import Operate, join, voters_are
from tests.process.replicas import DEADLINE_S, Process, Processes, until

KEYS = 50


def filled(cluster: Processes) -> None:
    client = cluster.leader().client()
    for n in range(KEYS):
        client.set(f"k:{n}", "v")


def holds_all(replica: Process) -> None:
    client = replica.client()
    assert [client.get(f"k:{n}") for n in range(KEYS)] == ["v"] * KEYS
    assert client.set("at", str(replica.number))


def test_a_cluster_grows_and_shrinks_and_loses_nothing(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3)
    filled(cluster)
    follower = cluster.followers()[0]
    new = cluster.newcomer()
    join(operate, new, follower, "add", "--id", "4")
    voters_are(cluster, 1, 2, 3, 4)
    holds_all(new)

    leader = cluster.leader()
    left = operate("remove", "--id", str(leader.number), "--id", str(follower.number), "--at", new.http)
    assert left["removed"] == sorted((leader.number, follower.number))
    staying = [replica for replica in cluster.all if replica not in (leader, follower)]
    voters_are(cluster, *(replica.number for replica in staying))
    for replica in staying:
        holds_all(replica)
    for replica in (leader, follower):
        assert replica.process is not None and replica.process.wait(DEADLINE_S) == 0, "it leaves in peace"


@pytest.mark.long
def test_a_learner_serves_and_never_votes(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(1)
    filled(cluster)
    new = cluster.newcomer()
    join(operate, new, cluster[1], "add", "--id", "2", "--learner")
    until(lambda: new.info()["applied_index"] == cluster[1].info()["applied_index"], "it has caught up")
    holds_all(new)
    assert [cluster[1].info()[field] for field in ("voters", "learners")] == ["1", "2"]
    new.kill()
    holds_all(cluster[1])


@pytest.mark.long
def test_a_machine_that_is_lost_is_replaced(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3)
    filled(cluster)
    lost, other = cluster.followers()
    lost.kill()
    shutil.rmtree(lost.directory)
    new = cluster.newcomer()
    join(operate, new, other, "replace", "--id", str(lost.number), "--by", "4")
    voters_are(cluster, *sorted({1, 2, 3, 4} - {lost.number}))
    holds_all(new)
    other.kill()
    holds_all(new)


def test_a_damaged_replica_rejoins_with_nothing_and_votes_again(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3)
    filled(cluster)
    cluster.caught_up()
    damaged, other = cluster.followers()
    damaged.kill()
    for segment in (damaged.directory / "wal").glob("*.wal"):
        segment.write_bytes(b"\xff" * 4096)
    damaged.start()
    assert damaged.process is not None and damaged.process.wait(DEADLINE_S) == 2

    operate("rejoin", "--data-dir", str(damaged.directory), "--at", other.http, "--yes")
    assert (damaged.directory.parent / f"{damaged.directory.name}.damaged-1").exists()
    damaged.start()
    voters_are(cluster, 1, 2, 3)
    other.kill()  # from here on its vote is needed
    holds_all(damaged)


def test_leadership_goes_where_it_is_sent_and_status_tells(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3)
    target = cluster.followers()[0]
    assert operate("transfer", "--to", str(target.number), "--at", target.http) == {"leader_id": target.number}
    seen = operate("status", "--at", cluster[1].http)
    assert seen["leader_id"] == target.number
    assert sorted(one["role"] for one in seen["members"]) == ["follower", "follower", "leader"]


def test_a_backup_and_a_snapshot_of_a_cluster_that_serves(
    cluster_of: ClusterOf, operate: Operate, tmp_path: Path
) -> None:
    cluster = cluster_of(3)
    filled(cluster)
    follower = cluster.followers()[0]
    kept = operate("backup", "--to", str(tmp_path / "kept"), "--at", follower.http)
    assert kept["index"] >= KEYS and (tmp_path / "kept").stat().st_size == kept["size_bytes"]
    taken = operate("snapshot", "--at", follower.http)
    assert int(follower.info()["snapshot_index"]) == taken["index"] >= KEYS
    follower.kill()
    follower.start()
    until(lambda: follower.knows_a_leader, "it is back")
    holds_all(follower)
