"""What operators ask for over HTTP: what is done, what is refused with which status, and what nobody may trigger."""

import asyncio
import itertools
from typing import Any

import httpx
import msgspec
import pytest

from oarlock.core.change import Change
from oarlock.errors import ChangeRefused, NotLeader, OutcomeUnknown, Overloaded, ReplicaFailed, Unavailable
from oarlock.server.http import HttpServer, application
from oarlock.server.http.application import MOST_BODY_BYTES
from oarlock.server.http.operations import MembersDocument
from oarlock.types import NO_REPLICA, Configuration, Joining, Member, ReplicaId
from tests.server.fake_operations import CONFIGURATION, FakeOperations
from tests.server.http_server import play

FOUR = {"id": 4, "address": "127.0.0.1:7404", "incarnation": 104}
JSON = {"content-type": "application/json"}


def posting(
    path: str, body: Any, *, trouble: Exception | None = None, **headers: str
) -> tuple[int, dict[str, Any], FakeOperations]:
    """Post once; status, reply, and the replica that was asked."""
    outcome: list[tuple[int, dict[str, Any], FakeOperations]] = []

    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.trouble = trouble
        if isinstance(body, bytes):
            response = await client.post(path, content=body, headers={**JSON, **headers})
        else:
            response = await client.post(path, json=body, headers=headers)
        outcome.append((response.status_code, response.json(), replica))

    play(scenario)
    return outcome[0]


def test_status_tells_all_there_is() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        reply = (await client.get("/status")).json()
        assert reply["replica_id"] == 1 and reply["role"] == "leader" and reply["leader_http"] == "127.0.0.1:8401"
        assert [(one["replica_id"], one["role"], one["match_index"]) for one in reply["members"]] == [
            (n, "voter", None) for n in (1, 2, 3)
        ]

    play(scenario)


def test_members_tells_the_configuration_and_nothing_of_it_is_lost() -> None:
    configuration = Configuration(
        members=(*CONFIGURATION.members, Member(ReplicaId(4), "127.0.0.1:7404", 104)),
        voters=(ReplicaId(1), ReplicaId(2)),
        outgoing=CONFIGURATION.voters,
        learners=(ReplicaId(4),),
        joining=(Joining(ReplicaId(4), ReplicaId(3)),),
        removed=(ReplicaId(9),),
    )

    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.members = configuration
        reply = await client.get("/members")
        assert reply.json()["members"][3] == {**FOUR, "generation": 0, "redis": "", "http": ""}
        assert msgspec.json.decode(reply.content, type=MembersDocument).configuration == configuration

    play(scenario)


def test_a_change_says_whom_it_names() -> None:
    status, reply, replica = posting(
        "/members",
        {
            "add": [FOUR],
            "replace": [{"id": 2, "by": {"id": 5, "address": "[::1]:7405", "incarnation": 105}}],
            "remove": [3],
            "move": [{"id": 1, "address": "127.0.0.1:7499"}],
            "learner": True,
            "force": True,
        },
    )
    four, five = Member(ReplicaId(4), "127.0.0.1:7404", 104), Member(ReplicaId(5), "[::1]:7405", 105)
    one, two, three = CONFIGURATION.voters
    change = Change(
        add=(four,), replace=((two, five),), remove=(three,), move=((one, "127.0.0.1:7499"),), as_learners=True
    )
    assert replica.asked == [("change", change, True)]
    assert status == 200 and [member["id"] for member in reply["members"]] == [1, 2, 4, 5]


def test_nothing_is_forced_unless_it_is_said() -> None:
    _, _, replica = posting("/members", {"remove": [3]})
    assert replica.asked == [("change", Change(remove=(ReplicaId(3),)), False)]


@pytest.mark.parametrize(
    ("body", "saying"),
    [
        ({}, "names nobody"),
        ({"forse": True, "remove": [3]}, "unknown field `forse`"),
        ({"add": [{**FOUR, "vote": 1}]}, "unknown field `vote`"),
        ({"remove": [0]}, ">= 1"),
        ({"remove": ["3"]}, "Expected `int`"),
        ({"add": [{**FOUR, "incarnation": 0}]}, ">= 1"),
        ({"add": [{**FOUR, "incarnation": 1 << 63}]}, "$.add[0].incarnation"),
        ({"add": [{**FOUR, "address": "here"}]}, "has no port"),
        ({"replace": [{"id": 2, "by": {**FOUR, "address": "a:0"}}]}, "port 0"),
        ({"move": [{"id": 2, "address": ""}]}, "has no port"),
        ([], "Expected `object`"),
        (b"{", "truncated"),
        (b"\xff\xfe", "is not what is asked for"),
        (b'{"remove":' + b"[" * 20_000, "is not what is asked for"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_with_its_reason(body: Any, saying: str) -> None:
    status, reply, replica = posting("/members", body)
    assert status == 400 and saying in reply["error"] and reply["executed"] is False
    assert replica.asked == []


@pytest.mark.parametrize(
    ("trouble", "status", "executed"),
    [
        (ChangeRefused("replica 4 has left for good"), 409, False),
        (NotLeader(ReplicaId(2)), 421, False),
        (Unavailable(), 503, False),
        (Overloaded("there is no room for a snapshot"), 503, False),
        (OutcomeUnknown(), 504, None),
        (ReplicaFailed("its disk failed"), 500, None),
        (OSError(28, "no space"), 500, None),
        (ValueError("a bug"), 500, None),
    ],
)
@pytest.mark.parametrize("path", ["/members", "/transfer", "/snapshot", "/backup"])
def test_an_error_says_whether_it_was_executed(
    path: str, trouble: Exception, status: int, executed: bool | None
) -> None:
    if path == "/backup":
        answers = []

        async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
            replica.trouble = trouble
            response = await client.get(path)
            answers.append((response.status_code, response.json()))

        play(scenario)
        code, reply = answers[0]
    else:
        code, reply, _ = posting(path, {"remove": [3]} if path == "/members" else {}, trouble=trouble)
    assert (code, reply["executed"]) == (status, executed)
    assert str(trouble) in reply["error"]


def test_who_is_not_the_leader_says_where_it_is() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.become(leader_id=ReplicaId(2), leader_http="10.0.0.2:8401", role="follower")
        replica.trouble = NotLeader(ReplicaId(2))
        response = await client.post("/members", json={"remove": [3]})
        assert response.json() == {
            "error": "not the leader; replica 2 is",
            "executed": False,
            "leader_id": 2,
            "leader_http": "10.0.0.2:8401",
        }
        replica.become(leader_id=NO_REPLICA, leader_http="")
        replica.trouble = NotLeader()
        response = await client.post("/transfer", json={})
        assert (response.status_code, response.json()["leader_id"]) == (421, 0)

    play(scenario)


def test_a_transfer_and_a_snapshot() -> None:
    assert posting("/transfer", {"to": 3})[:2] == (200, {"leader_id": 3})
    assert posting("/transfer", {})[:2] == (200, {"leader_id": 2})
    assert posting("/snapshot", b"")[:2] == (200, {"index": 11, "term": 7})
    assert posting("/snapshot", {"now": True})[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/members", "GET, HEAD, POST"),
        ("GET", "/transfer", "POST"),
        ("HEAD", "/backup", "GET"),
        ("OPTIONS", "/members", "GET, HEAD, POST"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused(method: str, path: str, allow: str) -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        response = await client.request(method, path, headers={"origin": "http://evil.example"})
        assert response.status_code == 405 and response.headers["allow"] == allow
        assert not any(name.startswith("access-control") for name in response.headers), "no page may ask from elsewhere"
        assert replica.asked == []

    play(scenario)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_web_page_can_post_without_asking_first_is_refused(kind: str) -> None:
    status, reply, replica = posting("/members", b'{"remove": [3]}', **{"content-type": kind})
    assert (status, reply["executed"], replica.asked) == (415, False, [])


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:0"])
def test_a_web_page_from_elsewhere_is_refused(origin: str) -> None:
    status, reply, replica = posting("/members", {"remove": [3]}, origin=origin)
    assert (status, reply["executed"], replica.asked) == (403, False, [])


def test_a_page_of_its_own_is_not() -> None:
    assert posting("/members", {"remove": [3]}, origin="http://127.0.0.1:0")[0] == 200
    assert posting("/members", b'{"remove":[3]}', **{"content-type": "Application/JSON; charset=utf-8"})[0] == 200


def test_a_body_has_a_limit() -> None:
    body = b'{"remove":[3]}'
    assert posting("/members", body + b" " * (MOST_BODY_BYTES - len(body)))[0] == 200
    status, reply, replica = posting("/members", body + b" " * (MOST_BODY_BYTES + 1 - len(body)))
    assert (status, reply["executed"], replica.asked) == (413, False, [])


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "BODY_S", 0.01)

    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /members HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()

    play(scenario)


def test_a_client_that_leaves_in_its_body_has_asked_for_nothing() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = b"POST /members HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
        writer.write(head + b'{"remove":[3]}')
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await client.get("/health")).status_code == 200
        assert replica.asked == []

    play(scenario)


def test_a_backup_comes_piece_by_piece() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.pieces = [b"first", b"", b"second"]  # an empty one ends nothing
        async with client.stream("GET", "/backup") as response:
            assert response.status_code == 200 and "content-length" not in response.headers
            assert b"".join([piece async for piece in response.aiter_bytes()]) == b"firstsecond"
        assert replica.closed.is_set()

    play(scenario)


def test_a_backup_that_fails_in_the_middle_does_not_look_whole() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        for trouble in (OSError(5, "the disk"), ValueError("a bug"), Unavailable()):
            replica.pieces = [b"first", trouble, b"end"]
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/backup")
        assert (await client.get("/health")).status_code == 200

    play(scenario)


def test_one_backup_at_a_time_and_one_that_nobody_takes_ends() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.pieces = itertools.chain([b"first"], itertools.repeat(b"more"))
        replica.more.clear()
        async with client.stream("GET", "/backup") as response:
            assert await anext(response.aiter_bytes()) == b"first"
            assert (await client.get("/backup")).status_code == 503
        replica.more.set()  # its client has left
        await replica.closed.wait()
        replica.pieces = [b"whole"]
        while (await client.get("/backup")).status_code == 503:
            pass

    play(scenario)


def test_a_client_that_takes_nothing_loses_its_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "STALLED_S", 0.05)

    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        replica.pieces = [b"x" * 1024 * 1024] * 64
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET /backup HTTP/1.1\r\nhost: x\r\n\r\n")
        await replica.closed.wait()
        writer.transport.abort()
        replica.pieces = [b"whole"]
        assert (await client.get("/backup")).content == b"whole"

    play(scenario)
