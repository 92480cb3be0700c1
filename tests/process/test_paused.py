"""Scenario 34: a replica is stopped while others go on, and wakes up with requests in its sockets."""

import signal
import socket
from collections.abc import Sequence

import pytest

from tests.process.replicas import Process, Processes

CONNECTIONS = 20
READS = 25
INCREMENTS = 5


@pytest.mark.parametrize("stopped", ["leader", "follower"])
def test_scenario_34_a_replica_that_wakes_up_never_answers_with_an_old_value(cluster: Processes, stopped: str) -> None:
    old = cluster.leader() if stopped == "leader" else cluster.followers()[0]
    key = f"k:{stopped}"
    old.client().set(key, "old")
    sockets = [_connect(replica) for replica in cluster.all for _ in range(CONNECTIONS)]
    assert _ask(sockets, _command("GET", key)) == [b"old"] * len(sockets)

    old.signal(signal.SIGSTOP)
    new = cluster.leader(besides=old)
    assert old is not new
    new.client().set(key, "new")
    for connection in sockets:
        connection.sendall(_command("GET", key) * READS)
    old.signal(signal.SIGCONT)

    answers = [answer for connection in sockets for answer in _answers(connection, READS)]
    assert b"old" not in answers
    fresh = answers.count(b"new")
    print(f"{fresh} of {len(answers)} reads got the new value, the others an error")
    assert fresh >= 0.9 * len(answers), set(answers)
    for connection in sockets:
        connection.close()


def test_scenario_34_writes_in_the_sockets_of_a_leader_that_wakes_up_happen_once_or_are_refused(
    cluster: Processes,
) -> None:
    old = cluster.leader()
    sockets = [_connect(old) for _ in range(CONNECTIONS)]
    assert len(set(_ask(sockets, _command("INCR", "counter")))) == CONNECTIONS

    old.signal(signal.SIGSTOP)
    cluster.leader(besides=old)
    for connection in sockets:
        connection.sendall(_command("INCR", "counter") * INCREMENTS)
    old.signal(signal.SIGCONT)

    executed = [
        int(answer) for connection in sockets for answer in _answers(connection, INCREMENTS) if answer.isdigit()
    ]
    value = int(cluster.leader().client().get("counter"))
    assert sorted(executed) == list(range(CONNECTIONS + 1, value + 1)), "each once, none lost, none invented"
    assert len(executed) >= 0.9 * CONNECTIONS * INCREMENTS
    for connection in sockets:
        connection.close()


def _connect(replica: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", replica.redis_port), timeout=20)


def _command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)


def _ask(sockets: Sequence[socket.socket], command: bytes) -> list[bytes]:
    for connection in sockets:
        connection.sendall(command)
    return [_answers(connection, 1)[0] for connection in sockets]


def _answers(connection: socket.socket, count: int) -> list[bytes]:
    """So many answers: the value of each, or the error that says that it was not executed."""
    answers: list[bytes] = []
    with connection.makefile("rb") as replies:
        for _ in range(count):
            head = replies.readline().rstrip()
            if head.startswith(b"$"):
                answers.append(replies.readline().rstrip())
            elif head.startswith(b":"):
                answers.append(head[1:])
            else:
                assert head.startswith((b"-CLUSTERDOWN", b"-TRYAGAIN")), head
                answers.append(head)
    return answers
