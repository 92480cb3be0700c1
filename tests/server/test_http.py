"""The HTTP server over a real socket: ``/health``, its limits, and how it starts and ends."""

import asyncio
import signal

import httpx
import pytest

from oarlock.errors import StartupError
from oarlock.server import listening
from oarlock.server.http import MOST_CONNECTIONS, HttpServer
from tests.server.fake_operations import FakeOperations
from tests.server.http_server import play


def test_health_follows_readiness() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        response = await client.get("/health")
        assert response.status_code == 200 and response.headers["content-type"] == "application/json"
        assert response.json() == {
            "status": "ok", "replica_id": 1, "role": "leader", "term": 7, "leader_id": 1, "applied_index": 11
        }  # fmt: skip
        replica.become(ready=False, role="candidate", leader_id=0)
        response = await client.get("/health")
        assert response.status_code == 503
        assert response.json()["status"] == "unavailable" and response.json()["role"] == "candidate"
        assert (await client.head("/health")).status_code == 503

    play(scenario)


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/health/x"), ("PUT", "/k")])
def test_anything_else_is_not_found(method: str, path: str) -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        response = await client.request(method, path)
        assert response.status_code == 404 and response.json() == {"error": "not found", "executed": False}

    play(scenario)


def test_connections_beyond_the_limit_are_closed() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MOST_CONNECTIONS)]
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert await reader.read() == b""
            writer.close()
            for _, other in idle:
                other.close()
            while True:
                try:
                    assert (await client.get("/health")).status_code == 200
                    break
                except httpx.TransportError:  # the server has not seen all of them leave yet
                    await asyncio.sleep(0)

    play(scenario)


def test_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        during = signal.getsignal(signal.SIGTERM)
        assert during is before[1]
        await client.get("/health")

    play(scenario)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_closing_frees_the_port_and_may_be_repeated() -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        port = server.port
        await client.get("/health")
        await server.close()
        await server.close()
        other = HttpServer(replica)
        await other.start("127.0.0.1", port)
        assert (await client.get("/health")).status_code == 200
        await other.close()

    play(scenario)


def test_a_port_in_use_is_named_and_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(replica: FakeOperations, server: HttpServer, client: httpx.AsyncClient) -> None:
        monkeypatch.setattr(listening, "WAIT_FOR_PORT_S", 0.05)
        with pytest.raises(StartupError, match=str(server.port)):
            await HttpServer(replica).start("127.0.0.1", server.port)

    play(scenario)
