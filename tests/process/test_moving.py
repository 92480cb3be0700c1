"""Replicas that get another address, by the command, also a mistyped one."""

from oarlock.cli.command import run
from tests.process.conftest import ClusterOf
from tests.process.operating import Operate
from tests.process.replicas import Process, Processes, until


def serve_where_the_log_says(cluster: Processes) -> None:
    """As the guide starts them: from the next start on they listen where they are members."""
    for replica in cluster.all:
        at = replica.command.index("--raft")
        del replica.command[at : at + 2]


def address_of(replica: Process, at: Process, operate: Operate) -> str:
    members = {member["id"]: member for member in operate("members", "--at", at.http)["members"]}
    return str(members[replica.number]["address"])


def test_a_replica_that_moves_while_it_is_down_hears_of_it_and_is_found(
    cluster_of: ClusterOf, operate: Operate
) -> None:
    cluster = cluster_of(3)
    serve_where_the_log_says(cluster)
    moving, other = cluster.followers()
    moving.end()
    elsewhere = cluster.newcomer().raft
    cluster.all.pop()
    operate("move", "--id", str(moving.number), "--raft", elsewhere, "--at", other.http)
    for _ in range(2):  # at the first start it has yet to hear of its move; at the second it listens there
        moving.start()
        until(lambda: moving.knows_a_leader and moving.client().set("at", "home"), "it serves")
        until(lambda: address_of(moving, moving, operate) == elsewhere, "it has heard of its move")
        moving.end()


def test_an_address_that_was_mistyped_costs_no_majority(cluster_of: ClusterOf, operate: Operate) -> None:
    cluster = cluster_of(3)
    moving, other = cluster.followers()
    leader = cluster.leader()
    other.kill()
    run(["move", "--id", str(moving.number), "--raft", "127.0.0.1:1", "--force", "--at", leader.http])
    until(lambda: cluster.leader().client().set("still", "here"), "a majority lives, and serves")
    operate("move", "--id", str(moving.number), "--raft", moving.raft, "--force", "--at", leader.http)
    assert address_of(moving, leader, operate) == moving.raft
    assert leader.client().get("still") == "here"
