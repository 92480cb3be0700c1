"""What callers of a node may do to it, and what it never does to them."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from oarlock.core.config import Config
from oarlock.errors import CommandTooLarge, NotLeader, OutcomeUnknown, Overloaded, ShuttingDown, Unavailable
from oarlock.node.batch import BATCH_BYTES, decode_batch
from oarlock.node.node import COMFORTABLE_BYTES, HELD_BYTES, Node
from oarlock.state_machine import Position
from oarlock.types import MAX_COMMAND_BYTES, MAX_ENTRY_BYTES, EntryKind, ReplicaId
from tests.node.cluster import Cluster, Recorder, Store, eventually, scenario, uvloop_scenario
from tests.node.wire import Route


@scenario
async def test_more_than_is_comfortable_asks_for_a_pause_and_calls_back_when_there_is_room() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        cluster.disks[1].hold_syncs()
        sinks = [Recorder() for _ in range(COMFORTABLE_BYTES // BATCH_BYTES)]
        room = [node.submit((b"x+",), BATCH_BYTES, sink) for sink in sinks]
        assert room == [True] * (len(sinks) - 1) + [False]
        called: list[bool] = []
        node.when_writable(lambda: called.append(True))
        await eventually(lambda: cluster.disks[1].waiting)
        assert not called
        cluster.disks[1].release()
        await eventually(lambda: called)
        await eventually(lambda: all(sink.told for sink in sinks))
        assert called == [True]
        assert [sink.results for sink in sinks] == [[number] for number in range(1, len(sinks) + 1)]


@scenario
async def test_beyond_the_bound_writes_are_refused_and_were_not_executed() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        cluster.disks[1].hold_syncs()
        count = HELD_BYTES // MAX_COMMAND_BYTES + 1
        sinks = [Recorder() for _ in range(count)]
        for sink in sinks:
            node.submit((b"x+",), MAX_COMMAND_BYTES, sink)
        with pytest.raises(Overloaded):
            await node.propose(b"x+")
        assert await node.read(b"x") is None, "reads go on"
        cluster.disks[1].release()
        await eventually(lambda: all(sink.told for sink in sinks))
        assert await node.propose(b"x+") == count + 1


@scenario
async def test_back_pressure_ends_when_nobody_waits_any_more() -> None:
    """Without a leader what was cut stays undecided; but its clients were told, and others must not hang for it."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        for node in await cluster.followers():
            await cluster.crash(int(node.id))
        sinks = [Recorder() for _ in range(COMFORTABLE_BYTES // BATCH_BYTES)]
        for sink in sinks:
            leader.submit((b"x+",), BATCH_BYTES, sink, timeout_s=0.3)
        called: list[bool] = []
        leader.when_writable(lambda: called.append(True))
        await eventually(lambda: called)
        assert all(isinstance(sink.error, OutcomeUnknown | Unavailable) for sink in sinks)


@scenario
async def test_a_command_that_is_too_large_or_none_at_all_is_refused_here() -> None:
    async with Cluster(3) as cluster:
        node = (await cluster.followers())[0]
        with pytest.raises(CommandTooLarge):
            await node.propose(b"x" * (MAX_COMMAND_BYTES + 1))
        with pytest.raises(CommandTooLarge):
            await node.propose((b"",) * (MAX_COMMAND_BYTES // 4))
        for wrong in ("x+", [b"x+"], (b"x", "y"), bytearray(b"x+"), None):
            with pytest.raises(TypeError):
                await node.propose(wrong)  # type: ignore[arg-type]
        assert await node.propose(b"x+") == 1, "everyone lives"
        assert all(not each.failed.done() for each in cluster.nodes.values())


@scenario
async def test_60_no_entry_is_larger_than_every_replica_takes() -> None:
    """The largest commands of several replicas arrive at the leader in one turn."""
    large = b"=" + b"x" * (MAX_COMMAND_BYTES - 1000)
    async with Cluster(3, config=Config()) as cluster:
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        sinks = [Recorder(), Recorder()]
        cluster.wire.hold((int(follower.id), int(leader.id)))
        follower.submit((large,), len(large), sinks[0])
        await eventually(lambda: cluster.wire.held_bytes > len(large), "all of it is on its way")
        leader.submit((large,), len(large), sinks[1])
        cluster.wire.heal()
        await eventually(lambda: all(sink.told for sink in sinks))
        entries = leader._raft.log.between(1, leader.status().last_index)
        sizes = [len(entry.payload) for entry in entries if entry.kind == EntryKind.BATCH]
        assert max(sizes) <= MAX_ENTRY_BYTES
        assert len(sizes) == 2


@scenario
async def test_60_an_entry_that_is_larger_all_the_same_does_not_reach_the_log() -> None:
    """There it would stop every leader that has to send it."""
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        last = leader.status().last_index
        sink = Recorder()
        leader.submit([b"x" * (MAX_COMMAND_BYTES - 10)] * 3, 2, sink)  # says that it is small
        reason = await leader.failed
        assert "larger than any may be" in str(reason)
        assert leader.status().last_index == last
        assert isinstance(sink.error, OutcomeUnknown)


@pytest.mark.parametrize("call", ["connected", "heard_hello", "received", "refused"])
@scenario
async def test_whatever_goes_wrong_when_a_link_tells_something_stops_the_replica(call: str) -> None:
    """Left to the loop, which reports it and goes on, it would come back with each link, for ever."""
    nonsense: Any = object()
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        getattr(leader, call)(ReplicaId(2), nonsense)
        assert "an error of the program" in str(await leader.failed)


@scenario
@pytest.mark.interpreted
async def test_whatever_goes_wrong_when_slices_are_sent_again_stops_the_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Cluster(3) as cluster:
        follower = (await cluster.followers())[0]
        monkeypatch.setattr(follower, "_send_undecided", None)
        leader = follower.status().leader_id
        follower.connected(leader, follower.hello())
        assert "an error of the program" in str(await follower.failed)


@scenario
async def test_a_cancelled_write_leaves_the_replica_fine_and_may_have_happened() -> None:
    async with Cluster(3) as cluster:
        node = (await cluster.followers())[0]
        tasks = [asyncio.create_task(node.propose(b"x+")) for _ in range(20)]
        await asyncio.sleep(0)  # all are submitted
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == list(range(2, 21, 2))
        assert await node.read(b"x") == 20
        read = asyncio.create_task(node.read(b"x"))
        await asyncio.sleep(0)
        read.cancel()
        assert await node.propose(b"x+") == 21


@scenario
async def test_sinks_may_come_again_from_within_their_answer() -> None:
    """As a server does, whose connection has more in its buffer."""
    async with Cluster(3) as cluster:
        node = (await cluster.followers())[0]
        done = asyncio.Event()
        left = 50

        def again() -> None:
            nonlocal left
            left -= 1
            if left > 0:
                node.submit((b"x+",), 2, Recorder(again))
                node.query((b"x",), Recorder())
            else:
                done.set()

        node.submit((b"x+",), 2, Recorder(again))
        await done.wait()
        assert await node.read(b"x") == 50


@scenario
async def test_sinks_may_come_again_from_within_their_failure() -> None:
    async with Cluster(3, absent=[2, 3]) as cluster:
        node = cluster.nodes[1]
        again: list[Recorder] = []

        def come_again() -> None:
            again.append(Recorder())
            node.submit((b"x+",), 2, again[-1], timeout_s=0.1)
            again.append(Recorder())
            node.query((b"x",), again[-1], 0.1)

        for _ in range(5):
            node.submit((b"x+",), 2, Recorder(come_again), timeout_s=0.1)
            node.query((b"x",), Recorder(come_again), 0.1)
        await eventually(lambda: len(again) == 20 and all(sink.told for sink in again))
        assert all(isinstance(sink.error, Unavailable) for sink in again)
        assert not node.failed.done()


@scenario
async def test_what_goes_wrong_in_a_server_costs_its_client_and_not_the_replica() -> None:
    class Broken:
        abandoned = False

        def resolved(self, results: Sequence[Any]) -> None:
            raise ValueError("no such encoding")

        failed: Any = resolved

    def broken() -> None:
        raise ValueError("no such connection")

    async with Cluster(1) as cluster:
        node = await cluster.leader()
        node.submit((b"x+",), 2, Broken())
        node.query((b"x",), Broken())
        node.at_turn_end(broken)
        node.when_writable(broken)
        assert await node.propose(b"x+") == 2
        node.submit((b"x+",), 2, Broken())
        node.at_turn_end(broken)
        await cluster.nodes.pop(1).close(timeout_s=0)
        lock = cluster.disks[1].lock(f"{cluster.directory}/lock")
        assert lock is not None, "it has closed wholly"


@scenario
async def test_what_asks_again_at_a_turns_end_is_called_at_the_next_ones() -> None:
    async with Cluster(1) as cluster:
        node = await cluster.leader()
        called: list[str] = []

        def piece() -> None:
            called.append("piece")
            asyncio.get_running_loop().call_soon(called.append, "others")
            if len(called) < 5:
                node.at_turn_end(piece)

        node.at_turn_end(piece)
        await eventually(lambda: len(called) == 6, f"{called}")
        assert called == ["piece", "others"] * 3


@scenario
async def test_a_stopped_replica_still_calls_back_so_that_clients_can_be_told() -> None:
    async with Cluster(1) as cluster:
        node = cluster.nodes.pop(1)
        called: list[str] = []
        node.when_writable(lambda: called.append("room"))
        node.at_turn_end(lambda: called.append("end"))
        await node.close()
        sink = Recorder(lambda: node.at_turn_end(lambda: called.append("replies")))
        node.submit((b"x+",), 2, sink)
        node.query((b"x",), Recorder(lambda: node.at_turn_end(lambda: called.append("replies"))))
        node.when_writable(lambda: called.append("room"))
        await eventually(lambda: len(called) == 5, f"{called}")
        assert isinstance(sink.error, ShuttingDown)


@scenario
async def test_nothing_that_waits_is_forgotten_when_the_replica_stops() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        for node in await cluster.followers():
            await cluster.crash(int(node.id))
        authority = asyncio.create_task(leader.verify_authority())
        read = asyncio.create_task(leader.read(b"x"))
        write = asyncio.create_task(leader.propose(b"x+"))
        await asyncio.sleep(0)
        await cluster.nodes.pop(int(leader.id)).close(timeout_s=0.01)
        outcomes = await asyncio.gather(authority, read, write, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ShuttingDown, ShuttingDown, OutcomeUnknown]


@scenario
async def test_a_long_answer_is_not_forgotten_either() -> None:
    class Endless(Store):
        def query(self, queries: Sequence[Any], at: Position) -> list[Any]:
            return [self._endless()]

        def _endless(self) -> Generator[None, None, None]:
            while True:
                yield

    async with Cluster(1, machine=Endless) as cluster:
        node = await cluster.leader()
        read = asyncio.create_task(node.read(b"x"))
        await eventually(lambda: node._applier.has_long_answers)
        assert await node.propose(b"x+") == 1, "it stalls nobody"
        await cluster.nodes.pop(1).close(timeout_s=0.01)
        with pytest.raises(ShuttingDown):
            await read


@scenario
async def test_authority_is_the_leaders_alone_and_names_him_to_others() -> None:
    async with Cluster(3) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"x=1")
        assert await leader.verify_authority() == leader.status().commit_index
        follower = (await cluster.followers())[0]
        with pytest.raises(NotLeader) as caught:
            await follower.verify_authority()
        assert caught.value.leader == leader.id


@scenario
async def test_groups_stay_together_and_in_order_through_leader_and_followers() -> None:
    async with Cluster(3) as cluster:
        await cluster.leader()
        sinks = []
        for number in range(200):
            node: Node = cluster.nodes[number % 3 + 1]
            group = [b"%d=%d" % (number, part) for part in range(5)]
            sinks.append(Recorder())
            node.submit(group, 20, sinks[-1])
            if number % 17 == 0:
                await asyncio.sleep(0)  # another turn
        await eventually(lambda: all(sink.told for sink in sinks))
        applied = cluster.machines[1].applied
        groups = [applied[start : start + 5] for start in range(0, 1000, 5)]
        for group in groups:
            assert group == [b"%s=%d" % (group[0].split(b"=")[0], part) for part in range(5)]
        for residue in range(3):
            numbers = [int(group[0].split(b"=")[0]) for group in groups]
            assert [n for n in numbers if n % 3 == residue] == list(range(residue, 200, 3))


@scenario
async def test_53_62_a_connections_order_and_results_survive_resets_and_leader_changes() -> None:
    async with Cluster(3) as cluster:
        for round_ in range(4):
            leader = await cluster.leader()
            node = (await cluster.followers())[0]
            name = b"%d" % round_
            writes = [asyncio.create_task(node.propose(name + b"+")) for _ in range(100)]
            await asyncio.sleep(0)
            if round_ % 2:
                cluster.wire.reset_all()
            else:
                leader._raft.hand_over(leader._clock.monotonic_s())
                leader._schedule_turn()
            more = [asyncio.create_task(node.propose(name + b"+")) for _ in range(100)]
            assert await asyncio.gather(*writes, *more) == list(range(1, 201))
        slices = [
            piece
            for entry in cluster.nodes[1]._raft.log.between(1, cluster.nodes[1].status().last_index)
            if entry.kind == EntryKind.BATCH
            for piece in decode_batch(entry.payload)
        ]
        assert sum(len(piece.commands) for piece in slices) == 800


async def _answer_four_while_one_waits(
    cluster: Cluster, node: Node, route: Route, answer_is_due: Callable[[Any], bool]
) -> int:
    """A round of four is answered while a fifth reader waits, and each of the four asks again at once. How many more
    rounds that takes. ``route``: what the answer to the first comes by, once it is due."""
    leader = await cluster.leader()
    loop = asyncio.get_running_loop()
    answered: list[Recorder] = []

    def ask_again() -> None:
        answered.append(Recorder())
        node.query((b"x",), answered[-1])

    await node.read(b"x")
    cluster.wire.hold(route)
    for _ in range(4):
        node.query((b"x",), Recorder(lambda: loop.call_soon(ask_again)))
    before = leader._raft.role.beat
    await eventually(lambda: leader._raft.role.beat > before and answer_is_due(leader._raft.role))
    beat = leader._raft.role.beat
    ask_again()
    cluster.wire.heal()
    await eventually(lambda: len(answered) == 5 and all(recorder.told for recorder in answered))
    return int(leader._raft.role.beat - beat)


@pytest.mark.parametrize("played", [scenario, uvloop_scenario])
def test_a_round_that_few_wait_for_lets_those_ask_again_who_were_just_answered(played: Any) -> None:
    async def at_the_leader() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.leader()
            first, second = await cluster.followers()
            cluster.wire.cut((second.id, leader.id))  # so that every round ends with what the first says

            def echoed(role: Any) -> bool:
                return bool(first._raft.role.echoed == role.beat and cluster.wire.held_bytes)

            assert await _answer_four_while_one_waits(cluster, leader, (first.id, leader.id), echoed) == 1

    async def at_a_follower() -> None:
        async with Cluster(3) as cluster:
            leader = await cluster.leader()
            first, _ = await cluster.followers()

            def confirmed(role: Any) -> bool:
                return bool(role.confirmed == role.beat and cluster.wire.held_bytes)

            assert await _answer_four_while_one_waits(cluster, first, (leader.id, first.id), confirmed) == 1

    played(at_the_leader)()
    played(at_a_follower)()


@scenario
async def test_a_round_that_few_wait_for_is_put_off_once_and_for_no_timer() -> None:
    async with Cluster(3, config=Config(heartbeat_s=0.3, round_widen_s=0.3)) as cluster:
        for node in cluster.nodes.values():
            await node.read(b"x")
            async with asyncio.timeout(1.5):
                for _ in range(50):
                    pair = [asyncio.create_task(node.read(b"x")) for _ in range(2)]
                    await asyncio.sleep(0)
                    await asyncio.gather(*pair, node.read(b"x"))


@scenario
async def test_a_read_that_comes_as_a_round_ends_does_not_wait_for_a_timer() -> None:
    """A sink may ask again from within its answer, in the very turn that ends the round."""
    async with Cluster(3, config=Config(heartbeat_s=0.3, round_widen_s=0.3)) as cluster:
        leader = await cluster.leader()
        await leader.read(b"x")
        done = asyncio.Event()
        left = 100

        def next_read() -> None:
            nonlocal left
            left -= 1
            if left:
                leader.query((b"x",), Recorder(next_read))
            else:
                done.set()

        next_read()
        async with asyncio.timeout(1.5):
            await done.wait()
