"""Transactions on a connection: what goes to the replica, when, and what comes of failures."""

import pytest

from oarlock.errors import OutcomeUnknown, Unavailable
from oarlock.kv.packing import exec_command
from tests.server.test_connection import Scene, command, play
from tests.server.test_protocol import array

ALL = ("WATCH k", "MULTI", "SET k 2", "GET k", "EXEC")


def test_a_transaction_is_one_command_of_the_log() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(*map(command, ("MULTI", "SET k 1", "PING", "GET k", "EXEC", "GET k")))
        assert answer == b"+OK\r\n" + b"+QUEUED\r\n" * 3 + b"*3\r\n+OK\r\n+PONG\r\n$1\r\n1\r\n" + b"$1\r\n1\r\n"
        packed = exec_command([], [(b"SET", b"k", b"1"), (b"GET", b"k")])
        assert scene.replica.groups == [("write", [packed]), ("read", [(b"GET", b"k")])]

    play(scenario)


def test_nothing_of_a_transaction_reaches_the_replica_before_exec() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(command("MULTI"), command("SET k 1"))
        await scene.say(command("SET k 1") * 3)
        await scene.say(command("GET k") * 3)
        assert scene.replica.groups == []
        scene.talk.lost()
        await scene.settle()
        assert len(scene.replica.machine) == 0

    play(scenario)


def test_58_no_write_is_submitted_before_a_watch_has_its_versions() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        assert await scene.say(*map(command, ("WATCH k", "SET k 1", "MULTI", "SET k 2", "EXEC"))) == b""
        assert scene.kinds() == [("read", 1)]
        scene.replica.release()
        assert await scene.say() == b"+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n"
        assert await scene.say(command("GET k")) == b"$1\r\n1\r\n"

    play(scenario)


def test_58_another_connection_sets_and_deletes_between_watch_and_exec() -> None:
    async def scenario(scene: Scene) -> None:
        wire, other = scene.connect()
        assert await scene.say(*map(command, ALL[:3])) == b"+OK\r\n+OK\r\n+QUEUED\r\n"
        other.receive(command("SET k 1") + command("DEL k"))
        await scene.settle()
        assert wire.taken() == b"+OK\r\n:1\r\n"
        assert await scene.say(command("EXEC")) == b"*-1\r\n"
        assert await scene.say(*map(command, ALL)) == b"+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n2\r\n"

    play(scenario)


def test_a_watch_that_failed_lets_no_transaction_through() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.failure = Unavailable()
        assert (await scene.say(command("WATCH k"))).startswith(b"-CLUSTERDOWN")
        scene.replica.failure = None
        assert await scene.say(*map(command, ALL[1:])) == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n"
        assert await scene.say(*map(command, ALL[1:])) == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n2\r\n"

    play(scenario)


def test_an_unknown_outcome_answers_the_whole_transaction() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(command("MULTI"), command("SET k 1"), command("SET k 2"))
        scene.replica.failure = OutcomeUnknown()
        answer = await scene.say(command("EXEC"))
        assert answer.startswith(b"-UNKNOWN") and answer.count(b"\r\n") == 1
        scene.replica.failure = None
        assert await scene.say(command("EXEC")) == b"-ERR EXEC without MULTI\r\n"

    play(scenario)


def test_a_transaction_that_needs_no_replica_asks_none() -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(*map(command, ("MULTI", "PING", "INCRBY k x", "EXEC"))) == (
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n-ERR value is not an integer or out of range\r\n"
        )
        assert scene.replica.groups == []

    play(scenario)


def test_what_is_queued_and_watched_is_bounded() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.recording = False
        await scene.say(command("MULTI"))
        chunk = array(b"SET", b"k", b"x" * 1_000_000)
        answers = (await scene.say(*[chunk] * 10)).split(b"\r\n")
        assert answers[:5] == [b"+QUEUED"] * 5
        assert b"-ERR the transaction is too large" in answers
        assert scene.talk.transaction is not None and scene.talk.transaction.requests == []
        assert await scene.say(command("EXEC")) == (b"-EXECABORT Transaction discarded because of previous errors.\r\n")
        assert await scene.say(array(b"WATCH", b"x" * 1_000_000)) == b"+OK\r\n"
        assert await scene.say(array(b"WATCH", b"y" * 1_000_000)) == b"-ERR too many keys are watched\r\n"
        assert await scene.say(command("UNWATCH"), array(b"WATCH", b"y" * 1_000_000)) == b"+OK\r\n+OK\r\n"

    play(scenario)


def test_a_pipeline_of_one_kind_is_queued_too() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(command("MULTI"))
        assert await scene.say(*[command("SET k 1")] * 50) == b"+QUEUED\r\n" * 50
        assert await scene.say(*[command("get k")] * 50) == b"+QUEUED\r\n" * 50
        assert await scene.say(command("EXEC")) == b"*100\r\n" + b"+OK\r\n" * 50 + b"$1\r\n1\r\n" * 50

    play(scenario)


@pytest.mark.parametrize("protocol", [b"2", b"3"])
def test_an_aborted_transaction_in_both_protocols(protocol: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(array(b"HELLO", protocol))
        answer = await scene.say(*map(command, ("WATCH k", "SET k 1", "MULTI", "EXEC")))
        assert answer == b"+OK\r\n" * 3 + {b"2": b"*-1\r\n", b"3": b"_\r\n"}[protocol]

    play(scenario)


def test_what_is_queued_and_watched_counts_as_held() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(command("WATCH a b c"), command("MULTI"), array(b"SET", b"k", b"v" * 1_000_000))
        assert scene.service.held_bytes > 1_000_000
        await scene.say(command("DISCARD"))
        assert scene.service.held_bytes == 0

    play(scenario)


def test_a_key_that_is_watched_already_is_not_watched_again() -> None:
    async def scenario(scene: Scene) -> None:
        _, other = scene.connect()
        await scene.say(command("WATCH k j"))
        other.receive(command("SET k 1"))
        await scene.settle()
        assert await scene.say(*[command("WATCH k j k")] * 20_000) == b"+OK\r\n" * 20_000
        assert len(scene.talk.watches.each) == 1
        assert await scene.say(*map(command, ("WATCH j i", "MULTI", "SET j 2", "EXEC"))) == (
            b"+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n"
        ), "the older version counts"
        assert await scene.say(*map(command, ("WATCH k k", "MULTI", "SET j 2", "EXEC"))) == (
            b"+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"
        )

    play(scenario)


def test_a_transaction_searches_no_more_than_so_much() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(command("MULTI"), *[command("KEYS *")] * 8, *[command("scan 0 MATCH a*")] * 9)
        assert answer == b"+OK\r\n" + b"+QUEUED\r\n" * 16 + b"-ERR the transaction searches too much\r\n"
        assert await scene.say(command("EXEC")) == (b"-EXECABORT Transaction discarded because of previous errors.\r\n")
        answer = await scene.say(command("MULTI"), *[array(b"KEYS", b"?" * 2000)] * 3)
        assert answer.endswith(b"+QUEUED\r\n-ERR the transaction searches too much\r\n")

    play(scenario)
