"""What one client sends takes a share of a turn and no more, and is answered whole and in order all the same."""

import pytest

from oarlock.server.redis.connection import MAX_WAITING_BYTES
from oarlock.server.redis.input import SHARE_ALIKE, SHARE_BYTES, SHARE_LINES, SHARE_REQUESTS, Input
from oarlock.server.redis.local import MOST_WORDS
from tests.server.test_connection import Scene, command, play
from tests.server.test_protocol import array

READ_BYTES = 256_000
"""What uvloop hands over at a time."""


def shares(data: bytes) -> list[int]:
    """How many requests each turn got of what arrived in one piece."""
    input = Input()
    sizes = [len(input.feed(data))]
    while input:
        sizes.append(len(input.next_share()))
        assert len(sizes) < 10_000
    return sizes


@pytest.mark.parametrize(
    "request_", [b"INFO\r\n", b"\r\n", b"\n", b"*0\r\n", array(b"PING"), command("GET k"), command("SET k v")]
)
def test_a_turn_takes_a_bounded_number_of_requests_and_lines(request_: bytes) -> None:
    count = READ_BYTES // len(request_)
    sizes = shares(request_ * count)
    assert sum(sizes) in (count, 0)
    assert max(sizes) <= SHARE_ALIKE
    assert len(sizes) >= count // SHARE_LINES // 8


def test_blank_lines_are_parsed_a_share_at_a_time() -> None:
    assert len(shares(b"\n" * READ_BYTES)) >= READ_BYTES // SHARE_BYTES


def test_large_values_are_not_cut_into_small_shares() -> None:
    assert shares(array(b"SET", b"k", b"x" * 1000) * 240)[0] == 240
    assert shares(array(b"SET", b"k", b"x" * (READ_BYTES - 100)))[0] == 1


def test_after_a_large_piece_others_are_next() -> None:
    async def scenario(scene: Scene) -> None:
        scene.talk.receive(array(b"SET", b"k", b"x" * SHARE_BYTES))
        assert not scene.wire.reading
        await scene.settle()
        assert scene.wire.reading and scene.wire.taken() == b"+OK\r\n"

    play(scenario)


def test_commands_that_are_not_alike_come_in_small_shares_and_keep_their_order() -> None:
    async def scenario(scene: Scene) -> None:
        count = 3 * SHARE_REQUESTS + 7
        texts = [f"{text} {n}" for n in range(count) for text in ("ECHO", "INCRBY n")]
        scene.talk.receive(b"".join(map(command, texts)))
        assert scene.service.commands <= SHARE_REQUESTS
        assert not scene.wire.reading
        await scene.settle()
        total, expected = 0, b""
        for n in range(count):
            total += n
            expected += b"$%d\r\n%d\r\n:%d\r\n" % (len(str(n)), n, total)
        for _ in range(100):
            await scene.settle()
        assert scene.wire.taken() == expected
        assert scene.wire.reading and scene.service.commands == 2 * count

    play(scenario)


def test_what_arrives_while_more_is_due_comes_behind_it() -> None:
    async def scenario(scene: Scene) -> None:
        for first in range(0, 30_000, 10_000):
            scene.talk.receive(b"".join(b"ECHO %d\r\n" % n for n in range(first, first + 10_000)))
        for _ in range(5):
            await scene.settle()
        assert scene.wire.taken() == b"".join(b"$%d\r\n%d\r\n" % (len(str(n)), n) for n in range(30_000))

    play(scenario)


def test_what_is_wrong_is_said_after_all_that_came_before() -> None:
    async def scenario(scene: Scene) -> None:
        pings = 3 * SHARE_REQUESTS
        answer = await scene.say(b"PING\r\n" * pings + b"*1\r\n:1\r\n" + b"PING\r\n" * pings)
        assert answer == b"+PONG\r\n" * pings + b"-ERR Protocol error: expected '$', got ':'\r\n"
        assert scene.wire.closed

    play(scenario)


def test_nothing_behind_quit_is_executed_however_much_came_with_it() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        pings = SHARE_REQUESTS + 5
        answer = await scene.say(b"PING\r\n" * pings + b"APPEND k x\r\nQUIT\r\n" + b"APPEND k x\r\n" * 10_000)
        assert answer == b"+PONG\r\n" * pings and not scene.wire.closed
        scene.replica.release()
        assert await scene.say() == b":1\r\n+OK\r\n"
        assert scene.wire.closed and scene.kinds() == [("write", 1)]

    play(scenario)


def test_a_client_that_is_gone_is_not_worked_for() -> None:
    async def scenario(scene: Scene) -> None:
        scene.talk.receive(b"APPEND k x\r\n" * 10_000)
        scene.talk.lost()
        seen = scene.service.commands
        await scene.settle()
        assert scene.service.commands == seen <= SHARE_REQUESTS

    play(scenario)


def test_shares_stop_at_the_bound_of_what_waits_and_go_on_when_there_is_room() -> None:
    async def scenario(scene: Scene) -> None:
        scene.wire.capacity = 0
        await scene.say(command("PING"))
        sent = 0
        while scene.wire.reading:
            scene.talk.receive(b"COMMAND\r\n" * 4000)  # Each is answered by about a thousand times its length.
            sent += 4000
            for _ in range(100):
                await scene.settle()
        due = scene.talk._waiting_bytes
        assert MAX_WAITING_BYTES < due < MAX_WAITING_BYTES + 8 * 1024 * 1024
        assert scene.service.commands < sent
        scene.wire.drain()
        for _ in range(sent):
            if scene.wire.reading:
                break
            await scene.settle()
            scene.wire.written.clear()
        assert scene.service.commands == sent + 1

    play(scenario)


def test_shares_wait_for_a_full_replica() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.room = False
        count = 2 * SHARE_REQUESTS
        await scene.say(b"APPEND k x\r\n" * count)
        taken = scene.service.commands
        assert taken < count and not scene.wire.reading
        scene.replica.make_room()
        await scene.settle()
        assert scene.service.commands == count and scene.wire.reading
        assert (await scene.say(command("STRLEN k"))).endswith(b":%d\r\n" % count)

    play(scenario)


@pytest.mark.parametrize("words", ["COMMAND INFO", "CONFIG GET", "CLIENT LIST ID", "INFO"])
def test_a_command_with_words_for_a_whole_turn_is_refused(words: str) -> None:
    async def scenario(scene: Scene) -> None:
        few = [b"1"] * (MOST_WORDS - 10)
        assert not (await scene.say(array(*words.encode().split(), *few))).startswith(b"-")
        many = [b"1"] * MOST_WORDS
        assert await scene.say(array(*words.encode().split(), *many)) == b"-ERR more than 1024 arguments\r\n"

    play(scenario)


def test_all_commands_are_described_alike_in_both_protocols() -> None:
    async def scenario(scene: Scene) -> None:
        one = await scene.say(command("COMMAND"))
        assert one == await scene.say(command("COMMAND INFO"))
        await scene.say(command("HELLO 3"))
        assert one == await scene.say(command("COMMAND"))
        assert one.count(b"+readonly\r\n") > 10

    play(scenario)
