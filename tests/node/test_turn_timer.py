"""The timer: on time it acts at once; late, it lets the input that arrived before it go first."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from oarlock.node.turn_timer import TurnTimer
from tests.node.cluster import eventually, scenario, uvloop_scenario


class Clock:
    """A clock that stands still until it is set, so that "late" is the test's to say."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return self.loop.time() + self.ahead_s

    def wall_ms(self) -> int:
        raise AssertionError("nobody asks for that")


class Desk:
    """A timer, and what happened in which order."""

    def __init__(self, late_s: float = 0.05) -> None:
        self.clock = Clock()
        self.inputs = 0
        self.events: list[str] = []
        self.timer = TurnTimer(self.clock, lambda now: self.events.append("time"), late_s, lambda: self.inputs)

    def input(self, name: str = "input") -> None:
        self.inputs += 1
        self.events.append(name)


@scenario
async def test_it_acts_once_for_the_last_time_set() -> None:
    desk = Desk()
    now = desk.clock.monotonic_s()
    desk.timer.set(now + 60)
    desk.timer.set(now + 0.001)
    await eventually(lambda: desk.events)
    assert desk.events == ["time"]


@scenario
async def test_a_time_that_is_put_off_does_not_come_early() -> None:
    desk = Desk()
    start = desk.clock.monotonic_s()
    desk.timer.set(start + 0.005)
    desk.timer.set(start + 0.03)
    await eventually(lambda: desk.events)
    assert desk.clock.monotonic_s() >= start + 0.03
    assert desk.events == ["time"]


@scenario
async def test_a_cancelled_one_is_silent() -> None:
    desk = Desk()
    desk.timer.set(desk.clock.monotonic_s())
    desk.timer.cancel()
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, done.set)
    await done.wait()
    assert desk.events == []


async def late_timers_wait_until_the_sockets_are_drained() -> None:
    """Scenario 34: a process wakes up with its timers overdue and with what arrived meanwhile in its sockets. It takes
    several polls to get all of it out."""
    desk = Desk()
    near, far = socket.socketpair()
    near.setblocking(False)

    class Peer(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            desk.input(data.decode())
            if desk.inputs < 5:
                far.send(str(desk.inputs).encode())  # the kernel had more

    transport, _ = await asyncio.get_running_loop().create_connection(Peer, sock=near)
    desk.timer.set(desk.clock.monotonic_s())
    far.send(b"0")
    desk.clock.ahead_s = 10  # the process was stopped for so long
    await eventually(lambda: "time" in desk.events)
    assert desk.events == ["0", "1", "2", "3", "4", "time"]
    transport.close()
    far.close()


@scenario
async def test_34_on_asyncio_late_timers_wait_until_the_sockets_are_drained() -> None:
    await late_timers_wait_until_the_sockets_are_drained()


@uvloop_scenario
async def test_34_on_uvloop_late_timers_wait_until_the_sockets_are_drained() -> None:
    await late_timers_wait_until_the_sockets_are_drained()


@scenario
async def test_input_that_never_ends_puts_a_late_timer_off_but_not_for_ever() -> None:
    desk = Desk()
    loop = asyncio.get_running_loop()

    def flood() -> None:
        desk.input()
        if "time" not in desk.events:
            loop.call_soon(flood)

    desk.timer.set(desk.clock.monotonic_s())
    desk.clock.ahead_s = 10
    flood()
    await eventually(lambda: "time" in desk.events)
    assert desk.inputs > 100


@scenario
async def test_while_a_late_timer_waits_nobody_arms_it_a_second_time() -> None:
    desk = Desk()
    desk.timer.set(desk.clock.monotonic_s())
    desk.clock.ahead_s = 10
    loop = asyncio.get_running_loop()

    def meddle(left: int) -> None:
        desk.timer.set(desk.clock.monotonic_s() - 1)
        desk.input()
        if left:
            loop.call_soon(meddle, left - 1)

    loop.call_soon(meddle, 20)
    await eventually(lambda: "time" in desk.events)
    assert desk.events.index("time") == 21, "it came after all of them"


@pytest.mark.parametrize("when", [0.0, float("inf")])
@scenario
async def test_it_can_be_set_again_from_within(when: float) -> None:
    desk = Desk()
    seen: list[float] = []

    def act(now: float) -> None:
        seen.append(now)
        desk.timer.set(now + when if len(seen) < 3 else float("inf"))

    timer: Any = desk.timer
    timer._on_time = act
    desk.timer.set(desk.clock.monotonic_s())
    wanted: Callable[[], bool] = lambda: len(seen) == (3 if when == 0.0 else 1)  # noqa: E731
    await eventually(wanted)


@scenario
async def test_45_a_clock_that_has_jumped_makes_no_timer_late() -> None:
    desk = Desk()
    desk.clock.ahead_s = 3600
    desk.timer.set(desk.clock.monotonic_s() + 0.001)
    await eventually(lambda: desk.events, "the loop's clock is another", within_s=2)
