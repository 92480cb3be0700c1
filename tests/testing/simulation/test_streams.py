"""What a stream promises its protocols at the edges: order across a healing, one end, and silence after it."""

from __future__ import annotations

import asyncio

import pytest

from oarlock.testing.simulation.network import HIGH_WATER_BYTES, RETRANSMISSION_S, UNACKNOWLEDGED_S, WINDOW_BYTES
from tests.testing.simulation.world import Notes, Pair, World

AB = ("a", "b")


@pytest.mark.parametrize("seed", range(8))
def test_what_is_under_way_when_a_path_is_healed_stays_behind_what_waited(seed: int) -> None:
    pair = Pair(World(seed))
    wires = pair.world.wires
    wires.cut([AB])
    pair.send(b"first ")
    pair.go(1)
    wires.conditions(AB).extra_s = 2 * RETRANSMISSION_S / 10
    for number in range(20):
        pair.send(b"%d " % number)
    wires.heal([AB])
    pair.go()
    assert pair.b.data == b"first " + b"".join(b"%d " % number for number in range(20))


def test_a_path_cut_again_before_what_waited_arrives_holds_it_on(pair: Pair) -> None:
    wires = pair.world.wires
    wires.cut([AB])
    pair.send(b"x")
    pair.go(1)
    wires.heal([AB])
    wires.cut([AB])
    pair.go(UNACKNOWLEDGED_S / 2)
    assert pair.b.data == b""
    wires.heal([AB])
    pair.go()
    assert pair.b.data == b"x"


def test_a_path_cut_again_and_never_healed_ends_the_stream(pair: Pair) -> None:
    wires = pair.world.wires
    wires.cut([AB])
    pair.send(b"x")
    pair.go(UNACKNOWLEDGED_S - 0.01)
    wires.heal([AB])
    wires.cut([AB])
    pair.go(UNACKNOWLEDGED_S + RETRANSMISSION_S)
    assert pair.a.events[-1] == ("lost", TimeoutError)


def test_a_stream_that_breaks_before_its_dialler_has_it_is_made_and_lost() -> None:
    """The peer accepted, and died: a dial that has succeeded must not leave a stream that never ends."""
    world = World()
    a, b = Notes(world.loop), Notes(world.loop)
    world.result(world.network("b").listen("b", 1, lambda: b), "b")
    task = world.process("a").start(world.network("a").dial("b", 1, lambda: a))
    assert world.loop.run(1, lambda: b.told)
    world.process("a").pause()
    world.process("b").kill()
    world.wires.random.random = lambda: 0.9  # type: ignore[method-assign]  # of the ways to end a stream, the reset
    world.wires.abandon(world.processes["b"], silently=False)
    world.go(2)
    world.process("a").resume()
    assert world.loop.run(3, task.done)
    world.go(4)
    assert a.told == ["made", ("lost", ConnectionResetError)]


def test_who_has_closed_hears_no_more_bytes_however_long_the_closing_takes(pair: Pair) -> None:
    pair.do("b", lambda: pair.b.transport.pause_reading())
    pair.send(bytes(WINDOW_BYTES + HIGH_WATER_BYTES // 2))  # more than the kernels hold
    pair.do("a", lambda: pair.a.transport.close())
    pair.send(b"unheard", frm="b")
    pair.go()
    assert pair.a.told == ["made"]
    pair.do("b", lambda: pair.b.transport.resume_reading())
    pair.go()
    assert len(pair.b.data) == WINDOW_BYTES + HIGH_WATER_BYTES // 2
    assert pair.a.told == ["made", ("lost", type(None))]


def test_who_closes_without_reading_resets_a_writer_that_waits(pair: Pair) -> None:
    pair.do("b", lambda: pair.b.transport.pause_reading())
    pair.send(bytes(WINDOW_BYTES + HIGH_WATER_BYTES + 1))
    pair.go()
    pair.do("a", lambda: pair.a.transport.close())
    pair.do("b", lambda: pair.b.transport.close())
    pair.go()
    assert pair.a.events == ["made", "pause", ("lost", ConnectionResetError)]


def test_an_end_is_told_once(pair: Pair) -> None:
    class Stays(Notes):
        def eof_received(self) -> bool:  # type: ignore[override]
            super().eof_received()
            return True

    pair.b.__class__ = Stays
    pair.do("a", lambda: pair.a.transport.close())
    pair.go()
    for action in (asyncio.Transport.pause_reading, asyncio.Transport.resume_reading):
        pair.do("b", lambda action=action: getattr(pair.b.transport, action.__name__)())  # type: ignore[misc]
        pair.go()
    assert pair.b.told == ["made", "end"]


@pytest.fixture
def pair() -> Pair:
    return Pair(World())
