"""Real processes on a network that breaks and refuses connections."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

from tests.process.load import Load
from tests.process.replicas import Processes, until


def test_42_a_leader_that_is_taken_for_dead_does_not_answer_from_its_past(relayed: Processes) -> None:
    """All that is known of it says that its process has ended, so that a successor is elected at once; but it was
    stopped for a moment, not long enough to doubt itself, and wakes up with requests and without the news."""
    cluster = relayed
    old = cluster.leader()
    client = old.client(single_connection_client=True)
    client.set("k", "old")
    old.signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    cluster.relays[old.number].refuse()
    for relay in cluster.relays.values():
        relay.reset()
    new = cluster.leader(besides=old)
    new.client().set("k", "new")

    pipeline = client.pipeline(transaction=False)
    for _ in range(100):
        pipeline.get("k")
    with ThreadPoolExecutor() as pool:
        answers = pool.submit(pipeline.execute)
        old.signal(signal.SIGCONT)
        print(f"stopped for {time.monotonic() - stopped_at:.2f} s")
        until(lambda: not old.knows_a_leader, "it has noticed that nobody answers")
        cluster.relays[old.number].accept()
    assert answers.result() == ["new"] * 100, "they waited, and were answered by way of the new leader"


def test_57_connections_that_break_cost_a_healthy_leader_nothing_and_no_write_is_repeated(relayed: Processes) -> None:
    """Forwarded writes are sent again after each break (scenario 53): the counter shows one that is taken twice."""
    cluster = relayed
    leader = cluster.leader()
    term = leader.info()["term"]
    with Load(lambda: cluster.living, clients=8) as load:
        for _ in range(15):
            enough = len(load.acknowledged_at) + 30
            until(lambda enough=enough: len(load.acknowledged_at) > enough, "writes go on")  # type: ignore[misc]
            for relay in cluster.relays.values():
                relay.reset()
    assert load.errors == []
    for replica in cluster.all:
        load.check(replica)
        assert replica.info()["term"] == term
