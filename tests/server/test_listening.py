"""The port: how many may knock at one moment."""

import asyncio
import socket

from oarlock.server.listening import listen


def test_hundreds_of_clients_that_come_at_one_moment_are_kept_until_they_are_accepted() -> None:
    async def scenario() -> None:
        server = await listen(asyncio.Protocol, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        # The loop does not run meanwhile, so nobody is accepted. What finds no room waits a second for the next try.
        clients = []
        try:
            for _ in range(500):
                clients.append(socket.create_connection(address, timeout=0.9))
        finally:
            for client in clients:
                client.close()
            server.close()

    asyncio.run(scenario())
