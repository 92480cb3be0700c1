"""Scenario 34: a leader is stopped, another is elected and writes; the old one wakes up with reads in its sockets."""

import signal
import socket

from tests.process.conftest import ClusterOf

CONNECTIONS = 20
READS = 25


def test_scenario_34_a_leader_that_wakes_up_never_answers_with_an_old_value(cluster_of: ClusterOf) -> None:
    cluster = cluster_of(3)
    old = cluster.leader()
    old.client().set("k", "old")
    sockets = [socket.create_connection(("127.0.0.1", old.redis_port), timeout=20) for _ in range(CONNECTIONS)]
    for connection in sockets:
        connection.sendall(b"GET k\r\n")
        assert connection.recv(100) == b"$3\r\nold\r\n"

    old.signal(signal.SIGSTOP)
    new = cluster.leader(besides=old)
    new.client().set("k", "new")
    for connection in sockets:
        connection.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * READS)
    old.signal(signal.SIGCONT)

    answers = [line for connection in sockets for line in _lines(connection, READS)]
    assert len(answers) == CONNECTIONS * READS
    assert b"old" not in answers
    fresh = answers.count(b"new")
    print(f"{fresh} of {len(answers)} reads got the new value, the others an error")
    assert fresh >= 0.9 * len(answers), set(answers)
    for connection in sockets:
        connection.close()


def _lines(connection: socket.socket, count: int) -> list[bytes]:
    """So many answers: the value of each, or its error."""
    answers: list[bytes] = []
    with connection.makefile("rb") as replies:
        for _ in range(count):
            head = replies.readline().rstrip()
            if head.startswith(b"$"):
                answers.append(replies.readline().rstrip())
            else:
                assert head.startswith((b"-CLUSTERDOWN", b"-TRYAGAIN")), head
                answers.append(head)
    return answers
