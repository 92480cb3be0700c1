"""An HTTP server over a fake replica, and a client of it."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from oarlock.server.http import HttpServer
from tests.server.fake_operations import FakeOperations

Scenario = Callable[[FakeOperations, HttpServer, httpx.AsyncClient], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            replica = FakeOperations()
            server = HttpServer(replica)
            await server.start("127.0.0.1", 0)
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                    await scenario(replica, server, client)
            finally:
                await server.close()

    asyncio.run(run())
