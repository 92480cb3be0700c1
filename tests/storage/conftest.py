"""Runs each async test on an event loop of its own."""

import asyncio
import inspect
from typing import Any

import pytest

from oarlock.testing.memory_disk import PowerFailure


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(_run(pyfuncitem, arguments))
    return True


async def _run(test: pytest.Function, arguments: dict[str, Any]) -> None:
    asyncio.get_running_loop().set_exception_handler(_ignore_the_dead)
    try:
        await asyncio.wait_for(test.obj(**arguments), 60)
    except PowerFailure as failure:
        pytest.fail(f"the power failed where the test did not expect it: {failure}")


def _ignore_the_dead(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Background tasks of a process whose power failed end with that, and nobody is left to take it."""
    if not isinstance(context.get("exception"), PowerFailure):
        loop.default_exception_handler(context)
