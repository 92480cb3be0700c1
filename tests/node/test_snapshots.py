"""A node takes snapshots, forgets what they cover, and begins anew with another's."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from pathlib import PurePosixPath

import pytest

from oarlock.core import Change, Config
from oarlock.core.ready import Ready
from oarlock.errors import (
    ChangeRefused,
    NotExecuted,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    StartupError,
    Unavailable,
)
from oarlock.network.messages import SnapshotRequest
from oarlock.node import fetching, serving
from oarlock.node.invitation import Invitation
from oarlock.node.node import Node
from oarlock.node.snapshots import ENTRY_BYTES, AppliedBytes
from oarlock.storage.snapshot import SnapshotFile
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import EntryKind, Index, Member, ReplicaId
from tests.node.cluster import Cluster, Recorder, Store, eventually, scenario

AFTER_BYTES = 4000
NEVER_DUE = 10**9
SEGMENT_BYTES = 8192
"""Small ones, so that there are many."""


async def write(node: Node, count: int, size_bytes: int = 200) -> None:
    """So many different keys."""
    for number in range(count):
        await node.propose(b"%d=%d" % (number % 50, number) + bytes(size_bytes))


def disk_of(cluster: Cluster, replica: int) -> MemoryDisk:
    disk = cluster.disks[replica].inner
    assert isinstance(disk, MemoryDisk)
    return disk


def snapshots(cluster: Cluster, replica: int) -> list[str]:
    return [path for path in disk_of(cluster, replica).paths() if PurePosixPath(path).suffix == ".snapshot"]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is as quick as the disk lets it be: these tests write just enough for the next one."""
    monkeypatch.setattr("oarlock.node.snapshots.PAUSE_S", 0.0)


@scenario
async def test_a_snapshot_is_taken_when_enough_was_applied_and_the_log_forgets_what_it_covers() -> None:
    async with Cluster(1, snapshot_after_bytes=AFTER_BYTES) as cluster:
        node = await cluster.leader()
        await write(node, 200)
        await eventually(lambda: len(snapshots(cluster, 1)) == 2, "two are kept")
        assert node._raft.log.base_index > 100
        assert node.status().snapshot_index > 100
        values = dict(cluster.machines[1].values)
        await cluster.stop(1)
        node = await cluster.start(1)
        assert cluster.machines[1].values == values or node.status().applied_index < node.status().last_index
        await cluster.leader()
        await eventually(lambda: cluster.machines[1].values == values, "the rest is applied")
        assert len(cluster.machines[1].applied) < 100, "what the snapshot holds is not applied again"


@scenario
async def test_a_follower_that_was_away_for_long_begins_anew_with_the_leader_s_snapshot() -> None:
    async with Cluster(3, snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(replica for replica in cluster.nodes if replica != leader.id)
        await cluster.crash(away)
        await write(leader, 200)
        cluster.wire.heal()
        node = await cluster.start(away)
        await eventually(lambda: cluster.machines[away].values == cluster.machines[int(leader.id)].values, "it is back")
        assert len(cluster.machines[away].applied) < 200
        assert await node.propose(b"hits+") == 1, "and serves"
        assert await node.read(b"hits") == 1
        await cluster.stop(away)
        await cluster.start(away)
        await eventually(lambda: cluster.machines[away].values.get(b"hits") == 1, "also after a restart")


@scenario
async def test_a_follower_finishes_the_snapshot_that_it_is_sent_while_its_leader_takes_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A large one takes longer to send than the next to be due. It must not be sent one after another for ever."""
    caplog.set_level(logging.INFO, "oarlock")
    async with Cluster(3, config=Config(), snapshot_after_bytes=100_000) as cluster:  # one leader all the time
        leader = await cluster.leader()
        away = next(replica for replica in cluster.nodes if replica != leader.id)
        await cluster.crash(away)
        await write(leader, 60, 8000)
        cluster.wire.heal()
        held: list[SnapshotRequest] = []
        server, answer = leader._server, leader._server.received

        def answer_the_first(peer: ReplicaId, request: SnapshotRequest) -> None:
            if request.offset:
                held.append(request)
            else:
                answer(peer, request)

        server.received = answer_the_first  # type: ignore[method-assign]
        await cluster.start(away)
        await eventually(lambda: held, "it has the first part")
        named = held[0].index
        for _ in range(3):
            await write(leader, 8, 8000)
            await leader.take_snapshot()
        assert leader.status().snapshot_index > named
        server.received = answer  # type: ignore[method-assign]
        await eventually(lambda: cluster.machines[away].values == cluster.machines[int(leader.id)].values, "it is back")
        begun = [record.getMessage() for record in caplog.records if "begins anew" in record.getMessage()]
        assert begun == [f"replica {away} begins anew with the snapshot at index {named}"]


@scenario
async def test_a_running_follower_that_was_cut_off_begins_anew_too_and_its_clients_learn_the_truth() -> None:
    async with Cluster(3, snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(node for node in cluster.nodes.values() if node is not leader)
        await away.propose(b"hits+")
        cluster.wire.part([int(away.id)], [replica for replica in cluster.nodes if replica != away.id])
        waits = asyncio.create_task(away.propose(b"hits+", timeout_s=20))
        await write(leader, 200)
        cluster.wire.heal()
        assert await waits in (2, None) or waits.exception()
        await eventually(
            lambda: cluster.machines[int(away.id)].values == cluster.machines[int(leader.id)].values, "they are equal"
        )


@scenario
async def test_what_a_snapshot_says_was_executed_is_not_done_twice() -> None:
    """The follower's slice commits while it hears nothing of it; all that it ever sees of it is the snapshot."""
    async with Cluster(3, snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(node for node in cluster.nodes.values() if node is not leader)
        others = [replica for replica in cluster.nodes if replica != away.id]
        cluster.wire.cut(*((other, int(away.id)) for other in others))  # it is heard, and hears nothing
        sink = Recorder()
        away.submit((b"hits+",), 5, sink, timeout_s=20)
        await eventually(lambda: cluster.machines[int(leader.id)].values.get(b"hits") == 1, "it is executed")
        await write(await cluster.leader(*others), 200)
        cluster.wire.heal()
        await eventually(lambda: sink.told, "its client learns something")
        assert isinstance(sink.error, OutcomeUnknown) or sink.results == [1]
        assert await away.read(b"hits") == 1


@scenario
@pytest.mark.interpreted
async def test_52_a_snapshot_is_fetched_in_a_term_that_is_on_disk() -> None:
    """Else a crash could leave less log in the term before, as if what was acknowledged in it had been forgotten."""
    async with Cluster(3, config=Config(), snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away, other = (replica for replica in cluster.nodes if replica != leader.id)
        await cluster.crash(away)
        await eventually(lambda: leader.status().ready and cluster.nodes[other].status().ready)
        await leader.transfer(ReplicaId(other))
        leader = await cluster.leader()
        await write(leader, 60)
        cluster.wire.heal()
        node = await cluster.start(away)
        cluster.disks[away].hold_syncs()
        ready, offers = node._raft.ready, []

        def watched() -> Ready:
            taken = ready()
            offers.extend([taken.fetch] if taken.fetch is not None else [])
            return taken

        node._raft.ready = watched  # type: ignore[method-assign]
        await eventually(lambda: len(offers) > 1, "it is told of a snapshot")
        assert node._fetcher._download is None
        cluster.disks[away].release()
        await eventually(lambda: cluster.machines[away].values == cluster.machines[int(leader.id)].values, "it is back")


@scenario
async def test_45_log_time_goes_on_where_a_snapshot_ends_and_no_entry_follows() -> None:
    async with Cluster(3, config=Config(), snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(replica for replica in cluster.nodes if replica != leader.id)
        await cluster.crash(away)
        await write(leader, 60)
        point = await leader.take_snapshot()
        while point.index < leader.status().last_index:  # one was under way
            point = await leader.take_snapshot()
        cluster.wire.heal()
        node = await cluster.start(away)
        await eventually(lambda: node.hello().last_index == point.index and node.status().applied_index == point.index)
        await cluster.crash(away)
        cluster.wire.part([away], [replica for replica in cluster.ids if replica != away])
        log = (await cluster.start(away))._raft.log
        assert (log.base_index, log.last_index) == (point.index, point.index)
        assert log.last_time_ms == point.time_ms > 0


@scenario
@pytest.mark.interpreted
async def test_who_is_leaving_is_linked_until_that_is_committed() -> None:
    async with Cluster(4) as cluster:
        leader = await cluster.leader()
        leaving = next(replica for replica in cluster.nodes if replica != leader.id)
        set_peers, lost = leader._links.set_peers, []

        def watched(addresses: Mapping[ReplicaId, str]) -> None:
            committed = leader._raft.committed_configuration
            lost.extend(one.id for one in committed.members if one.id not in addresses)
            set_peers(addresses)

        leader._links.set_peers = watched  # type: ignore[method-assign]
        await leader.change(Change(remove=(ReplicaId(leaving),)))
        assert lost == []
        assert "removed" in str(await cluster.nodes[leaving].failed)
        await cluster.nodes.pop(leaving).close()


class GatedStore(Store):
    """Takes a snapshot only once it may."""

    gate = asyncio.Event()

    async def restore(self, pieces: AsyncIterator[bytes]) -> None:
        await self.gate.wait()
        await super().restore(pieces)


@scenario
async def test_no_snapshot_is_taken_of_a_state_that_is_being_replaced() -> None:
    GatedStore.gate = asyncio.Event()
    async with Cluster(3, machine=GatedStore, config=Config(), snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(node for node in cluster.nodes.values() if node is not leader)
        cluster.wire.part([int(away.id)], [replica for replica in cluster.nodes if replica != away.id])
        await write(leader, 60)
        cluster.wire.heal()
        await eventually(lambda: away._raft.restoring, "it begins anew")
        with pytest.raises(NotExecuted, match="brought up to date"):
            await away.take_snapshot()
        GatedStore.gate.set()
        await eventually(lambda: not away._raft.restoring, "it has")
        assert (await away.take_snapshot()).index > 0


@scenario
async def test_the_log_forgets_a_bit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million small entries at once would hold up the loop for longer than an election takes."""
    monkeypatch.setattr("oarlock.node.snapshots.STEP_ENTRIES", 8)
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        node._snapshots._after_bytes, node._snapshots._applied_bytes = 1, AppliedBytes(Index(0), 1)  # no tail
        node._snapshots._due_bytes = NEVER_DUE
        await write(node, 60)
        bases: list[int] = []

        def look() -> None:
            bases.append(node._raft.log.base_index)
            node.at_turn_end(look)

        look()
        point = await node.take_snapshot()
        assert bases[-1] >= point.index - 8
        assert max(after - before for before, after in pairwise(bases)) <= 8


@scenario
async def test_a_log_of_empty_entries_is_shortened_too() -> None:
    async with Cluster(1, snapshot_after_bytes=AFTER_BYTES) as cluster:
        node = await cluster.leader()
        for _ in range(AFTER_BYTES // ENTRY_BYTES):
            node._raft.propose(b"", node._clock.monotonic_s(), kind=EntryKind.CLOCK)
        node._schedule_turn()
        await eventually(lambda: node.status().snapshot_index > 0)


def test_the_tail_of_what_was_applied_is_found_about() -> None:
    applied = AppliedBytes(Index(10), 100)
    for index in range(11, 1000):
        applied.applied(Index(index), 30)
    assert applied.tail_start(Index(999), 10**9) == 10
    assert 796 <= applied.tail_start(Index(900), 3000) <= 804
    applied.forget(Index(800))
    assert applied.tail_start(Index(900), 10**9) >= 800
    assert applied.tail_start(Index(5), 0) >= 800, "what is not known is not guessed"


@scenario
async def test_a_snapshot_is_not_taken_in_a_term_that_is_not_durable() -> None:
    """A crash could leave it beside a log of the term before, which contradicts it and reaches further: the log would
    be dropped, and the replica refused for having forgotten what it acknowledged in that term."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        slow, target = await cluster.followers()
        await write(leader, 5)
        cluster.disks[int(slow.id)].hold_syncs()
        await leader.transfer(target.id)
        await eventually(lambda: slow.status().leader_id == target.id)
        with pytest.raises(NotExecuted, match="term"):
            async with asyncio.timeout(1):
                await slow.take_snapshot()
        cluster.disks[int(slow.id)].release()
        await eventually(lambda: slow.status().ready and slow.status().durable_index == slow.status().last_index)
        assert (await slow.take_snapshot()).term == target.status().term


@scenario
async def test_what_was_installed_is_restored_also_when_a_newer_one_has_come_meanwhile() -> None:
    """That can be if the leaders change while it is fetched."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        away = (await cluster.followers())[0]
        cluster.wire.part([int(away.id)], [replica for replica in cluster.nodes if replica != away.id])
        received = []
        for _ in range(2):
            await leader.propose(b"hits+")
            point = await leader.take_snapshot()
            file = await leader._snapshots.open(point.index, point.term)
            assert file is not None
            receiving = await away._snapshots._store.receive(file.size_bytes)
            await receiving.write(0, await file.read_at(0, file.size_bytes))
            received.append(await receiving.finish(point.index, point.term))
            await file.close()
        away._fetched(received[0])
        await eventually(lambda: away.status().applied_index == received[0].header.point.index)
        assert cluster.machines[int(away.id)].values == {b"hits": 1}


@scenario
async def test_39_a_full_disk_costs_a_snapshot_and_nothing_else() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        await write(node, 20)
        disk = disk_of(cluster, 1)
        used = sum(len(disk.contents(path)) for path in disk.paths())
        disk.capacity_bytes = used + 100
        with pytest.raises(Overloaded, match="no room"):
            await node.take_snapshot()
        assert not [path for path in disk.paths() if "snapshots/" in path], "nothing is left of it"
        assert await node.propose(b"hits+") == 1
        disk.capacity_bytes = None
        assert (await node.take_snapshot()).index == node.status().snapshot_index > 20


@scenario
async def test_33_a_disk_that_fails_a_snapshot_stops_the_replica() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        await write(node, 3)
        disk = disk_of(cluster, 1)
        disk.fail_next("sync", 5, ".tmp")
        with pytest.raises(Unavailable, match="stops"):
            await node.take_snapshot()
        assert "disk failed" in str(await node.failed)


@scenario
async def test_who_waits_for_a_snapshot_is_told_that_the_replica_stops() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        await write(node, 3)
        disk = disk_of(cluster, 1)
        disk.stall_next("sync", ".tmp")
        waiting = asyncio.create_task(node.take_snapshot())
        await eventually(lambda: any(".tmp" in path for path in disk.paths()), "it is being written")
        await node.close(0)
        with pytest.raises(ShuttingDown):
            await waiting


@scenario
async def test_38_the_log_goes_when_the_snapshot_that_holds_it_is_durable() -> None:
    async with Cluster(1, segment_bytes=SEGMENT_BYTES) as cluster:
        node = await cluster.leader()
        await write(node, 100)
        disk = disk_of(cluster, 1)
        goes_on = disk.stall_next("sync", ".snapshot.tmp")
        waiting = asyncio.create_task(node.take_snapshot())
        await eventually(lambda: any(".snapshot.tmp" in path for path in disk.paths()), "it is being written")
        await write(node, 100)
        await cluster.crash(1)
        with pytest.raises(ShuttingDown):
            await waiting
        goes_on.set()
        cluster.wire.heal()
        node = await cluster.start(1)
        await cluster.leader()
        assert not snapshots(cluster, 1) and await node.read(b"49") is not None


@scenario
async def test_38_the_log_reaches_back_to_the_older_of_two_snapshots() -> None:
    async with Cluster(1, segment_bytes=SEGMENT_BYTES) as cluster:
        node = await cluster.leader()
        for _ in range(3):
            await write(node, 100)
            await node.take_snapshot()
        await write(node, 60)
        values = dict(cluster.machines[1].values)
        await cluster.stop(1)
        disk = disk_of(cluster, 1)
        newest = max(snapshots(cluster, 1))
        disk.flip_bit(newest, 8 * len(disk.contents(newest)) // 2)
        await cluster.start(1)
        await cluster.leader()
        await eventually(lambda: cluster.machines[1].values == values, "the log tells what the newest held")


@scenario
@pytest.mark.parametrize("opened_before", [False, True])
async def test_37_a_snapshot_that_is_damaged_while_its_leader_lives_is_taken_again(
    opened_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a follower that needs it would fetch it for ever, and every backup be in vain, until more is written."""
    monkeypatch.setattr(serving, "IDLE_S", 0.3)
    monkeypatch.setattr(fetching, "RETRY_S", 0.3)
    async with Cluster(3, config=Config(), snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        away = next(replica for replica in cluster.nodes if replica != leader.id)
        await cluster.crash(away)
        await write(leader, 200)
        point = await leader.take_snapshot()
        newest = leader._snapshots.newest
        assert newest is not None
        if opened_before:
            leader._server.received(ReplicaId(away), SnapshotRequest(point.index, point.term, 0, 1))
            await eventually(lambda: leader._server._files, "it is open")
        disk_of(cluster, int(leader.id)).flip_bit(newest.path, 8 * (newest.size_bytes - 40))
        cluster.wire.heal()
        await cluster.start(away)
        there = cluster.machines[int(leader.id)].values
        await eventually(lambda: cluster.machines[away].values == there, "it is back", within_s=20)


@scenario
async def test_37_a_damaged_snapshot_passes_for_none_that_was_just_taken() -> None:
    async with Cluster(1, snapshot_after_bytes=NEVER_DUE) as cluster:
        node = await cluster.leader()
        await write(node, 20)
        point, newest = await node.take_snapshot(), node._snapshots.newest
        assert newest is not None
        whole = disk_of(cluster, 1).contents(newest.path)
        disk_of(cluster, 1).flip_bit(newest.path, 8 * (newest.size_bytes - 40))
        assert await node.take_snapshot() == point
        assert disk_of(cluster, 1).contents(newest.path) == whole
        disk_of(cluster, 1).flip_bit(newest.path, 8 * (newest.size_bytes - 40))
        assert b"".join([piece async for piece in node.backup()]) == whole


@scenario
async def test_a_machine_without_snapshots_is_asked_for_none() -> None:
    class Plain:
        apply, query = Store.apply, Store.query
        _execute = Store._execute

        def __init__(self) -> None:
            self.values: dict[bytes, object] = {}
            self.applied: list[object] = []

    async with Cluster(1, machine=Plain, snapshot_after_bytes=AFTER_BYTES) as cluster:
        node = await cluster.leader()
        await write(node, 60)
        with pytest.raises(NotExecuted, match="no snapshot"):
            await node.take_snapshot()
        assert not snapshots(cluster, 1)


@scenario
async def test_a_backup_holds_every_write_acknowledged_before_and_is_a_snapshot_file() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        await write(leader, 40)
        backup = b"".join([chunk async for chunk in follower.backup()])
        disk = MemoryDisk(random.Random(1))
        await disk.make_directory("/backup")
        file = await disk.open("/backup/file", create=True)
        await file.write_at(0, backup, sync=True)
        snapshot = await SnapshotFile.open(disk, "/backup/file", leader.status().cluster_id)
        machine = Store()
        await machine.restore(snapshot.pieces())
        assert machine.values == cluster.machines[int(leader.id)].values
        assert snapshot.header.point.index >= 40


@scenario
async def test_a_backup_is_not_of_a_snapshot_that_was_begun_before_it_was_asked_for() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        await write(node, 20)
        earlier = asyncio.create_task(node.take_snapshot())
        await asyncio.sleep(0)
        assert node._snapshots._taking is not None, "it is under way"
        await node.propose(b"hits+")
        backup = b"".join([chunk async for chunk in node.backup()])
        assert (await earlier).index < node.status().applied_index
        assert b"hits" in backup


@scenario
async def test_replicas_come_and_go_while_clients_write() -> None:
    async with Cluster(3, snapshot_after_bytes=AFTER_BYTES) as cluster:
        await write(await cluster.leader(), 100)
        for new, gone in ((4, 1), (5, 2), (6, 3)):
            leader = await cluster.leader()
            member = cluster.plug_in(new)
            await cluster.join(new, leader, Change(replace=((ReplicaId(gone), member),)))
            await eventually(
                lambda new=new: new in cluster.nodes[new].configuration().voters,
                "it is promoted",  # type: ignore[misc]
            )
            reason = await cluster.nodes[gone].failed
            assert "removed" in str(reason)
            await cluster.nodes.pop(gone).close()
            await (await cluster.leader()).propose(b"hits+")
        assert {*(await cluster.leader()).configuration().voters} == {4, 5, 6}


@scenario
async def test_25_a_leader_that_removes_itself_hands_over_and_stops() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"hits+")
        configuration = await leader.change(Change(remove=(leader.id,)))
        assert leader.id in configuration.removed
        assert "removed" in str(await leader.failed)
        await cluster.nodes.pop(int(leader.id)).close()
        assert await (await cluster.leader()).read(b"hits") == 1
        with pytest.raises(StartupError, match="was refused by its cluster"):
            await cluster.start(int(leader.id))
        cluster.nodes.pop(int(leader.id), None)


@scenario
async def test_a_replica_that_lost_its_disk_joins_again_under_its_id() -> None:
    async with Cluster(3, snapshot_after_bytes=AFTER_BYTES) as cluster:
        leader = await cluster.leader()
        lost = next(replica for replica in cluster.nodes if replica != leader.id)
        before = cluster.nodes[lost]
        await before.propose(b"hits+")
        await write(leader, 100)
        await cluster.crash(lost)
        member = cluster.plug_in(lost)
        node = await cluster.join(lost, leader, Change(replace=((ReplicaId(lost), member),)))
        assert await node.propose(b"hits+") == 2, "its slices are not taken for those of its former life"
        await eventually(lambda: lost in leader.configuration().voters, "it votes again")
        await eventually(lambda: not leader.status().joint, "the change comes to its end")


@scenario
async def test_leadership_goes_to_whom_it_is_meant_for() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        target = (await cluster.followers())[0]
        await leader.propose(b"hits+")
        with pytest.raises(NotLeader):
            await target.transfer(None)
        with pytest.raises(Unavailable, match="replica 9"):
            await leader.transfer(ReplicaId(9))
        await eventually(lambda: leader.status().ready and target.status().ready)
        assert await leader.transfer(target.id) == target.id
        assert (await cluster.leader()).id == target.id


@scenario
async def test_who_was_asked_to_take_over_may_do_so_after_all() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        target = (await cluster.followers())[0]
        await leader.propose(b"hits+")
        await eventually(lambda: leader.status().ready and target.status().ready)
        cluster.wire.part([int(leader.id)], [replica for replica in cluster.ids if replica != leader.id])
        with pytest.raises(OutcomeUnknown, match="nobody took over in time"):
            await leader.transfer(target.id, timeout_s=0.5)


@scenario
async def test_what_is_no_address_gets_into_no_configuration() -> None:
    async with Cluster(1) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"hits+")
        for address in ("nonsense", "", "0.0.0.0:7401", "10.0.0.1:0"):
            stranger = Member(ReplicaId(4), address, 44)
            for change in (
                Change(move=((leader.id, address),)),
                Change(add=(stranger,)),
                Change(replace=((leader.id, stranger),)),
            ):
                with pytest.raises(ChangeRefused, match=r"address|host|port"):
                    await leader.change(change)
        assert await leader.propose(b"hits+") == 2


@scenario
async def test_an_invitation_is_all_that_a_new_replica_needs_to_know() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        invitation = Invitation.decode(cluster.nodes[1].invitation())
        new, known = cluster.plug_in(4), cluster.plug_in(2)
        assert invitation.identity(new).configuration.learners == (4,)
        assert invitation.identity(known).configuration.learners == (2,), "it may have lost its disk"
        await leader.change(Change(remove=(ReplicaId(3) if leader.id != 3 else ReplicaId(2),)))
        gone = ReplicaId(3) if leader.id != 3 else ReplicaId(2)
        with pytest.raises(StartupError, match="never used again"):
            Invitation.decode(leader.invitation()).identity(cluster.plug_in(gone))
        with pytest.raises(StartupError, match="no invitation"):
            Invitation.decode(b"hello")
