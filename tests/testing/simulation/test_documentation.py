"""docs/testing.md tells of every fault and every profile, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from oarlock.testing.simulation.faults import KINDS, PROFILES
from oarlock.testing.simulation.subject import DEADLINE_S

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text()


def section(title: str) -> str:
    """What stands under a heading."""
    return PAGE.split(f"\n### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


def test_the_table_of_faults_has_each_kind_in_its_order() -> None:
    rows = re.findall(r"^\| ([^|`]+) \|", section("Faults"), re.MULTILINE)
    assert [row for row in rows if row not in ("kind", "---")] == list(KINDS)


def test_the_table_of_profiles_has_each() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("Profiles"), re.MULTILINE) == list(PROFILES)


def test_the_deadline_is_the_one_that_users_are_promised() -> None:
    assert "Every request is answered: within five seconds," in (ROOT / "README.md").read_text()
    assert DEADLINE_S == 5


def test_the_example_of_a_machine_of_one_s_own_runs() -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert "def test_counter" in example
    space: dict[str, Any] = {}
    exec(example, space)
    verdicts = space["simulate"](space["Counter"], space["use"], seeds=[1], seconds=3, another_hash_seed=False)
    assert verdicts[0].ok
