"""Clients of a cluster of real nodes, without sockets: what one says goes straight into its conversation."""

import asyncio
from collections.abc import Callable

from oarlock.node.node import Node
from oarlock.server.redis.connection import Conversation
from oarlock.server.redis.service import Service, unix_ms
from tests.node.cluster import Cluster, eventually
from tests.server.test_connection import Wire, command


class Client:
    """One connection to one replica."""

    def __init__(self, cluster: Cluster, node: Node, wall_ms: Callable[[], int] = unix_ms) -> None:
        """``wall_ms`` is the wall clock of that replica."""
        now = asyncio.get_running_loop().time
        service = Service(node, cluster.machines[int(node.id)], now, wall_ms)
        self._wire = Wire()
        self._talk = self._wire.conversation = Conversation(service, self._wire, 1)

    def say(self, *requests: str) -> None:
        """Send requests, all at once."""
        self._talk.receive(b"".join(map(command, requests)))

    @property
    def heard(self) -> str:
        """All that has been answered since it last said something by :meth:`ask`."""
        return self._wire.written.decode()

    async def ask(self, *requests: str, within_s: float = 10) -> str:
        """Send requests and wait for their replies, none of which may be an array; the replies, by spaces."""
        self._wire.taken()
        self.say(*requests)
        await eventually(lambda: len(replies(self.heard)) == len(requests), f"{requests}: {self.heard!r}", within_s)
        return " ".join(replies(self.heard))


def replies(text: str) -> list[str]:
    """The values of RESP2 replies that are no arrays; errors with their minus sign."""
    lines = iter(text.split("\r\n")[:-1])
    values = []
    for line in lines:
        if line.startswith("$"):
            values.append("nil" if line == "$-1" else next(lines))
        else:
            values.append(line if line.startswith("-") else line[1:])
    return values
