"""The same bytes to a real redis-server and to ours; the same bytes must come back."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from oarlock.server.redis import RedisServer
from tests.server.fake_replica import FakeReplica
from tests.server.test_protocol import array

REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(REDIS is None, reason="no redis-server is installed")

DEADLINE_S = 20
END = b"the end of the script"


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    assert REDIS is not None
    with tempfile.TemporaryDirectory() as folder:
        command = [
            REDIS,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "Ready to accept connections" in line:
                    break
            else:
                pytest.fail("redis-server did not start")
            yield port
        finally:
            server.terminate()
            server.wait(DEADLINE_S)


async def answered(port: int, stream: bytes, closes: bool) -> bytes:
    """Everything that comes back; the end is an echo, or the close of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            writer.write(stream if closes else stream + array(b"ECHO", END))
            if closes:
                return await reader.read()
            return await reader.readuntil(END + b"\r\n")
    finally:
        writer.close()


def both(redis_port: int, stream: bytes, closes: bool = False) -> tuple[bytes, bytes]:
    async def run() -> tuple[bytes, bytes]:
        replica = FakeReplica()
        server = RedisServer(replica, replica.machine)
        await server.start("127.0.0.1", 0)
        try:
            ours = await answered(server.port, stream, closes)
            await answered(redis_port, array(b"FLUSHALL"), False)
            theirs = await answered(redis_port, stream, closes)
        finally:
            await server.close(1)
        return ours, theirs

    return asyncio.run(run())


SCRIPTS = """
PING
PING hello
PING a b
ping
ECHO x
ECHO
ECHO a b
SELECT 0
SELECT x
SELECT -1
SELECT
SELECT 99999999999999999999
GET
GET k
GET a b
SET k
SET k v; GET k; get k; SET k w; set k z; sEt k y; GeT k
SET k v NX; SET k w NX; GET k
SET k v XX; GET k; SET k v; SET k w xx; GET k
SET k v GET; SET k w GET; SET k x NX GET; SET k y XX GET; GET k; SET n y XX GET; GET n
SET k v NX XX
SET k v NX NX; SET k v XX XX GET GET; GET k
SET k v FOO
SET k v EX
SET k v EX 10 PX 10
SET k v KEEPTTL EX 10
SET k v GET FOO
SETNX k v; SETNX k w; GET k; SETNX k
MGET; MGET a; SET a 1; MGET a b a
MSET; MSET a; MSET a 1 b; MSET a 1 b 2; MGET a b; MSET a 1 a 2; GET a
APPEND k; APPEND k a; APPEND k bc; GET k; STRLEN k; STRLEN n; STRLEN
INCR; INCR k; INCR k; DECR k; INCRBY k 10; DECRBY k 3; GET k; INCR a b
INCRBY k; INCRBY k x; INCRBY k 1.5; INCRBY k +1; INCRBY k 01; INCRBY k 9223372036854775808
SET k abc; INCR k; DECR k; INCRBY k 1; DECRBY k 1; GET k
SET k 01; INCR k; SET k -0; INCR k; SET k 1.0; INCR k; SET k +1; INCR k
SET k 9223372036854775807; INCR k; INCRBY k 1; DECRBY k -1; DECR k; GET k
SET k -9223372036854775808; DECR k; INCRBY k -1; DECRBY k 1; INCR k
SET k 0; DECRBY k -9223372036854775808; DECRBY k 9223372036854775807; DECR k; DECR k
SET k 99999999999999999999; INCR k
GETDEL; GETDEL k; SET k v; GETDEL k; GET k; GETDEL a b
DEL; DEL k; SET a 1; SET b 2; DEL a b c a; EXISTS a
EXISTS; EXISTS k; SET k 1; EXISTS k k n
KEYS; KEYS *; SET abc 1; KEYS *; KEYS a?c; KEYS x*; KEYS [^a]*; KEYS a b
DBSIZE; SET k 1; DBSIZE; DBSIZE x
SCAN; SCAN 0; SET k 1; SCAN 0 COUNT 1000; SCAN 0 MATCH x* COUNT 1000; SCAN 0 match k count 1000
SCAN x; SCAN 0 COUNT; SCAN 0 COUNT x; SCAN 0 COUNT 0; SCAN 0 COUNT -1; SCAN 0 FOO bar; SCAN 0 FOO; SCAN 0x10; SCAN 1.5
SCAN 99999999999999999999; SCAN -0; SCAN +0; SCAN x COUNT 0
SET k 1; SCAN 0 TYPE string COUNT 1000; SCAN 0 TYPE list COUNT 1000; SCAN 0 TYPE STRING; SCAN 0 TYPE nosuch
FLUSHALL; SET k 1; FLUSHALL ASYNC; GET k; SET k 1; FLUSHALL sync; GET k; FLUSHALL x; FLUSHALL SYNC ASYNC
NOSUCH; nosuch a; NoSuch a b c
CLIENT; CLIENT NOSUCH; client nosuch a; CLIENT ID x; CLIENT GETNAME x; CLIENT SETNAME; CLIENT SETNAME a b
CLIENT GETNAME; CLIENT SETNAME me; CLIENT GETNAME
CONFIG; CONFIG NOSUCH; CONFIG GET; config get; CONFIG GET nosuch; CONFIG GET save
CONFIG GET maxmemory; CONFIG GET MaxMemory
COMMAND COUNT x; COMMAND NOSUCH
HELLO x; HELLO 1; HELLO 4; HELLO 99999999999999999999; HELLO 3 FOO; HELLO 3 AUTH a; HELLO 3 SETNAME; HELLO 2 foo bar
HELLO 3 AUTH nosuch x; GET n
QUIT x y
""".strip().splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
def test_same_replies(redis_port: int, script: str) -> None:
    closes = "QUIT" in script
    stream = b"".join(array(*request.encode().split()) for request in script.split(";"))
    ours, theirs = both(redis_port, stream, closes)
    assert ours.split(b"\r\n") == theirs.split(b"\r\n")
    assert ours == theirs


RESP3 = [
    "GET n; MGET n; SET k v; SET k w NX; SET k w GET; GETDEL n; SCAN 0 COUNT 1000; KEYS *; DBSIZE; INCR k",
    "CONFIG GET maxmemory; CONFIG GET nosuch; CLIENT GETNAME",
]


@pytest.mark.parametrize("script", RESP3)
def test_same_replies_in_resp3(redis_port: int, script: str) -> None:
    stream = array(b"HELLO", b"3") + b"".join(array(*request.encode().split()) for request in script.split(";"))
    ours, theirs = both(redis_port, stream)
    # The hello itself holds the client's number; what follows its list of modules is compared.
    mark = b"$7\r\nmodules\r\n*0\r\n"
    assert ours.partition(mark)[1:] == theirs.partition(mark)[1:]


ODD = {
    "binary name": array(b"\xff\x00\r\n", b"a\r\nb", b"x" * 300),
    "long name": array(b"n" * 200, b"a" * 60, b"b" * 60, b"c" * 60, b"d"),
    "many arguments": array(b"nosuch", *[b"%d" % number for number in range(60)]),
    "empty name": array(b""),
    "empty key": array(b"SET", b"", b"") + array(b"GET", b"") + array(b"MGET", b""),
    "bad client name": array(b"CLIENT", b"SETNAME", b"a b")
    + array(b"CLIENT", b"SETNAME", b"")
    + array(b"CLIENT", b"GETNAME"),
    "odd subcommand": array(b"CLIENT", b"a\r\nb") + array(b"CLIENT", b"x" * 200),
    "empty cursor": array(b"SCAN", b"") + array(b"SCAN", b" 0"),
    "crlf in values": array(b"SET", b"k", b"\r\n*1\r\n$4\r\nPING\r\n") + array(b"GET", b"k"),
    "inline": b"PING\r\nSET k 'a b'\r\nGET k\nget \"k\"\r\n\r\n   \r\n",
    "inline nosuch": b"nosuch a b\r\nGET\r\n",
    "empty arrays": b"*0\r\n*-1\r\n" + array(b"PING"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_same_replies_to_odd_requests(redis_port: int, name: str) -> None:
    ours, theirs = both(redis_port, ODD[name])
    assert ours == theirs


MALFORMED = [
    b"*1\r\n:1\r\n", b"*1\r\n+PING\r\n", b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\na\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$abc\r\n",
    b"*1\r\n$99999999999999999999\r\n", b"*2147483648\r\n", b"*abc\r\n", b"*\r\n", b'SET "a\r\n', b"SET 'a'b\r\n",
    b"*" + b"1" * 70_000, b"*1\r\n$" + b"1" * 70_000, b"a" * 70_000, b"*1\r\n$4 \r\nPING\r\n",
    b"*1\r\n\r\n", b"*1\r\n$01\r\n",
    b"*01\r\n$4\r\nPING\r\n",
]  # fmt: skip


@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda stream: repr(stream[:30]))
def test_same_end_of_malformed_input(redis_port: int, malformed: bytes) -> None:
    ours, theirs = both(redis_port, array(b"PING") + malformed, closes=True)
    assert ours == theirs
