"""The layer table of docs/architecture.md: imports point downward only, and what decides touches nothing outside.

It reads the package's source, so a new module is covered by being there.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import oarlock

PACKAGE = Path(oarlock.__file__).parent

LAYERS = {
    "errors": 0,
    "types": 0,
    "state_machine": 0,
    "core": 1,
    "kv": 1,
    "storage": 2,
    "network": 2,
    "node": 3,
    "server": 4,
    "client": 4,
    "testing": 5,
    "cli": 6,
    "__init__": 6,  # what a user imports: may re-export from everywhere
    "__main__": 7,
}
"""Part → layer. A part may import itself and whatever lies in a lower layer; never a neighbour."""

NEIGHBOURS = {("errors", "types"), ("state_machine", "types"), ("state_machine", "errors")}
"""Within the lowest layer, which is plain vocabulary, these may import each other; no cycles."""

PURE = ("core", "kv")
FORBIDDEN_IN_PURE = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "queue", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "uuid", "uvloop", "_thread",
}  # fmt: skip
FORBIDDEN_BUILTINS = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}

WAITS_FOR_ITS_INPUT = ("kv/machine.py", "restore")
"""The one function there that is given something to wait for."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST, module: Path) -> Iterator[tuple[int, str, str]]:
    """Every import as (line, module, name or ""), relative ones made absolute, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = ["oarlock", *module.relative_to(PACKAGE).parent.parts]
                source = ".".join([*package[: len(package) - node.level + 1], *([source] if source else [])])
            for alias in node.names:
                yield node.lineno, source, alias.name


def wrong_imports(source: str, module: Path) -> list[str]:
    part = part_of(module)
    wrong = []
    for line, imported, name in imports(ast.parse(source), module):
        if imported.split(".")[0] != "oarlock":
            continue
        below = imported.split(".")[1] if "." in imported else (name if name in LAYERS else "__init__")
        allowed = (
            below == part
            or (part, below) in NEIGHBOURS
            or LAYERS[below] < LAYERS[part]
            or (below == "__init__" and name.startswith("__"))
        )
        if not allowed:
            wrong.append(f"{module}:{line}: {part} (layer {LAYERS[part]}) imports {below} (layer {LAYERS[below]})")
    return wrong


def impurities(source: str, module: Path) -> list[str]:
    tree = ast.parse(source)
    wrong = []
    for line, imported, name in imports(tree, module):
        root = imported.split(".")[0]
        if root in FORBIDDEN_IN_PURE:
            wrong.append(f"{module}:{line}: imports {imported}")
        if root == "random" and name not in ("", "Random"):
            wrong.append(f"{module}:{line}: imports random.{name}, which draws from the global source")
    annotations = {id(inner) for node in annotated(tree) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            if node.attr != "Random":
                wrong.append(f"{module}:{node.lineno}: uses random.{node.attr}, which draws from the global source")
            elif id(node) not in annotations:
                wrong.append(f"{module}:{node.lineno}: makes a random.Random of its own; it is given one")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_BUILTINS:
            wrong.append(f"{module}:{node.lineno}: calls {node.func.id}")
        if isinstance(node, ast.Await) or (
            isinstance(node, ast.AsyncFunctionDef)
            and (str(module.relative_to(PACKAGE)), node.name) != WAITS_FOR_ITS_INPUT
        ):
            wrong.append(f"{module}:{node.lineno}: waits")
    return wrong


def annotated(tree: ast.AST) -> Iterator[ast.AST]:
    """Every annotation in the module."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if annotation := getattr(node, field, None):
                yield annotation


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_downward_only(module: Path) -> None:
    assert part_of(module) in LAYERS, "a new part needs its place in the table"
    assert wrong_imports(module.read_text(), module) == []


@pytest.mark.parametrize(
    "module",
    [module for module in modules() if part_of(module) in PURE],
    ids=lambda module: str(module.relative_to(PACKAGE)),
)
def test_what_decides_touches_nothing_outside(module: Path) -> None:
    assert impurities(module.read_text(), module) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("core/x.py", "import oarlock.node.api"),
        ("core/x.py", "from oarlock.kv import machine"),
        ("core/x.py", "from oarlock import storage"),
        ("core/x.py", "from .. import node"),
        ("core/x.py", "from ..network.codec import encode"),
        ("core/x.py", "from oarlock import Node"),
        ("kv/x.py", "from oarlock.core import Raft"),
        ("storage/x.py", "import oarlock.network"),
        ("network/x.py", "def late() -> None:\n    from oarlock.node import api"),
        ("node/x.py", "from oarlock.server import redis"),
        ("server/x.py", "from oarlock.client import pool"),
        ("types.py", "from oarlock.errors import OarlockError"),
    ],
)
def test_this_test_can_fail_for_imports(part: str, source: str) -> None:
    assert wrong_imports(source, PACKAGE / part)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "import os.path",
        "import socket",
        "import threading",
        "import asyncio",
        "import datetime",
        "def late() -> None:\n    import time",
        "import random\nrandom.random()",
        "import random\nrandom.seed(1)",
        "import random\nrng = random.Random(1)",
        "from random import choice",
        "open('x')",
        "async def wait() -> None: ...",
    ],
)
def test_this_test_can_fail_for_impurities(source: str) -> None:
    assert impurities(source, PACKAGE / "core" / "x.py")


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("core/x.py", "from oarlock.types import Term\nfrom . import quorum\nfrom .log import Log"),
        ("cli/x.py", "import oarlock.node.api\nfrom oarlock import __version__"),
        ("testing/x.py", "from oarlock.server import redis"),
    ],
)
def test_and_pass(part: str, source: str) -> None:
    assert wrong_imports(source, PACKAGE / part) == []


def test_random_random_is_welcome_as_a_type() -> None:
    source = "import random\ndef f(rng: random.Random) -> random.Random:\n    return rng"
    assert impurities(source, PACKAGE / "core" / "x.py") == []
