"""Where inputs come from. Each engine gives a guard inputs until it has had enough of them, or raises.

``coverage`` keeps and mutates what reached new code (atheris, over libFuzzer). ``structured`` generates valid input,
spoils it in a few places, and reports the smallest that fails (hypothesis). ``chance`` spoils seeds at random.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzz.guard import Guard
from fuzz.mutation import mutations
from fuzz.target import Target

Failed = Callable[[bytes, BaseException], None]
"""What to do about an input that fails."""


def chance(target: Target, guard: Guard, inputs: int, seed: int, failed: Failed) -> None:
    """Mutations of the seeds. The same for the same seed."""
    for data in mutations(target.seeds, Random(seed), inputs, target.max_bytes):
        try:
            guard(data)
        except Exception as error:
            failed(data, error)
            return


def structured(target: Target, guard: Guard, inputs: int, seed: int, failed: Failed) -> None:
    """Valid input with a few edits, and every control. The same for the same seed."""
    import hypothesis
    from hypothesis import strategies as st

    if target.valid is None:
        spoilt = st.binary(max_size=target.max_bytes)
    else:
        edits = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1 << 16), st.binary(max_size=3)), max_size=3)
        spoilt = st.tuples(target.valid(), edits).map(lambda both: _spoil(*both))
    control = st.binary(min_size=target.controls, max_size=target.controls)
    last: list[tuple[bytes, BaseException]] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink), print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    @hypothesis.given(st.tuples(spoilt, control).map(b"".join))
    def every(data: bytes) -> None:
        try:
            guard(data)
        except Exception as error:
            last[:] = [(data, error)]
            raise

    try:
        every()
    except Exception:
        if not last:
            raise
        failed(*last[0])


def _spoil(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for operation, place, new in edits:
        at = place % (len(data) + 1)
        match operation:
            case 0:
                data = data[:at] + new + data[at:]
            case 1:
                data = data[:at] + new + data[at + len(new) :]
            case 2:
                data = data[:at]
            case _:
                data = data[:at] + data[at + 1 + len(new) :]
    return data


def coverage(
    target: Target, guard: Guard, inputs: int, seed: int, failed: Failed, done: Callable[[], None], directory: Path
) -> None:
    """Inputs that atheris derives from the seeds and from what reached new code. ``done`` or ``failed`` must end the
    process: libFuzzer does not return. What it learns stays in ``directory``, for the next run to begin with."""
    import atheris  # type: ignore[import-untyped]

    directory.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds):
        (directory / f"seed-{number:03d}").write_bytes(data)

    def one(data: bytes) -> None:
        try:
            guard(data)
        except Exception as error:
            failed(data, error)
        if guard.inputs >= inputs:
            done()

    options = {
        "seed": seed or 1, "max_len": target.max_bytes, "timeout": 60, "rss_limit_mb": 0, "malloc_limit_mb": 0,
        "detect_leaks": 0, "verbosity": 0, "print_final_stats": 0, "close_fd_mask": 0, "handle_int": 0,
        "artifact_prefix": f"{directory}/",
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(directory)], one)
    atheris.Fuzz()
    os._exit(1)
