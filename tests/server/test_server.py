"""The Redis server over real sockets, with a real client in both protocols."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio
import redis.exceptions
import uvloop
from msgspec.structs import replace

from oarlock.errors import OutcomeUnknown, StartupError, Unavailable
from oarlock.server import listening
from oarlock.server.redis import RedisServer, connection, server
from oarlock.server.redis.server import MOST_CLIENTS
from oarlock.state_machine import Position
from oarlock.types import MAX_COMMAND_BYTES, Index
from tests.server.fake_replica import STATUS, FakeReplica
from tests.server.test_connection import command
from tests.server.test_protocol import array

DEADLINE_S = 30
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Scene:
    def __init__(self, most_clients: int) -> None:
        self.replica = FakeReplica()
        self.server = RedisServer(self.replica, self.replica.machine, most_clients=most_clients)

    def client(self, protocol: int) -> redis.asyncio.Redis:
        return redis.asyncio.Redis(port=self.server.port, protocol=protocol, retry=None)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; the scene's deadline bounds the wait."""
    while not condition():  # noqa: ASYNC110 - there is nothing that could set an event
        await asyncio.sleep(0.002)


async def left(reader: asyncio.StreamReader) -> bytes:
    """What still comes on a connection that the server ends, be it by a reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def play(
    scenario: Callable[[Scene], Awaitable[None]],
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    most_clients: int = MOST_CLIENTS,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            scene = Scene(most_clients)
            await scene.server.start("127.0.0.1", 0)
            try:
                await scenario(scene)
            finally:
                await scene.server.close(1)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_real_client(protocol: int, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.client(protocol) as client:
            assert await client.ping() is True
            assert await client.set("k", "v") is True
            assert await client.get("k") == b"v"
            assert await client.get("absent") is None
            assert await client.set("k", "w", nx=True) is None
            assert await client.set("k", "w", get=True) == b"v"
            assert await client.mset({"a": 1, "b": 2}) is True
            assert await client.mget("a", "x", "b") == [b"1", None, b"2"]
            assert await client.incrby("a", 41) == 42
            assert await client.append("k", "xyz") == 4
            assert await client.strlen("k") == 4
            assert await client.exists("k", "k", "x") == 2
            assert await client.getdel("k") == b"wxyz"
            assert sorted(await client.keys("*")) == [b"a", b"b"]
            assert sorted([key async for key in client.scan_iter("?", count=1)]) == [b"a", b"b"]
            assert await client.delete("a", "x") == 1
            assert await client.dbsize() == 1
            assert await client.config_get("save") == {"save": ""}
            roles = ("voter", "voter", "voter", "joining", "learner", "joining")
            members = [replace(STATUS.members[0], replica_id=n, role=role) for n, role in enumerate(roles, 1)]
            scene.replica.become(joint=True, members=tuple(members))
            raft = await client.info("raft")
            assert (raft["role"], raft["term"], raft["voters"]) == ("leader", 7, [1, 2, 3])
            assert (raft["learners"], raft["joining"], raft["joint"]) == (5, [4, 6], 1)
            assert (raft["snapshot_index"], raft["log_bytes"], raft["disk_latency_ms"]) == (5, 100, 2)
            assert (await client.info())["db0"] == {"keys": 1, "expires": 0, "avg_ttl": 0}
            with pytest.raises(redis.exceptions.ResponseError, match="not an integer"):
                await client.execute_command("INCRBY", "b", "x")
            pipeline = client.pipeline(transaction=False)
            for number in range(1000):
                pipeline.set(f"key:{number}", number).get(f"key:{number}")
            answers = await pipeline.execute()
            assert answers[1::2] == [b"%d" % number for number in range(1000)]
            assert await client.flushall() is True
            assert await client.dbsize() == 0

    play(scenario, loop)


def test_errors_of_the_replica_reach_a_real_client() -> None:
    async def scenario(scene: Scene) -> None:
        async with scene.client(3) as client:
            scene.replica.failure = Unavailable()
            with pytest.raises(redis.exceptions.ResponseError, match="no leader took the request"):
                await client.set("k", "v")
            scene.replica.failure = OutcomeUnknown()
            with pytest.raises(redis.exceptions.ResponseError, match="UNKNOWN the outcome"):
                await client.set("k", "v")
            scene.replica.failure = None
            assert await client.get("k") is None

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_clients_beyond_the_limit_are_turned_away_with_a_word(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        first, second = await scene.connect(), await scene.connect()
        await until(lambda: scene.server.clients == 2)
        for _ in range(3):
            reader, writer = await scene.connect()
            assert await reader.read() == b"-ERR max number of clients reached\r\n"
            writer.close()
        second[1].close()
        await until(lambda: scene.server.clients == 1)
        reader, writer = await scene.connect()
        for talker in (writer, first[1]):
            talker.write(command("PING"))
        assert await reader.readline() == await first[0].readline() == b"+PONG\r\n"

    play(scenario, loop, most_clients=2)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_client_that_never_reads_is_not_read_from_for_ever(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        reader, writer = await scene.connect()
        value = b"x" * 100_000
        writer.write(array(b"SET", b"k", value))
        assert await reader.readline() == b"+OK\r\n"
        # From here on nothing is read. The server stops reading, and then so much fills the kernel's buffers that the
        # transport keeps the rest.
        gets = command("GET k") * 10_000
        sent = 0
        writer.transport.pause_reading()
        while writer.transport.get_write_buffer_size() < 8 * len(gets):
            writer.write(gets)
            sent += len(gets)
            assert sent < 64 * 1024 * 1024, "the server takes everything"
            await asyncio.sleep(0)
        held = sum(len(items) for _, items in scene.replica.groups)
        assert held < 50_000
        # Others are served meanwhile, and this one again once it reads.
        async with scene.client(2) as client:
            assert await client.strlen("k") == len(value)
        writer.transport.resume_reading()
        one = b"$100000\r\n" + value + b"\r\n"
        for _ in range(1000):
            assert await reader.readexactly(len(one)) == one
        writer.transport.abort()

    play(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_closing_lets_replies_out_and_takes_nothing_new(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        reader, writer = await scene.connect()
        scene.replica.held = True
        writer.write(command("SET k 1"))
        await until(lambda: bool(scene.replica.groups))
        port = scene.server.port
        closing = asyncio.create_task(scene.server.close(DEADLINE_S))
        await asyncio.sleep(0)
        writer.write(command("SET k 2"))
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        scene.replica.release()
        assert await reader.read() == b"+OK\r\n"
        await closing
        assert len(scene.replica.groups) == 1

    play(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_closing_cuts_what_is_not_answered_in_time(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        reader, writer = await scene.connect()
        scene.replica.held = True
        writer.write(command("SET k 1"))
        await until(lambda: bool(scene.replica.groups))
        await scene.server.close(0.05)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        scene.replica.release()

    play(scenario, loop)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_half_closed_client_gets_its_answers(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario(scene: Scene) -> None:
        reader, writer = await scene.connect()
        writer.write(b"SET k 1\r\nGET k\r\n")
        writer.write_eof()
        assert await reader.read() == b"+OK\r\n$1\r\n1\r\n"

    play(scenario, loop)


def test_a_client_that_vanishes_is_forgotten() -> None:
    async def scenario(scene: Scene) -> None:
        _, writer = await scene.connect()
        scene.replica.held = True
        writer.write(command("SET k 1") + command("GET k"))
        await until(lambda: bool(scene.replica.groups))
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # A reset, not an end.
        writer.transport.abort()
        await until(lambda: not scene.server.clients)
        scene.replica.release()
        await until(lambda: len(scene.replica.machine) == 1)

    play(scenario)


def test_a_port_in_use_is_waited_for() -> None:
    async def scenario(scene: Scene) -> None:
        other = RedisServer(scene.replica, scene.replica.machine)
        port = scene.server.port
        starting = asyncio.create_task(other.start("127.0.0.1", port))
        await asyncio.sleep(0)
        await scene.server.close(1)
        await starting
        assert other.port == port
        await other.close(1)

    play(scenario)


def test_a_port_that_stays_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(scene: Scene) -> None:
        monkeypatch.setattr(listening, "WAIT_FOR_PORT_S", 0.05)
        other = RedisServer(scene.replica, scene.replica.machine)
        with pytest.raises(StartupError, match=f"127.0.0.1:{scene.server.port}: another process"):
            await other.start("127.0.0.1", scene.server.port)

    play(scenario)


def test_an_address_that_is_not_ours_is_named_at_once() -> None:
    async def scenario(scene: Scene) -> None:
        other = RedisServer(scene.replica, scene.replica.machine)
        with pytest.raises(StartupError, match=r"192\.0\.2\.1:6379"):
            await other.start("192.0.2.1", 6379)

    play(scenario)


def test_a_port_is_opened_by_what_is_given() -> None:
    async def run() -> None:
        opened: list[tuple[str, int]] = []

        async def listen(factory: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
            opened.append((host, port))
            return await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)

        replica = FakeReplica()
        server = RedisServer(replica, replica.machine, listen=listen)
        await server.start("elsewhere", 1)
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
        await server.close(1)
        assert opened == [("elsewhere", 1)]

    asyncio.run(run())


@pytest.mark.interpreted
def test_all_clients_together_hold_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_HELD_BYTES", 3_000_000)

    async def scenario(scene: Scene) -> None:
        lines = [await scene.connect() for _ in range(4)]
        sizes = [600_000, 900_000, 800_000, 750_000]
        requests = [array(b"SET", b"k%d" % number, b"x" * size) for number, size in enumerate(sizes)]
        for (_, writer), request in zip(lines, requests, strict=True):
            writer.write(request[:-10])
            await writer.drain()
        reader, _ = lines[1]
        assert await left(reader) == b"", "the one that has sent most is gone"
        assert scene.server.clients == 3
        for number in (0, 2, 3):
            reader, writer = lines[number]
            writer.write(requests[number][-10:])
            assert await reader.readline() == b"+OK\r\n", "the others go on"
        assert scene.replica.machine.query([(b"GET", b"k1")], Position(Index(1), 0)) == [None]
        writers = [await scene.connect() for _ in range(30)]
        for _, writer in writers:
            writer.write(requests[0][:-10])
            await writer.drain()
        await until(lambda: scene.server.clients <= 3 + 5)
        assert scene.server._service.held_bytes <= 3_000_000
        for _, writer in [*lines, *writers]:
            writer.close()
        await until(lambda: scene.server.clients == 0)
        assert scene.server._service.held_bytes == 0, "nothing is counted that is not held"

    play(scenario)


@pytest.mark.interpreted
def test_who_awaits_an_outcome_is_not_cut_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_HELD_BYTES", 1_500_000)

    async def scenario(scene: Scene) -> None:
        scene.replica.held = True
        first_reader, first = await scene.connect()
        first.write(array(b"SET", b"k", b"x" * 1_000_000))
        await until(lambda: bool(scene.replica.groups))
        second_reader, second = await scene.connect()
        second.write(array(b"SET", b"l", b"x" * 800_000)[:-10])
        assert await left(second_reader) == b""
        scene.replica.release()
        assert await first_reader.readline() == b"+OK\r\n"
        first.close()
        second.close()

    play(scenario)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_client_that_sends_too_much_reads_why_although_it_goes_on_sending(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    def send_and_read(port: int) -> bytes:
        """As a client does that looks at replies only when its request is out."""
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(DEADLINE_S)
            sock.sendall(array(b"SET", b"k", b"x" * (MAX_COMMAND_BYTES + 1)))
            return b"".join(iter(lambda: sock.recv(4096), b""))

    async def scenario(scene: Scene) -> None:
        for _ in range(5):
            said = await asyncio.to_thread(send_and_read, scene.server.port)
            assert said == b"-ERR Protocol error: invalid bulk length\r\n"
        await until(lambda: scene.server.clients == 0)

    play(scenario, loop)


def test_a_client_that_was_refused_and_never_leaves_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PARTING_S", 0.05)

    async def scenario(scene: Scene) -> None:
        reader, writer = await scene.connect()
        writer.write(b"*x\r\n")
        assert await reader.read() == b"-ERR Protocol error: invalid multibulk length\r\n"
        await until(lambda: scene.server.clients == 0)
        writer.close()

    play(scenario)
