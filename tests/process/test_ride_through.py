"""A client of a living replica rides through a failover: no error, and each of its writes is executed once, in order.

None of these clients ever sends a command a second time, so what is executed twice was doubled by the cluster.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.process.conftest import ClusterOf
from tests.process.replicas import Process, Processes, until
from tests.process.riders import Riders
from tests.process.tally import Tally, each_once_and_in_order

CLIENTS = 8
FAILOVERS = 4


def ride(cluster: Processes, fail_over: Callable[[Riders], None]) -> None:
    """Let the clients ride through as many failovers as are due, and check what they were told."""
    tallies = [Tally(number) for number in range(CLIENTS)]
    pauses = []
    with Riders(tallies) as riders:
        for _ in range(FAILOVERS):
            fail_over(riders)
            pauses.append(riders.longest_step_s())
    print(
        f"{sum(len(tally.answers) for tally in tallies)} increments; the longest pauses that a client saw:",
        ", ".join(f"{pause:.3f} s" for pause in pauses),
    )
    for replica in cluster.all:
        each_once_and_in_order(tallies, replica)


@pytest.mark.long
def test_46_61_a_leader_is_killed_four_times_and_clients_of_the_followers_notice_nothing(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)

    def kill(riders: Riders) -> None:
        leader = riders.leave_the_leader(cluster)
        riders.longest_step_s()
        leader.kill()
        riders.go_on()
        leader.start()
        until(lambda: leader.knows_a_leader, "it is back")

    ride(cluster, kill)


@pytest.mark.long
def test_46_61_a_leader_is_stopped_four_times_and_clients_of_the_followers_notice_nothing(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3)

    def stop(riders: Riders) -> None:
        leader = riders.leave_the_leader(cluster)
        riders.longest_step_s()
        leader.signal(signal.SIGSTOP)
        riders.go_on()
        leader.signal(signal.SIGCONT)
        until(lambda: leader.info()["role"] == "follower", "it has noticed")

    ride(cluster, stop)


@pytest.mark.long
def test_46_62_clients_of_a_leader_that_was_stopped_and_deposed_are_answered_by_way_of_the_next(
    cluster_of: ClusterOf,
) -> None:
    cluster = cluster_of(3)

    def stop(riders: Riders) -> None:
        leader = cluster.leader()
        riders.at(leader)
        riders.go_on()
        riders.longest_step_s()
        leader.signal(signal.SIGSTOP)
        cluster.leader(besides=leader)
        leader.signal(signal.SIGCONT)
        riders.go_on()

    ride(cluster, stop)


def test_46_62_what_a_deposed_leader_took_and_could_not_commit_is_handed_to_the_next(relayed: Processes) -> None:
    """All that is known of the leader says that its process has ended, so that a successor is elected at once. But it
    was only stopped for a moment, and goes on as the leader of its clients until it hears the news."""
    cluster = relayed

    def depose(riders: Riders) -> None:
        leader = cluster.leader()
        riders.at(leader)
        riders.go_on()
        riders.longest_step_s()
        leader.signal(signal.SIGSTOP)
        cluster.relays[leader.number].refuse()
        for relay in cluster.relays.values():
            relay.reset()
        cluster.leader(besides=leader)
        leader.signal(signal.SIGCONT)
        until(lambda: has_uncommitted(leader), "it has taken writes of its clients, and cannot commit them")
        cluster.relays[leader.number].accept()
        riders.go_on()

    ride(cluster, depose)


def has_uncommitted(replica: Process) -> bool:
    info = replica.info()
    return int(info["last_index"]) > int(info["commit_index"])


@pytest.mark.filterwarnings("ignore:Call to")  # newer redis-py has other options for it
def test_a_client_of_these_tests_sends_a_command_once(tmp_path: Path) -> None:
    """Or they would prove nothing. Here a server hears the command and hangs up, and nobody comes again."""
    plain: Any = {"protocol": 2, "lib_name": None, "lib_version": None}
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        mute = Process(1, tmp_path, 0, listener.getsockname()[1], 0)

        async def asynchronously() -> None:
            async with mute.async_client(**plain) as client:
                await client.incr("k")

        for ask in (
            lambda: mute.client(single_connection_client=True, **plain).incr("k"),
            lambda: mute.client(**plain).pipeline(transaction=False).incr("k").execute(),
            lambda: asyncio.run(asynchronously()),
        ):
            listener.settimeout(10)
            asked = pool.submit(ask)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                assert b"INCR" in connection.recv(1 << 16)
            assert isinstance(asked.exception(10), redis.ConnectionError)
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):  # nobody waits to be accepted
                listener.accept()
