"""A replicated counter: three nodes in one program, each with its own data directory and port.

Run it: ``python examples/counter.py``
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import Any

import oarlock


class Counter:
    """A state machine: every replica applies the same commands in the same order."""

    def __init__(self) -> None:
        self.value = 0

    def apply(self, commands: Sequence[oarlock.Command], at: oarlock.Position) -> list[int]:
        results = []
        for command in commands:
            self.value += int(command)
            results.append(self.value)
        return results

    def query(self, queries: Sequence[Any], at: oarlock.Position) -> list[int]:
        return [self.value for _ in queries]

    def snapshot(self) -> list[bytes]:
        return [b"%d" % self.value]

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        self.value = int(b"".join([piece async for piece in pieces]))


async def add_fourth(nodes: list[oarlock.Node], directory: str, address: str) -> None:
    """A replica joins the cluster while it runs."""
    leader = next(node for node in nodes if node.status().role == "leader")
    member = await oarlock.join(directory, 4, address, leader.invitation())
    nodes.append(await oarlock.Node.open(directory, Counter()))
    await leader.change(oarlock.Change(add=(member,)))


async def main() -> int:
    members = {1: "127.0.0.1:7501", 2: "127.0.0.1:7502", 3: "127.0.0.1:7503"}
    with tempfile.TemporaryDirectory() as root:
        for replica in members:
            await oarlock.initialise(f"{root}/{replica}", replica, members)  # once in a replica's life
        nodes = [await oarlock.Node.open(f"{root}/{replica}", Counter()) for replica in members]
        await asyncio.gather(*(node.propose(b"1") for node in nodes for _ in range(10)))  # any node takes a write
        await add_fourth(nodes, f"{root}/4", "127.0.0.1:7504")
        value = await nodes[3].read(None)  # linearizable, from any node, and nothing is written for it
        for node in nodes:
            await node.close()
    print(f"the counter stands at {value}")
    return int(value)


if __name__ == "__main__":
    asyncio.run(main())
