"""Virtual time and processes."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest

from oarlock.testing.simulation.loop import LONGEST_S, SHORTEST_S, Process
from tests.testing.simulation.world import World


@pytest.fixture
def world() -> World:
    return World()


# Time


def test_sleep_takes_virtual_time_and_nearly_nothing_more(world: World) -> None:
    async def sleeper() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(50)
        return asyncio.get_running_loop().time() - before

    assert 50 <= world.result(sleeper()) < 50 + 2 * LONGEST_S


def test_timers_go_off_in_the_order_of_their_times_and_equal_ones_in_that_of_their_making(world: World) -> None:
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name, delay in (("late", 2.0), ("soon", 1.0), ("soon too", 1.0), ("first", 0.5)):
            loop.call_later(delay, order.append, name)
        await asyncio.sleep(3)

    world.result(main())
    assert order == ["first", "soon", "soon too", "late"]


def test_a_cancelled_timer_does_not_go_off(world: World) -> None:
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(1, order.append, "cancelled")
        timer.cancel()
        await asyncio.sleep(3)

    world.result(main())
    assert order == []


def test_a_timer_that_is_due_can_still_be_cancelled_by_one_that_was_due_before(world: World) -> None:
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later(2, order.append, "cancelled")
        loop.call_later(1, later.cancel)
        await asyncio.sleep(4)

    process = world.process()
    process.start(main())
    world.go(0.5)
    process.pause()
    world.go(3)  # both are due
    process.resume()
    world.go(5)
    assert order == []
    assert world.loop.troubles == []


def test_a_timeout_ends_what_takes_too_long(world: World) -> None:
    async def main() -> float:
        try:
            async with asyncio.timeout(1.5):
                await asyncio.sleep(100)
        except TimeoutError:
            return asyncio.get_running_loop().time()
        return 0.0

    assert world.result(main()) == pytest.approx(1.5, abs=1e-3)


def test_an_iteration_runs_what_was_ready_and_what_that_makes_ready_runs_in_the_next(world: World) -> None:
    at: list[float] = []

    async def main() -> None:
        for _ in range(3):
            at.append(world.loop.now)
            await asyncio.sleep(0)

    world.result(main())
    steps = [later - earlier for earlier, later in pairwise(at)]
    assert all(SHORTEST_S <= step <= LONGEST_S for step in steps)


def test_what_nobody_caught_is_a_trouble(world: World) -> None:
    with world.loop.acting(world.process()):
        world.loop.call_soon(lambda: 1 / 0)
    world.go(1)
    assert len(world.loop.troubles) == 1
    assert "a: " in world.loop.troubles[0] and "ZeroDivisionError" in world.loop.troubles[0]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit])
def test_an_event_that_raises_is_a_trouble_told_alike_each_time_and_ends_nothing(
    world: World, error: type[BaseException]
) -> None:
    class Thing:
        def happens(self) -> None:
            raise error("no")

    reached: list[int] = []
    process = world.process()
    process.post(1, Thing().happens)
    process.post(1, reached.append, 1)
    world.go(1)
    (trouble,) = world.loop.troubles
    assert "Thing.happens()" in trouble and "0x" not in trouble
    assert reached == [1]


def test_an_event_keeps_its_context_to_itself(world: World) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    seen: list[int] = []
    world.process("a").post(1, variable.set, 5)
    world.go(1)
    world.process("b").post(1, lambda: seen.append(variable.get()))
    world.go(2)
    assert seen == [0] and variable.get() == 0


def test_nothing_is_called_from_outside_every_process(world: World) -> None:
    with pytest.raises(AssertionError, match="outside every process"):
        world.loop.call_soon(print)


# Events


def collected(process: Process, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The order in which a process finds (source, number)."""
    found: list[tuple[int, int]] = []
    for event in events:
        process.post(event[0], found.append, event)
    return found


def test_events_that_came_meanwhile_are_taken_in_a_random_order_but_those_of_a_source_in_theirs() -> None:
    events = [(source, number) for number in range(4) for source in (1, 2, 3)]
    orders = []
    for seed in range(8):
        world = World(seed)
        found = collected(world.process(), events)
        world.go(1)
        assert sorted(found) == sorted(events)
        for source in (1, 2, 3):
            assert [event for event in found if event[0] == source] == [(source, number) for number in range(4)]
        orders.append(tuple(found))
    assert len(set(orders)) > 4


def test_one_seed_gives_one_order() -> None:
    orders = []
    for _ in range(2):
        world = World(7)
        found = collected(world.process(), [(source, 0) for source in range(2, 20)])
        world.go(1)
        orders.append(found)
    assert orders[0] == orders[1]


# Processes


async def tick(ticks: list[float], every_s: float = 0.1) -> None:
    try:
        while True:
            ticks.append(asyncio.get_running_loop().time())
            await asyncio.sleep(every_s)
    finally:
        ticks.append(-1.0)


def test_of_a_killed_process_nothing_runs_again_and_no_finally(world: World) -> None:
    ticks: list[float] = []
    process = world.process()
    process.start(tick(ticks))
    world.go(1.05)
    before = len(ticks)
    deaths: list[float] = []
    process.on_death.append(lambda: deaths.append(world.loop.now))
    process.post(1, ticks.append, 99.0)
    process.kill()
    process.kill()
    process.post(1, ticks.append, 99.0)
    world.go(10)
    assert before == 11
    assert ticks == ticks[:before]
    assert deaths == [1.05]
    world.loop.end()


def test_a_process_that_kills_itself_stops_within_its_iteration(world: World) -> None:
    found: list[str] = []
    process = world.process()
    process.post(1, process.kill)
    process.post(1, found.append, "after its death")
    world.go(1)
    assert found == []


def test_others_do_not_notice_that_a_process_dies(world: World) -> None:
    ticks: list[float] = []
    world.process("b").start(tick(ticks))
    world.process("a").start(tick([]))
    world.go(1)
    world.process("a").kill()
    world.go(2)
    assert len(ticks) > 15


def test_a_paused_process_does_nothing_and_then_finds_what_came_and_that_its_timers_are_late(world: World) -> None:
    ticks: list[float] = []
    process = world.process()
    process.start(tick(ticks))
    world.go(1.05)
    process.pause()
    found = collected(process, [(5, 0), (5, 1)])
    world.go(6)
    assert max(ticks) < 1.05
    assert found == []
    process.resume()
    world.go(6.05)
    assert found == [(5, 0), (5, 1)]
    late = [at for at in ticks if at > 1.05]
    assert late[0] == pytest.approx(6, abs=1e-3)  # once, not once for each that was missed
    assert len(late) == 1


def test_a_pause_in_the_middle_of_an_iteration_keeps_the_rest_for_later(world: World) -> None:
    found: list[str] = []
    process = world.process()
    process.post(1, process.pause)
    process.post(1, found.append, "later")
    world.go(1)
    assert found == []
    process.resume()
    world.go(2)
    assert found == ["later"]


def test_a_slow_process_is_busy_for_longer(world: World) -> None:
    async def laps() -> float:
        before = world.loop.now
        for _ in range(100):
            await asyncio.sleep(0)
        return world.loop.now - before

    usual_s = world.result(laps())
    world.process().slowness = 50.0
    assert world.result(laps()) > 20 * usual_s


def test_who_watches_is_called_behind_each_iteration(world: World) -> None:
    seen: list[list[int]] = []
    done: list[int] = []
    process = world.process()
    process.after_iteration = lambda: seen.append(list(done))
    process.post(1, done.append, 1)
    process.post(1, done.append, 2)
    world.go(1)
    process.post(1, done.append, 3)
    world.go(2)
    assert seen == [[1, 2], [1, 2, 3]]


def test_a_task_that_died_of_an_exception_is_known_in_the_end(world: World) -> None:
    async def fails() -> None:
        raise LookupError("nobody waits for me")

    world.process().start(fails())
    world.go(1)
    assert any("nobody waits for me" in trouble for trouble in untold(world))


def test_a_task_that_died_long_ago_is_known_in_the_end_whenever_garbage_is_collected(world: World) -> None:
    class Owner:
        task: asyncio.Task[None]

        async def fails(self) -> None:
            raise LookupError("nobody waits for me")

    async def short() -> None:
        pass

    def start() -> None:
        owner = Owner()
        owner.task = world.process().start(owner.fails())  # which holds its owner, which holds it

    gc.disable()
    try:
        start()
        for _ in range(200):
            world.process().start(short())
            world.go(world.loop.now + 1e-3)
        assert any("nobody waits for me" in trouble for trouble in untold(world))
    finally:
        gc.enable()


def untold(world: World) -> list[Any]:
    world.loop.look_for_dead_tasks()
    return world.loop.troubles
