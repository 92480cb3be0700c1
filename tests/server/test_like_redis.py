"""The same bytes to a real redis-server and to ours; the same bytes must come back."""

import asyncio
from collections.abc import Iterator

import pytest

from oarlock.server.redis import RedisServer
from tests.server.fake_replica import FakeReplica
from tests.server.redis_server import REDIS, running_redis
from tests.server.test_protocol import array

pytestmark = pytest.mark.skipif(REDIS is None, reason="no redis-server is installed")

DEADLINE_S = 20
END = b"the end of the script"


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    with running_redis() as port:
        yield port


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
SET k v EX 100; TTL k; SET k w; TTL k; SET k v PX 100000; TTL k; SET k w KEEPTTL; TTL k; SET k v EX 100 GET; TTL k
SET k v EX; SET k v EX x; SET k v EX 0; SET k v EX -1; SET k v PX 0; SET k v EX 1 PX 1; SET k v EX 1 KEEPTTL; GET k
SET k v EX 9223372036854775807; SET k v PX 9223372036854775807; SET k v EX 9223372036854775; SET k v EXAT 0; GET k
SET k v PXAT 9223372036854775807; PEXPIRETIME k; SET k v EXAT 9223372036854775; EXPIRETIME k; PEXPIRETIME k
SET k v EXAT 9223372036854776; SET k v EXAT 1; GET k; SET k v PXAT 1; EXISTS k; DBSIZE; KEYS *; SET k v PXAT -1
SET k v EX 100 EX 200; TTL k; SET k v EX x EX 100; TTL k; SET k v EX 100 EX x; SET k v KEEPTTL KEEPTTL; TTL k
SET k v KEEPTTL EX 1; SET k v PERSIST; SET k v NX EX 100; TTL k; SET k v NX EX 200; TTL k; SET k v XX EX 300; TTL k
SET k v XX GET EX 100; SET k v ex 100 get xx; TTL k; SET k v EX 100 NX XX; SET n v XX EX 100; TTL n
SETEX; SETEX k 100; SETEX k 100 v; TTL k; SETEX k 0 v; SETEX k -1 v; SETEX k x v; SETEX k 9223372036854775807 v; GET k
PSETEX; PSETEX k 100000 v; TTL k; PSETEX k 0 v; PSETEX k x v; PSETEX k 9223372036854775807 v; psetex k 1 v w
GETEX; GETEX n; GETEX n EX 0; GETEX n EX x; GETEX n FOO; GETEX n EX; SET k v; GETEX k; TTL k; GETEX k EX 100; TTL k
SET k v EX 100; GETEX k PERSIST; TTL k; GETEX k EX 0; GETEX k EX x; GETEX k EX -5; GETEX k PX 100000; TTL k
SET k v; GETEX k EX 100 PERSIST; GETEX k PERSIST PERSIST; GETEX k KEEPTTL; GETEX k EX 100 PX 1; GETEX k EXAT 1; GET k
SET k v; GETEX k PXAT 4000000000001; PEXPIRETIME k; EXPIRETIME k; GETEX k EX 9223372036854775807; GETEX k NX; GETEX k GET
EXPIRE; EXPIRE k; EXPIRE k 100; SET k v; EXPIRE k 100; TTL k; EXPIRE k x; EXPIRE k 1.5; EXPIRE k 100 FOO; EXPIRE n x
EXPIRE n 100 FOO; EXPIRE n x FOO; EXPIRE n 9223372036854775807; EXPIRE n 100 NX XX; EXPIRE n 100 GT LT; EXPIRE n 1 GT GT
SET k v; EXPIRE k 0; GET k; SET k v; EXPIRE k -1; EXISTS k; SET k v; EXPIRE k -9223372036854775808; EXISTS k
SET k v; EXPIRE k -9223372036854775; EXISTS k; SET k v; PEXPIRE k -9223372036854775808; EXISTS k; PEXPIRE k 1
SET k v; EXPIRE k 100 XX; EXPIRE k 100 GT; EXPIRE k 100 NX; TTL k; EXPIRE k 200 NX; TTL k; EXPIRE k 300 GT; TTL k
SET k v EX 100; EXPIRE k 50 GT; TTL k; EXPIRE k 200 LT; TTL k; EXPIRE k 50 LT; TTL k; EXPIRE k 60 XX; TTL k
SET k v; EXPIRE k 100 LT; TTL k; EXPIRE k 100 XX GT; EXPIRE k 200 GT XX; TTL k; EXPIRE k 1 nx lt; EXPIRE k 50 lt xx; TTL k
PEXPIRE; SET k v; PEXPIRE k 100000; TTL k; PEXPIRE k 9223372036854775807; PEXPIRE k x; PEXPIRE k 0; GET k
EXPIREAT; SET k v; EXPIREAT k 4000000000; EXPIRETIME k; PEXPIRETIME k; EXPIREAT k 4000000000 GT; EXPIREAT k 4000000000 LT
SET k v; EXPIREAT k 4000000000; EXPIREAT k 4000000009 GT; EXPIRETIME k; EXPIREAT k 4000000000 LT; EXPIRETIME k; EXPIREAT k x
SET k v; EXPIREAT k 1; GET k; SET k v; EXPIREAT k 0; EXISTS k; SET k v; EXPIREAT k -1; EXISTS k; EXPIREAT k 9223372036854775807
PEXPIREAT; SET k v; PEXPIREAT k 4000000000501; EXPIRETIME k; PEXPIRETIME k; PEXPIREAT k 9223372036854775807; PEXPIRETIME k
TTL; TTL n; PTTL n; EXPIRETIME n; PEXPIRETIME n; SET k v; TTL k; PTTL k; EXPIRETIME k; PEXPIRETIME k; PTTL; EXPIRETIME; TTL a b
PERSIST; PERSIST n; SET k v; PERSIST k; EXPIRE k 100; PERSIST k; TTL k; PERSIST a b; PEXPIRETIME; PEXPIRETIME a b
SET k 1 EX 100; INCR k; TTL k; APPEND k x; TTL k; GETSET k 2; TTL k; EXPIRE k 100; SETNX k 3; TTL k; MSET k 4; TTL k
SET k 1 EX 100; GETDEL k; TTL k; SET k 1; TTL k; EXPIRE k 100; DEL k; SET k 1; TTL k; EXPIRE k 100; FLUSHALL; SET k 1; TTL k
GETSET; GETSET k 1; GETSET k 2; GETSET k; GETSET k a b; GET k; GETSET n ""
GETRANGE; GETRANGE n 0 -1; SET k hello; GETRANGE k 0 -1; GETRANGE k 1 3; GETRANGE k -3 -2; GETRANGE k -2 -3; GETRANGE k 3 1
SET k hello; GETRANGE k 0 99; GETRANGE k -99 1; GETRANGE k 99 100; GETRANGE k -99 -98; GETRANGE k 4 4; GETRANGE k 5 5
SET k hello; GETRANGE k x 1; GETRANGE k 1 x; GETRANGE k 1; GETRANGE k -1 0; GETRANGE k 0 9223372036854775807; SUBSTR k 1 2
SUBSTR; SUBSTR k x 2; GETRANGE n x 2; GETRANGE k -9223372036854775808 9223372036854775807; SET k ""; GETRANGE k 0 0
MSETNX; MSETNX a; MSETNX a 1 b; MSETNX a 1 b 2; MSETNX b 3 c 4; GET c; MGET a b; MSETNX d 1 d 2; GET d
UNLINK; SET a 1; SET b 2; UNLINK a b c; UNLINK a; EXISTS a b
TYPE; TYPE n; SET k v; TYPE k; TYPE a b; FLUSHDB; SET k 1; FLUSHDB ASYNC; GET k; FLUSHDB x; FLUSHDB SYNC ASYNC
CLIENT NO-EVICT; CLIENT NO-EVICT on; client no-evict OFF; CLIENT NO-EVICT x; CLIENT INFO x; CLIENT LIST x; CLIENT LIST TYPE x
CLIENT LIST TYPE pubsub; CLIENT LIST ID 0; CLIENT LIST ID; CLIENT LIST ID x; CLIENT LIST TYPE; TIME x; RESET x
CLIENT SETNAME me; RESET; CLIENT GETNAME; MULTI; SET k 1; RESET; GET k; EXEC; COMMAND LIST FOO; COMMAND INFO nosuch
MULTI; SET k 1; GET k; INCR k; EXEC; GET k
MULTI; EXEC; EXEC; DISCARD; MULTI; DISCARD; EXEC; MULTI x; EXEC x; DISCARD x; WATCH; UNWATCH; UNWATCH x
MULTI; SET k v; INCR k; GET k; SET k; EXEC; GET k; MULTI; SET k v; INCR k; GET k; EXEC
MULTI; NOSUCH a; SET k 1; EXEC; GET k; MULTI; CLIENT NOSUCH; EXEC; MULTI; GET; DISCARD; MULTI; EXEC
MULTI; MULTI; SET k 1; WATCH a; EXEC; MULTI; WATCH; EXEC; MULTI; EXEC x; EXEC; MULTI; DISCARD x; EXEC; MULTI; MULTI x; EXEC
MULTI; SET k v FOO; SET k v EX 0; INCRBY k x; PING a b; MSET a; EXPIRE k x; GETRANGE k x 1; SCAN x; EXEC
MULTI; PING; ECHO hi; SELECT 0; SELECT -1; CLIENT SETNAME me; CLIENT GETNAME; CONFIG GET save; UNWATCH; EXEC; CLIENT GETNAME
MULTI; PING; SET k 1; ECHO hi; GET k; PING x; DEL k; EXEC; MULTI; CLIENT SETNAME x; DISCARD; CLIENT GETNAME
WATCH k; MULTI; SET k 1; EXEC; GET k; WATCH k; SET k 2; MULTI; SET k 3; EXEC; GET k; MULTI; GET k; EXEC
WATCH k; SET k 1; UNWATCH; MULTI; GET k; EXEC; WATCH k; SET k 2; MULTI; DISCARD; MULTI; EXEC; WATCH k; SET k 1; MULTI; EXEC
WATCH a b a; SET c 1; MULTI; EXEC; WATCH a b; SET b 1; MULTI; NOSUCH; EXEC; WATCH a; DEL a; MULTI; EXEC; WATCH a; SET a 1 XX; MULTI; EXEC
SET a 1; WATCH a; EXPIRE a 100; MULTI; EXEC; WATCH a; PERSIST a; MULTI; EXEC; WATCH a; PERSIST a; MULTI; EXEC; WATCH a; GETEX a; MULTI; EXEC
SET a 1; WATCH a; EXPIRE a -1; MULTI; EXEC; WATCH a; FLUSHALL; MULTI; EXEC; WATCH a; SET a 1; FLUSHALL; MULTI; EXEC
SET a 1; WATCH a; FLUSHALL; MULTI; PING; EXEC; WATCH a; MULTI; PING; EXEC; WATCH a; SET a 1; RESET; MULTI; GET a; EXEC
SET a 1; WATCH a; SET a 1; MULTI; EXEC; WATCH a; SETNX a 2; MULTI; EXEC; WATCH a; INCRBY a x; MULTI; EXEC; WATCH a; APPEND a ""; MULTI; EXEC
SET a 1; WATCH a; GETEX a EX 100; MULTI; EXEC; WATCH a; GETEX a PERSIST; MULTI; EXEC; WATCH a; GETEX a PERSIST; MULTI; EXEC
SET a 1; WATCH a; GETSET a 1; MULTI; EXEC; WATCH a; GETDEL a; MULTI; EXEC; WATCH a; GETDEL a; MULTI; EXEC; WATCH a; EXPIRE a 5; MULTI; EXEC
MULTI; SET k v EX 100; TTL k; PERSIST k; TTL k; KEYS *; SCAN 0 COUNT 1000; DBSIZE; FLUSHALL; DBSIZE; EXEC; DBSIZE
MULTI; QUIT
""".strip().splitlines()  # noqa: E501


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
    "WATCH k; SET k 1; MULTI; GET k; EXEC; MULTI; GET n; CONFIG GET save; SET k v; EXEC; GETEX n; GETSET n 1",
    "MULTI; GET n; RESET; GET n",
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
