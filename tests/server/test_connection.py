"""Conversations without sockets: order, grouping, failures, bounds."""

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oarlock.errors import (
    AuthorityTimedOut,
    CommandTooLarge,
    NotExecuted,
    NotLeader,
    OarlockError,
    OutcomeUnknown,
    Overloaded,
    ReplicaFailed,
    ShuttingDown,
    TermElapsed,
    Unavailable,
)
from oarlock.server.redis.connection import MAX_GROUP_BYTES, MAX_GROUP_COMMANDS, MAX_WAITING_BYTES, Conversation
from oarlock.server.redis.replies import CHUNK_BYTES
from oarlock.server.redis.service import Service
from tests.server.fake_replica import FakeReplica
from tests.server.test_protocol import array

TURNS = 100
"""Turns of the event loop after which whatever was going to happen has."""


class Wire:
    """A transport that keeps what is written, and whose client may stop reading."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.writes = 0
        self.reading = True
        self.closed = False
        self.capacity: int | None = None
        self.conversation: Conversation

    def write(self, data: bytes) -> None:
        assert data and not self.closed
        self.written += data
        self.writes += 1
        if self.capacity is not None and len(self.written) > self.capacity:
            self.conversation.output_full()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    def taken(self) -> bytes:
        """What the client has got since it last looked."""
        data = bytes(self.written)
        self.written.clear()
        return data

    def drain(self) -> None:
        """The client takes everything, and goes on reading."""
        self.capacity = None
        self.conversation.output_drained()


class Scene:
    def __init__(self) -> None:
        self.replica = FakeReplica()
        self.wall_ms = 1_700_000_000_123
        self.service = Service(self.replica, self.replica.machine, lambda: 0.0, lambda: self.wall_ms)
        self.wire, self.talk = self.connect()

    def connect(self) -> tuple[Wire, Conversation]:
        wire = Wire()
        wire.conversation = Conversation(self.service, wire, 1)
        return wire, wire.conversation

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def say(self, *requests: bytes) -> bytes:
        """What is answered to the requests, which arrive together."""
        self.talk.receive(b"".join(requests))
        await self.settle()
        return self.wire.taken()

    def kinds(self) -> list[tuple[str, int]]:
        return [(kind, len(items)) for kind, items in self.replica.groups]


def play(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Scene())

    asyncio.run(run())


def command(text: str) -> bytes:
    return array(*text.encode().split())


def test_what_is_wrong_behind_a_lone_request_is_answered_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(command("GET k") + b"*x\r\n")
        assert answer == b"$-1\r\n-ERR Protocol error: invalid multibulk length\r\n"
        assert scene.wire.closed

    play(scenario)


def test_54_a_read_between_two_writes_of_a_pipeline_sees_the_first() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(*map(command, ("SET k 1", "GET k", "SET k 2", "GET k")))
        assert answer == b"+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n"
        assert scene.kinds() == [("write", 4)], "all at their places in one slice, without a round"

    play(scenario)


def test_a_read_before_the_first_write_of_a_pipeline_does_not_see_it() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(*map(command, ("GET k", "STRLEN k", "SET k 1", "INCR k", "GET k", "TTL k")))
        assert answer == b"$-1\r\n:0\r\n+OK\r\n:2\r\n$1\r\n2\r\n:-1\r\n"
        assert scene.kinds() == [("write", 6)]

    play(scenario)


def test_an_answer_that_may_take_long_has_no_place_among_writes() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(*map(command, ("SET k 1", "KEYS *", "SET k 2", "SCAN 0 COUNT 5000", "GET k")))
        keys = b"*1\r\n$1\r\nk\r\n"
        assert answer == b"+OK\r\n" + keys + b"+OK\r\n*2\r\n$1\r\n0\r\n" + keys + b"$1\r\n2\r\n"
        assert scene.kinds() == [("write", 1), ("read", 1), ("write", 1), ("read", 1), ("read", 1)]

    play(scenario)


def test_a_read_is_not_asked_before_the_writes_ahead_of_it_are_answered() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        assert await scene.say(command("SET k 1")) == b""
        assert await scene.say(command("GET k")) == b""
        assert await scene.say(command("GET k")) == b""
        assert scene.kinds() == [("write", 1)]
        scene.replica.release()
        assert await scene.say() == b"+OK\r\n" + b"$1\r\n1\r\n" * 2

    play(scenario)


def test_a_write_is_not_sent_before_the_reads_ahead_of_it_are_answered() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        assert await scene.say(command("GET k")) == b""
        assert await scene.say(command("SET k 1")) == b""
        assert scene.kinds() == [("read", 1)]
        scene.replica.release()
        assert await scene.say() == b"$-1\r\n+OK\r\n"

    play(scenario)


def test_writes_go_out_behind_one_another_without_waiting() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        await scene.say(command("SET a 1"), command("INCR a"))
        await scene.say(command("APPEND a x"))
        assert scene.kinds() == [("write", 2), ("write", 1)]
        scene.replica.release()
        assert await scene.say() == b"+OK\r\n:2\r\n:2\r\n"

    play(scenario)


def test_local_commands_keep_their_place() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        assert await scene.say(*map(command, ("PING", "SET k 1", "ECHO x", "GET k", "NOSUCH", "PING"))) == b"+PONG\r\n"
        scene.replica.release()
        assert await scene.say() == (
            b"+OK\r\n$1\r\nx\r\n$1\r\n1\r\n-ERR unknown command 'NOSUCH', with args beginning with: \r\n+PONG\r\n"
        )

    play(scenario)


def test_hello_changes_the_protocol_from_its_place_on() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        await scene.say(*map(command, ("GET k", "HELLO 3", "GET k", "MGET k", "HELLO 2", "GET k")))
        scene.replica.release()
        answer = await scene.say()
        assert answer.startswith(b"$-1\r\n%7\r\n")
        assert b"_\r\n*1\r\n_\r\n*14\r\n" in answer
        assert answer.endswith(b"$-1\r\n")

    play(scenario)


def test_what_is_absent_is_null_in_the_protocol_of_its_client() -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(command("GET k")) == b"$-1\r\n"
        await scene.say(command("HELLO 3"))
        assert await scene.say(command("GET k")) == b"_\r\n"

    play(scenario)


def test_a_pipeline_is_one_group_and_one_write() -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(*[command("SET k v")] * 64) == b"+OK\r\n" * 64
        assert scene.kinds() == [("write", 64)] and scene.wire.writes == 1

    play(scenario)


def test_a_pipeline_that_only_begins_alike_is_cut_where_it_changes() -> None:
    async def scenario(scene: Scene) -> None:
        answer = await scene.say(
            *map(command, ("SET k 1", "SET j 2", "set k 3", "GET k", "get j", "GET k", "STRLEN k"))
        )
        assert answer == b"+OK\r\n" * 3 + b"$1\r\n3\r\n$1\r\n2\r\n$1\r\n3\r\n:1\r\n"
        assert scene.kinds() == [("write", 7)]
        assert await scene.say(*map(command, ("GET k", "SET k 4 GET", "SET k 5"))) == b"$1\r\n3\r\n$1\r\n3\r\n+OK\r\n"
        assert await scene.say(*map(command, ("GET k", "GET"))) == (
            b"$1\r\n5\r\n-ERR wrong number of arguments for 'get' command\r\n"
        )

    play(scenario)


def test_very_many_empty_arguments_are_not_taken_for_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        many = array(b"DEL", *[b""] * (MAX_GROUP_BYTES // 8))
        await scene.say(many, many)
        assert scene.kinds() == [("write", 1), ("write", 1)]

    play(scenario)


def test_groups_are_bounded_in_commands_and_bytes() -> None:
    async def scenario(scene: Scene) -> None:
        count = 2 * MAX_GROUP_COMMANDS + 5
        assert await scene.say(*[command("SET k v")] * count) == b"+OK\r\n" * count
        sizes = [size for _, size in scene.kinds()]
        assert sum(sizes) == count and max(sizes) == MAX_GROUP_COMMANDS
        scene.replica.groups.clear()
        half = array(b"SET", b"k", b"x" * (MAX_GROUP_BYTES // 2 - 10))
        huge = array(b"APPEND", b"k", b"x" * (4 * MAX_GROUP_BYTES))
        await scene.say(half, half, half, huge, command("SET k v"))
        assert scene.kinds() == [("write", 2), ("write", 1), ("write", 1), ("write", 1)]
        scene.replica.groups.clear()
        await scene.say(half, half, half)
        assert scene.kinds() == [("write", 2), ("write", 1)]

    play(scenario)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Unavailable(), b"-CLUSTERDOWN no leader took the request before its deadline\r\n"),
        (NotLeader(None), b"-CLUSTERDOWN not the leader, and none is known\r\n"),
        (TermElapsed(), b"-CLUSTERDOWN the leadership under which the request began has ended\r\n"),
        (AuthorityTimedOut(), b"-CLUSTERDOWN no majority of replicas answered before the deadline\r\n"),
        (Overloaded(), b"-TRYAGAIN too many requests are waiting\r\n"),
        (ShuttingDown(), b"-TRYAGAIN this replica is shutting down\r\n"),
        (OutcomeUnknown(), b"-UNKNOWN the outcome was not known before the deadline\r\n"),
        (ReplicaFailed("disk"), b"-UNKNOWN disk\r\n"),
        (CommandTooLarge(9, 8), b"-ERR a command of 9 bytes exceeds the limit of 8\r\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OarlockError) else "",
)
def test_a_failure_answers_every_command_and_leaves_the_connection_open(error: OarlockError, line: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.failure = error
        unread = (
            line if isinstance(error, NotExecuted) else b"-CLUSTERDOWN nothing was read: %b\r\n" % str(error).encode()
        )
        answer = await scene.say(command("GET k"), *[command("SET k 1")] * 3, command("GET k"), command("SET k 1"))
        assert answer == unread + line * 3 + unread + line, "what did not answer a read did not execute it"
        assert await scene.say(command("SET k 1"), command("SET k 1")) == line * 2
        assert await scene.say(command("GET k")) == line
        scene.replica.failure = None
        assert await scene.say(command("GET k")) == b"$-1\r\n"
        assert not scene.wire.closed

    play(scenario)


def test_malformed_input_is_answered_after_what_came_before_and_closes() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        assert await scene.say(command("SET k 1"), b"*1\r\n:1\r\n", command("SET k 2")) == b""
        assert not scene.wire.closed
        scene.replica.release()
        assert await scene.say() == b"+OK\r\n-ERR Protocol error: expected '$', got ':'\r\n"
        assert scene.wire.closed and scene.kinds() == [("write", 1)]

    play(scenario)


def test_quit_answers_what_came_before_and_ignores_what_came_after() -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(*map(command, ("SET k 1", "QUIT", "SET k 2"))) == b"+OK\r\n+OK\r\n"
        assert scene.wire.closed and scene.kinds() == [("write", 1)]

    play(scenario)


def test_http_is_not_taken_for_commands() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k 1\r\n")
        assert scene.wire.closed and scene.replica.groups == []

    play(scenario)


def test_a_lost_connection_swallows_late_outcomes() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        await scene.say(command("SET k 1"), command("GET k"))
        scene.talk.lost()
        scene.replica.release()
        assert await scene.say() == b""
        assert scene.kinds() == [("write", 2)]

    play(scenario)


def test_a_full_replica_stops_reading_until_it_has_room() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.room = False
        assert await scene.say(command("SET k 1")) == b"+OK\r\n"
        assert not scene.wire.reading
        assert await scene.say(command("SET k 2")) == b""
        scene.replica.make_room()
        assert scene.wire.reading
        assert await scene.say() == b"+OK\r\n"

    play(scenario)


def test_what_is_read_but_not_answered_is_bounded() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        piece = array(b"SET", b"k", b"x" * 65_000)
        sent = 0
        while scene.wire.reading:
            scene.talk.receive(piece)
            sent += 1
            assert sent * len(piece) < 2 * MAX_WAITING_BYTES
        scene.replica.release()
        assert await scene.say() == b"+OK\r\n" * sent
        assert scene.wire.reading

    play(scenario)


def test_tiny_commands_count_with_what_they_cost() -> None:
    async def scenario(scene: Scene) -> None:
        scene.wire.capacity = 0
        await scene.say(command("PING"))
        pings = b"PING\r\n" * 1000
        sent = 0
        while scene.wire.reading:
            scene.talk.receive(pings)
            sent += len(pings)
            assert sent < MAX_WAITING_BYTES // 8
        scene.wire.drain()
        assert await scene.say() == b"+PONG\r\n" * (sent // 6)
        assert scene.wire.reading

    play(scenario)


def test_a_client_that_takes_no_replies_gets_no_more_of_them_encoded() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(array(b"SET", b"k", b"x" * 100_000))
        scene.wire.capacity = 300_000
        await scene.say(*[command("GET k")] * MAX_GROUP_COMMANDS, *[command("GET k")] * MAX_GROUP_COMMANDS)
        assert len(scene.wire.written) < scene.wire.capacity + 2 * CHUNK_BYTES
        await scene.say(*[command("GET k")] * 3)
        asked = len(scene.replica.groups)
        scene.talk.receive(command("GET k"))
        await scene.settle()
        assert len(scene.replica.groups) == asked  # Nor is anything more asked of the replica.
        taken = len(scene.wire.written)
        scene.wire.written.clear()
        scene.wire.drain()
        for _ in range(100_000 * 2 * MAX_GROUP_COMMANDS // CHUNK_BYTES // TURNS + 1):
            await scene.settle()
        assert taken + len(scene.wire.written) >= 100_000 * (2 * MAX_GROUP_COMMANDS)

    play(scenario)


def test_a_long_answer_comes_in_chunks_and_whole() -> None:
    async def scenario(scene: Scene) -> None:
        keys = [b"key:%06d" % number for number in range(50_000)]
        await scene.say(array(b"MSET", *(word for key in keys for word in (key, b"v"))))
        writes = scene.wire.writes
        answer = await scene.say(command("KEYS *"))
        assert answer.startswith(b"*50000\r\n") and sorted(answer.split(b"\r\n")[2:-1:2]) == keys
        assert scene.wire.writes > writes + 1

    play(scenario)


def test_a_long_answer_takes_a_chunk_of_every_turn_and_no_more() -> None:
    async def scenario(scene: Scene) -> None:
        value = b"v" * (CHUNK_BYTES // 2)
        await scene.say(array(b"MSET", *(word for number in range(20) for word in (b"k%d" % number, value))))
        scene.talk.receive(array(b"MGET", *(b"k%d" % number for number in range(20))))
        pieces: list[bytes] = []
        for _ in range(TURNS):
            await asyncio.sleep(0)
            pieces.append(scene.wire.taken())
        assert b"".join(pieces) == b"*20\r\n" + array(*[value] * 20)[len(b"*20\r\n") :]
        assert max(map(len, pieces)) < 2 * CHUNK_BYTES

    play(scenario)


def test_a_request_that_comes_byte_by_byte() -> None:
    async def scenario(scene: Scene) -> None:
        for byte in command("SET k 1") + b"GET k\r\n":
            scene.talk.receive(bytes([byte]))
        assert await scene.say() == b"+OK\r\n$1\r\n1\r\n"

    play(scenario)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("SET k v EX", b"-ERR syntax error\r\n"),
        ("SELECT 1", b"-ERR DB index is out of range\r\n"),
        ("CLIENT SETINFO LIB-NAME x", b"+OK\r\n"),
        ("CLIENT SETINFO X x", b"-ERR Unrecognized option 'X'\r\n"),
        ("CONFIG GET sav* appendonly", b"*4\r\n$4\r\nsave\r\n$0\r\n\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"),
        ("COMMAND INFO set", b"*1\r\n*10\r\n$3\r\nset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n" + b"*0\r\n" * 4),
        ("CLIENT NO-TOUCH on", b"+OK\r\n"),
        ("TIME", b"*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n"),
        ("COMMAND DOCS", b"*0\r\n"),
    ],
)
def test_replies_that_differ_from_redis_on_purpose(text: str, reply: bytes) -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(command(text)) == reply
        assert scene.replica.groups == []

    play(scenario)


def test_compare_and_set() -> None:
    async def scenario(scene: Scene) -> None:
        requests = ("CAS k 1 2", "SET k 1 EX 100", "CAS k 2 3", "CAS k 1 2", "GET k", "TTL k", "CAS k 1")
        assert await scene.say(*map(command, requests)) == (
            b":0\r\n+OK\r\n:0\r\n:1\r\n$1\r\n2\r\n:-1\r\n-ERR wrong number of arguments for 'cas' command\r\n"
        )

    play(scenario)


def test_a_client_tells_of_itself() -> None:
    async def scenario(scene: Scene) -> None:
        scene.talk.addresses = ("10.0.0.9:1234", "10.0.0.1:6401")
        await scene.say(command("CLIENT SETNAME me"))
        _, line, _ = (await scene.say(command("CLIENT INFO"))).split(b"\r\n")
        fields = dict(field.split(b"=") for field in line.split())
        assert (fields[b"id"], fields[b"name"], fields[b"resp"]) == (b"1", b"me", b"2")
        assert (fields[b"addr"], fields[b"laddr"]) == (b"10.0.0.9:1234", b"10.0.0.1:6401")
        assert (await scene.say(command("CLIENT LIST ID 1 2"))).split(b"\r\n")[1] == line
        assert await scene.say(command("CLIENT LIST ID 2")) == b"$0\r\n\r\n"

    play(scenario)


@pytest.mark.parametrize("words", [(b"KEYS",), (b"SCAN", b"0", b"MATCH"), (b"CONFIG", b"GET")])
def test_a_pattern_that_would_stall_the_replica_is_refused(words: tuple[bytes, ...]) -> None:
    async def scenario(scene: Scene) -> None:
        assert not (await scene.say(array(*words, b"?" * 4096))).startswith(b"-")
        scene.replica.groups.clear()
        answer = await scene.say(array(*words, b"?" * 4097))
        assert answer == b"-ERR pattern is longer than 4096 bytes\r\n"
        assert scene.replica.groups == []

    play(scenario)


def fields(reply: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in reply.decode().split("\r\n") if ":" in line)


def test_info_answers_without_the_replica() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        scene.replica.become(role="candidate", leader_id=0, leader_redis="", ready=False)
        raft = fields(await scene.say(command("INFO raft")))
        assert raft == {
            "replica_id": "1",
            "role": "candidate",
            "term": "7",
            "leader_id": "0",
            "leader_redis": "",
            "commit_index": "12",
            "applied_index": "11",
            "last_index": "13",
            "voters": "1,2,3",
            "learners": "",
            "joining": "",
            "joint": "0",
            "configuration_index": "2",
            "durable_index": "13",
            "snapshot_index": "5",
            "snapshot_bytes": "1000",
            "log_bytes": "100",
            "disk_latency_ms": "2.000",
        }
        everything = await scene.say(command("INFO"))
        assert fields(everything).keys() == fields(await scene.say(command("INFO everything"))).keys()
        for section in (b"# Server", b"# Clients", b"# Stats", b"# Raft"):
            assert section in everything
        assert await scene.say(command("INFO nosuch")) == b"$0\r\n\r\n"
        assert scene.replica.groups == []

    play(scenario)


def test_info_in_resp3_is_a_verbatim_string_and_counts_keys() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(*map(command, ("HELLO 3", "SET k v", "SET j v EX 9")))
        reply: Any = await scene.say(command("INFO keyspace"))
        text = b"# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\n"
        assert reply == b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)

    play(scenario)


def test_the_groups_of_a_lost_connection_are_abandoned() -> None:
    """So that no other leader is asked to execute them."""

    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        await scene.say(command("SET k 1"))
        await scene.say(command("SET k 2"))
        groups = list(scene.talk._queue)
        assert len(groups) == 2 and not any(group.abandoned for group in groups)
        scene.talk.lost()
        assert all(group.abandoned for group in groups)

    play(scenario)


def test_many_patterns_of_one_command_are_no_longer_together_than_one_may_be() -> None:
    async def scenario(scene: Scene) -> None:
        assert await scene.say(array(b"CONFIG", b"GET", *[b"?" * 64] * 64)) == b"*0\r\n"
        assert (await scene.say(array(b"CONFIG", b"GET", *[b"?" * 64] * 65))).startswith(b"-ERR pattern is longer")

    play(scenario)


def test_a_lone_command_counts_whole_however_its_bytes_arrive() -> None:
    async def scenario(scene: Scene) -> None:
        request = array(b"SET", b"k", b"v" * 1_000_000)
        for part in (request[:30], request[30:-2], request[-2:]):
            scene.talk.receive(part)
        await scene.settle()
        assert scene.wire.taken() == b"+OK\r\n"  # and the replica has looked whether its size was told truly

    play(scenario)


@pytest.mark.parametrize("pipeline", ["GET k ", "SET k v ", "PING ", "GET k STRLEN k "])
def test_nothing_is_held_for_a_client_that_has_all_its_replies(pipeline: str) -> None:
    async def scenario(scene: Scene) -> None:
        words = {"GET": 2, "SET": 3, "PING": 1, "STRLEN": 2}
        requests, rest = [], (pipeline * 100).split()
        while rest:
            count = words[rest[0]]
            requests.append(array(*(word.encode() for word in rest[:count])))
            rest = rest[count:]
        await scene.say(*requests)
        assert (scene.talk.held_bytes, scene.service.held_bytes) == (0, 0)

    play(scenario)


def test_what_waits_is_reckoned_with_what_its_words_take_in_memory() -> None:
    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        await scene.say(array(b"GET", b"k"), array(b"DEL", *[b"xy"] * 100_000))
        assert scene.service.held_bytes > 100_000 * 48

    play(scenario)


def test_a_database_that_there_cannot_be() -> None:
    async def scenario(scene: Scene) -> None:
        beyond = b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"
        for number in (b"2147483648", b"-2147483649", b"99999999999"):
            assert await scene.say(array(b"SELECT", number)) == beyond
        assert await scene.say(array(b"SELECT", b"2147483647")) == b"-ERR DB index is out of range\r\n"
        assert await scene.say(array(b"SELECT", b"x")) == b"-ERR value is not an integer or out of range\r\n"

    play(scenario)


def test_parts_of_a_large_value_are_not_copied_until_they_leave() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.say(array(b"SET", b"k", b"v" * 1_000_000))
        scene.replica.held = True
        scene.talk.receive(array(b"GETRANGE", b"k", b"0", b"-2") * 50)
        tracemalloc.start()
        scene.replica.release()
        scene.wire.capacity = 0
        answer = bytearray(await scene.say())
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 20_000_000
        for _ in range(50):
            scene.wire.drain()
            scene.wire.capacity = 0
            answer += await scene.say()
        assert answer == (b"$999999\r\n" + b"v" * 999_999 + b"\r\n") * 50

    play(scenario)


def test_what_follows_the_first_of_many_lines_is_not_forgotten() -> None:
    async def scenario(scene: Scene) -> None:
        keys = [b"%d" % number for number in range(20_000)]
        answer = await scene.say(array(b"GET", b"k"), array(b"EXISTS", *keys))
        assert answer == b"$-1\r\n:0\r\n"

    play(scenario)
