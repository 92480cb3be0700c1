"""What the tests of links share: loops to run on, replicas on loopback, and a middlebox to put between them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from oarlock.network.links import Limits

Scenario = Callable[[], Coroutine[Any, Any, None]]
QUICK = Limits(handshake_s=0.5, bind_s=0.3, flush_s=0.5)


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Callable[[Scenario], None]:
    """Runs a scenario on either loop; fails if it leaves a task behind or an exception in a callback."""
    caplog.set_level(logging.INFO, "oarlock.network")
    new_loop = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    async def whole(scenario: Scenario) -> None:
        troubles: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        await asyncio.wait_for(scenario(), 20)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        assert not troubles

    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(whole(scenario))

    return run


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings logged so far, but for those that say a peer cannot be connected to."""

    def said() -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == "oarlock.network" and "cannot connect" not in record.getMessage()
        ]

    return said
