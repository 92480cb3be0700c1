"""Replicas that commands can be tried on: the HTTP server itself over fakes, in a thread beside the test."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from random import Random
from typing import Any

import msgspec

from oarlock.core.change import Change, changed, final
from oarlock.errors import NotLeader
from oarlock.server.http import HttpServer
from oarlock.storage.snapshot import SnapshotHeader, SnapshotWriter
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import NO_REPLICA, Configuration, Index, ReplicaId, SnapshotPoint, Term
from tests.server.fake_operations import CONFIGURATION, FakeOperations


class FakeNode(FakeOperations):
    """A replica that changes the members by the cluster's own rules, if it leads."""

    def __init__(self, cluster: "Operated", number: int) -> None:
        super().__init__()
        self.cluster = cluster
        self.number = ReplicaId(number)

    def configuration(self) -> Configuration:
        return self.cluster.configuration

    async def change(self, change: Change, *, force: bool = False, timeout_s: float = 5) -> Configuration:
        self._asks("change", change, force)
        self._must_lead()
        self.cluster.configuration = changed(final(self.cluster.configuration), change)
        return self.cluster.configuration

    async def transfer(self, target: ReplicaId | None, timeout_s: float = 5) -> ReplicaId:
        self._asks("transfer", target)
        self._must_lead()
        return target or ReplicaId(3)

    async def backup(self) -> AsyncIterator[bytes]:
        self._asks("backup")
        for piece in self.cluster.backup:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _must_lead(self) -> None:
        if self.cluster.leader != self.number:
            raise NotLeader(self.cluster.leader or None)


class Operated:
    """Three replicas, of which 2 leads. Calls come from the test's thread."""

    def __init__(self) -> None:
        self.configuration = CONFIGURATION
        self.leader = ReplicaId(2)
        self.backup: list[bytes | Exception] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.nodes: dict[int, FakeNode] = {}
        self.servers: dict[int, HttpServer] = {}
        self.ports: dict[int, int] = {}
        self.run(self._start())
        self.introduce()

    def at(self, number: int) -> str:
        return f"127.0.0.1:{self.ports[number]}"

    def introduce(self, **changes: Any) -> None:
        """Let everyone know who is where and who leads; ``changes`` of the status are everyone's."""
        for number, node in self.nodes.items():
            leads = number == self.leader
            members = tuple(
                msgspec.structs.replace(
                    one,
                    http_address=self.at(one.replica_id),
                    match_index=Index(9) if leads and one.replica_id != number else None,
                    last_contact_s=0.25 if leads else None,
                    beat_latency_s=0.0015 if leads else None,
                )
                for one in node.present.members
            )
            node.become(
                replica_id=ReplicaId(number),
                role="leader" if leads else "follower",
                leader_id=self.leader,
                leader_http=self.at(self.leader) if self.leader else "",
                members=members,
                **changes,
            )

    def without_leader(self) -> None:
        self.leader = NO_REPLICA
        self.introduce()

    def stop(self, number: int) -> None:
        self.run(self.servers.pop(number).close())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        for number in list(self.servers):
            self.stop(number)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        for number in (1, 2, 3):
            self.nodes[number] = FakeNode(self, number)
            self.servers[number] = HttpServer(self.nodes[number])
            await self.servers[number].start("127.0.0.1", 0)
            self.ports[number] = self.servers[number].port


def snapshot_file(pieces: list[bytes]) -> bytes:
    """The bytes of one."""

    async def write() -> bytes:
        disk = MemoryDisk(Random(1))
        await disk.make_directory("/s")
        header = SnapshotHeader(
            cluster_id="fake",
            cluster_name="oarlock",
            point=SnapshotPoint(Index(1234), Term(7), 1000, CONFIGURATION),
            node=b"",
        )
        writer = await SnapshotWriter.create(disk, "/s/one", header)
        for piece in pieces:
            await writer.add(piece)
        await writer.finish()
        return disk.contents("/s/one")

    return asyncio.run(write())
