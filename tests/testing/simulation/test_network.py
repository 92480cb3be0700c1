"""The simulated network: streams in order, ends, refusals, cut paths, and what only links between replicas suffer."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from oarlock.testing.simulation.network import HIGH_WATER_BYTES, KEEPALIVE_S, READ_BYTES, UNACKNOWLEDGED_S, WINDOW_BYTES
from tests.testing.simulation.world import Notes, Pair, World

AB, BA = ("a", "b"), ("b", "a")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pair(world: World) -> Pair:
    return Pair(world)


# Streams


def test_bytes_come_in_order_both_ways(pair: Pair) -> None:
    for number in range(200):
        pair.send(b"%d " % number)
        pair.send(b"%d " % -number, frm="b")
    pair.go()
    assert pair.b.data == b"".join(b"%d " % number for number in range(200))
    assert pair.a.data == b"".join(b"%d " % -number for number in range(200))


def test_bytes_take_time(pair: Pair) -> None:
    sent = pair.world.loop.now
    pair.send(b"x")
    pair.go()
    low, high = pair.world.wires.latency_s
    assert low <= pair.b.at[-1] - sent <= high + 1e-3


def test_what_has_come_together_is_read_together_and_sometimes_cut_anywhere(pair: Pair) -> None:
    for _ in range(300):
        pair.do("a", lambda: [pair.a.transport.write(b"0123456789") for _ in range(10)])
        pair.go(0.1)
    pieces = [told for told in pair.b.told if isinstance(told, bytes)]
    assert pair.b.data == b"0123456789" * 3000
    assert any(len(piece) > 10 for piece in pieces)
    assert any(len(piece) % 10 for piece in pieces)


def test_one_read_takes_no_more_than_a_buffer(pair: Pair) -> None:
    pair.send(bytes(3 * READ_BYTES))
    pair.go()
    pieces = [len(told) for told in pair.b.told if isinstance(told, bytes)]
    assert sum(pieces) == 3 * READ_BYTES
    assert max(pieces) == READ_BYTES


def test_close_lets_the_other_side_have_the_rest_and_then_the_end(pair: Pair) -> None:
    pair.send(b"last words")
    pair.do("a", lambda: pair.a.transport.close())
    pair.go()
    assert pair.b.told == ["made", b"last words", "end", ("lost", type(None))]
    assert pair.a.events == ["made", ("lost", type(None))]


def test_bytes_for_a_stream_that_is_closed_are_answered_with_a_reset(pair: Pair) -> None:
    class HalfOpen(Notes):
        def eof_received(self) -> bool:  # type: ignore[override]
            super().eof_received()
            return True

    pair.b.__class__ = HalfOpen
    pair.do("a", lambda: pair.a.transport.close())
    pair.go()
    assert pair.b.told[-1] == "end"
    pair.send(b"for nobody", frm="b")
    pair.go()
    assert pair.b.told[-1] == ("lost", ConnectionResetError)


def test_nothing_is_written_after_close(pair: Pair) -> None:
    pair.do("a", lambda: (pair.a.transport.close(), pair.a.transport.write(b"too late")))
    pair.go()
    assert pair.b.data == b""


def test_who_does_not_read_stops_who_writes_until_it_reads_again(pair: Pair) -> None:
    pair.do("b", lambda: pair.b.transport.pause_reading())
    pair.send(bytes(WINDOW_BYTES + HIGH_WATER_BYTES))
    assert pair.a.events == ["made"]
    pair.send(b"one byte more"[:1])
    assert pair.a.events == ["made", "pause"]
    pair.go(30)
    assert (pair.a.events, pair.b.data) == (["made", "pause"], b"")
    pair.do("b", lambda: pair.b.transport.resume_reading())
    pair.go()
    assert pair.a.events == ["made", "pause", "resume"]
    assert len(pair.b.data) == WINDOW_BYTES + HIGH_WATER_BYTES + 1


# Dials


def dial(world: World, notes: Notes, host: str = "b", port: int = 1) -> Any:
    return world.network("a").dial(host, port, lambda: notes)


def test_a_dial_is_refused_where_a_host_is_up_and_nobody_listens(world: World) -> None:
    with pytest.raises(ConnectionRefusedError):
        world.result(dial(world, Notes(world.loop)))
    assert world.loop.now < 0.1


def test_a_port_that_is_closed_again_refuses_and_leaves_what_was_accepted(pair: Pair) -> None:
    pair.listener.close()
    with pytest.raises(ConnectionRefusedError):
        pair.world.result(dial(pair.world, Notes(pair.world.loop)))
    pair.send(b"still here")
    pair.go()
    assert pair.b.data == b"still here"


def test_a_port_is_given_once(pair: Pair) -> None:
    with pytest.raises(OSError) as caught:
        pair.world.result(pair.world.network("b").listen("b", 1, lambda: Notes(pair.world.loop)), "b")
    assert caught.value.errno == errno.EADDRINUSE


def test_a_dial_to_a_host_without_power_hangs_until_it_has_power(pair: Pair) -> None:
    world = pair.world
    world.wires.power("b", on=False)
    task = world.process("a").start(dial(world, Notes(world.loop)))
    world.go(30)
    assert not task.done()
    world.wires.power("b", on=True)
    assert world.loop.run(33, task.done)


def test_a_dial_over_a_cut_path_hangs_whichever_way_is_cut(pair: Pair) -> None:
    world = pair.world
    for path in (AB, BA):
        world.wires.cut([path])
        task = world.process("a").start(dial(world, Notes(world.loop)))
        pair.go(20)
        assert not task.done()
        world.wires.heal([path])
        pair.go(3)
        assert task.done()


def test_a_dial_that_is_given_up_leaves_nothing(world: World) -> None:
    b = Notes(world.loop)
    world.result(world.network("b").listen("b", 1, lambda: b), "b")

    async def impatient() -> None:
        task = asyncio.ensure_future(dial(world, Notes(world.loop)))
        while not b.told:  # noqa: ASYNC110  # nobody here could set an event
            await asyncio.sleep(1e-5)
        task.cancel()

    world.result(impatient())
    world.go(world.loop.now + 1)
    assert b.events[-1] == ("lost", type(None))


# Cut paths


def test_a_cut_path_holds_bytes_and_brings_them_when_it_is_healed(pair: Pair) -> None:
    wires = pair.world.wires
    wires.cut([AB])
    pair.send(b"one ")
    pair.send(b"back", frm="b")  # the other way is another path
    pair.go(3)
    pair.send(b"two")
    pair.go(3)
    assert (pair.a.data, pair.b.data) == (b"back", b"")
    wires.heal([AB])
    pair.go()
    assert pair.b.data == b"one two"
    assert wires.bitten["held up"] == 1


def test_a_path_that_is_cut_twice_is_healed_twice(pair: Pair) -> None:
    wires = pair.world.wires
    wires.cut([AB])
    wires.cut([AB])
    pair.send(b"x")
    wires.heal([AB])
    pair.go()
    assert pair.b.data == b""
    wires.heal([AB])
    pair.go()
    assert pair.b.data == b"x"


def test_what_is_not_acknowledged_for_too_long_ends_the_stream_at_both_ends(pair: Pair) -> None:
    pair.world.wires.cut([AB])
    pair.send(b"x")
    sent = pair.world.loop.now
    pair.go(UNACKNOWLEDGED_S - 0.1)
    assert pair.a.events == ["made"]
    pair.go(KEEPALIVE_S + 1)
    assert pair.a.events[-1] == ("lost", TimeoutError)
    assert pair.a.at[-1] - sent == pytest.approx(UNACKNOWLEDGED_S, abs=0.01)
    assert pair.b.events[-1] == ("lost", ConnectionResetError)
    pair.world.wires.heal([AB])
    pair.go()
    assert pair.b.data == b""


def test_a_path_healed_in_time_keeps_the_stream(pair: Pair) -> None:
    for _ in range(4):
        pair.world.wires.cut([AB])
        pair.send(b"x")
        pair.go(UNACKNOWLEDGED_S / 2)
        pair.world.wires.heal([AB])
        pair.go(UNACKNOWLEDGED_S / 3)
    assert pair.b.data == b"xxxx"
    assert pair.a.events == pair.b.events == ["made"]


def test_a_clogged_path_is_slow_and_keeps_the_order(pair: Pair) -> None:
    sent = pair.world.loop.now
    pair.world.wires.conditions(AB).extra_s = 0.5
    for number in range(50):
        pair.send(b"%d " % number)
    pair.go(2)
    assert pair.b.data == b"".join(b"%d " % number for number in range(50))
    assert pair.b.at[1] - sent >= 0.25


# Ends of processes


def test_a_killed_process_ends_its_streams(world: World) -> None:
    ends = set()
    for seed in range(12):
        world = World(seed)
        pair = Pair(world)
        world.process("a").kill()
        world.wires.abandon(world.processes["a"], silently=False)
        pair.go()
        assert pair.a.told == ["made"]
        ends.add(tuple(pair.b.events[1:]))
    assert ends == {("end", ("lost", type(None))), (("lost", ConnectionResetError),)}


def test_what_a_process_sent_before_it_was_killed_arrives(pair: Pair) -> None:
    pair.send(b"testament")
    pair.world.process("a").kill()
    pair.world.wires.abandon(pair.world.processes["a"], silently=False)
    pair.go()
    assert pair.b.data == b"testament"


def test_a_killed_process_listens_no_more_and_the_next_one_may(pair: Pair) -> None:
    world = pair.world
    world.process("b").kill()
    world.wires.abandon(world.processes["b"], silently=False)
    with pytest.raises(ConnectionRefusedError):
        world.result(dial(world, Notes(world.loop)))
    world.result(world.network("b").listen("b", 1, lambda: Notes(world.loop)), "b")
    world.result(dial(world, Notes(world.loop)))


def test_a_host_without_power_says_nothing_and_is_missed_by_keepalive(pair: Pair) -> None:
    world = pair.world
    world.process("b").kill()
    world.wires.abandon(world.processes["b"], silently=True)
    world.wires.power("b", on=False)
    lost = world.loop.now
    pair.go(KEEPALIVE_S - 0.5)
    assert pair.a.events == ["made"]
    pair.go()
    assert pair.a.events[-1] == ("lost", TimeoutError)
    assert pair.a.at[-1] - lost == pytest.approx(KEEPALIVE_S, abs=0.01)


def test_bytes_for_a_host_without_power_wait_and_are_answered_with_a_reset_when_it_is_back(pair: Pair) -> None:
    world = pair.world
    world.process("b").kill()
    world.wires.abandon(world.processes["b"], silently=True)
    world.wires.power("b", on=False)
    pair.send(b"is anybody there?")
    pair.go(5)
    assert pair.a.events == ["made"]
    world.wires.power("b", on=True)
    pair.go()
    assert pair.a.events[-1] == ("lost", ConnectionResetError)


# Frames


def frames(world: World, kind: str, rate: float, clients: bool = False) -> Pair:
    """A stream under a condition, after a first write (the handshake) and a hundred more."""
    pair = Pair(world, clients=clients)
    setattr(world.wires.conditions(AB), kind, rate)
    for number in range(101):
        pair.send(b"<%03d>" % number)
        pair.go(0.002)
    pair.go()
    return pair


def numbers(pair: Pair) -> list[int]:
    return [int(frame[1:4]) for frame in (pair.b.data[at : at + 5] for at in range(0, len(pair.b.data), 5))]


def test_the_first_frame_of_a_stream_is_never_lost(world: World) -> None:
    """It is the handshake's, without which there is no link that could lose anything."""
    pair = Pair(world, clients=False)
    world.wires.conditions(AB).loss = 1.0
    pair.send(b"first")
    pair.send(b"second")
    pair.go()
    assert pair.b.data == b"first"


def test_frames_between_replicas_are_lost_whole(world: World) -> None:
    found = numbers(frames(world, "loss", 0.3))
    assert found == sorted(set(found))
    assert len(found) == 101 - world.wires.bitten["lost"]
    assert 50 < len(found) < 90


def test_frames_between_replicas_come_twice(world: World) -> None:
    found = numbers(frames(world, "repetition", 0.3))
    assert set(found) == set(range(101))
    assert len(found) == 101 + world.wires.bitten["repeated"] > 110


def test_frames_between_replicas_are_overtaken(world: World) -> None:
    found = numbers(frames(world, "overtaking", 0.3))
    assert sorted(found) == list(range(101))
    assert found != sorted(found)


@pytest.mark.parametrize("kind", ["loss", "repetition", "overtaking", "spoiling"])
def test_nothing_of_the_kind_happens_to_clients(world: World, kind: str) -> None:
    assert numbers(frames(world, kind, 0.5, clients=True)) == list(range(101))


def test_a_spoilt_frame_has_one_bit_flipped(world: World) -> None:
    pair = frames(world, "spoiling", 0.3)
    sent = b"".join(b"<%03d>" % number for number in range(101))
    assert len(pair.b.data) == len(sent)
    flipped = [bin(one ^ other).count("1") for one, other in zip(pair.b.data, sent, strict=True)]
    assert sum(flipped) == world.wires.bitten["spoilt"] > 10
