"""Lifetimes at the edge: the wall clock is asked once, and what is logged is relative."""

import pytest

from tests.server.test_connection import Scene, command, play

WALL_MS = 1_700_000_000_123


@pytest.mark.parametrize(
    ("request_", "logged"),
    [
        ("SET k v EX 10", "SET k v PX 10000 1700000010123"),
        ("SET k v NX GET PX 5", "SET k v NX GET PX 5 1700000000128"),
        ("SET k v get nx px 5", "SET k v NX GET PX 5 1700000000128"),
        ("SET k v EXAT 1700000001", "SET k v PX 877 1700000001000"),
        ("SET k v PXAT 1700000000124", "SET k v PX 1 1700000000124"),
        ("SET k v PXAT 1", "SET k v PX -1700000000122 1"),
        ("SET k v keepttl xx", "SET k v XX KEEPTTL"),
        ("SETEX k 10 v", "SET k v PX 10000 1700000010123"),
        ("PSETEX k 10 v", "SET k v PX 10 1700000000133"),
        ("GETEX k", "GETEX k"),
        ("GETEX k persist", "GETEX k PERSIST"),
        ("GETEX k PXAT 1700000000124", "GETEX k PX 1 1700000000124"),
        ("EXPIRE k 1 xx gt", "EXPIRE k 1000 1700000001123 XX GT"),
        ("PEXPIRE k -1", "EXPIRE k -1 1700000000122"),
        ("EXPIREAT k 1700000001", "EXPIRE k 877 1700000001000"),
        ("PEXPIREAT k 1700000000124 NX", "EXPIRE k 1 1700000000124 NX"),
    ],
)
def test_what_is_logged(request_: str, logged: str) -> None:
    async def scenario(scene: Scene) -> None:
        assert scene.wall_ms == WALL_MS
        await scene.say(command(request_))
        assert scene.replica.groups == [("write", [tuple(logged.encode().split())])]

    play(scenario)


def test_a_wall_clock_that_jumps_moves_no_lifetime() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(command("SET k v EX 10"), command("SET l v EXAT 1700000010"))
        scene.wall_ms += 10**12
        scene.replica.time_ms = 9_000
        assert await scene.say(*map(command, ("PTTL k", "PTTL l", "PEXPIRETIME k", "PEXPIRETIME l"))) == (
            b":1000\r\n:877\r\n:1700000010123\r\n:1700000010000\r\n"
        )
        scene.replica.time_ms = 10_000
        assert await scene.say(command("TTL k"), command("SET n 1"), command("TTL k")) == b":0\r\n+OK\r\n:-2\r\n"

    play(scenario)


def test_time_inside_a_transaction_is_that_of_its_entry() -> None:
    async def scenario(scene: Scene) -> None:
        requests = ("SET k v PX 100", "MULTI", "PTTL k", "GET k")
        await scene.say(*map(command, requests))
        scene.replica.time_ms = 100
        assert await scene.say(command("EXEC")) == b"*2\r\n:-2\r\n$-1\r\n"

    play(scenario)
