"""What may be compiled (``hatch_build.py``), and that a compiled replica decides as an interpreted one does."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import oarlock

PROJECT = Path(__file__).parent.parent
MODULES: list[str] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["hooks"]["custom"]["modules"]

NOT_DEEP = {
    "encode_messages",  # halves what it encodes
    "_parts",  # of replies, which nest as results of the state machine do
    "keys_of",  # of a transaction, which holds no other
}

RUN = """
from oarlock.testing.simulation.run import Plan, run
for seed in (5, 6, 7):
    print(run(Plan(seed, "mixed", seconds=6, clients=4)).trace_hash)
"""


def source_of(module: str) -> ast.Module:
    return ast.parse((PROJECT / "src" / f"{module.replace('.', '/')}.py").read_text())


@pytest.mark.parametrize("module", MODULES)
def test_a_compiled_module_holds_nothing_that_mypyc_would_silently_change(module: str) -> None:
    """It drops a class's options: a message would lose its tag, and what is frozen could be changed."""
    optioned = [node.name for node in ast.walk(source_of(module)) if isinstance(node, ast.ClassDef) and node.keywords]
    assert not optioned, f"{', '.join(optioned)} of {module} would lose what stands behind its base"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_waits_where_an_exception_is_being_handled(module: str) -> None:
    """What a coroutine has caught is not kept over a suspension: a bare `raise` would raise another task's."""
    handling: list[ast.AST] = []
    for node in ast.walk(source_of(module)):
        if isinstance(node, ast.ExceptHandler):
            handling.append(node)
        elif isinstance(node, ast.Try):
            handling += node.finalbody
    waits = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncWith, ast.AsyncFor)
    lines = [inner.lineno for node in handling for inner in ast.walk(node) if isinstance(inner, waits)]
    assert not lines


@pytest.mark.parametrize("module", [module for module in MODULES if ".kv." in module])
def test_no_answer_is_given_in_steps_by_what_is_compiled(module: str) -> None:
    """A generator of its is none of :class:`types.GeneratorType`, by which such answers are known."""
    assert not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(source_of(module)))


@pytest.mark.parametrize("module", MODULES)
def test_no_compiled_function_calls_itself_as_often_as_its_input_says(module: str) -> None:
    """Compiled, nothing counts the calls: too deep a nesting ends the process, and not the call."""
    calling_themselves = set(_calling_themselves(source_of(module)))
    assert calling_themselves <= NOT_DEEP, calling_themselves


def _calling_themselves(tree: ast.Module) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
            for target in called:
                match target:
                    case ast.Name(id=function.name) | ast.Attribute(ast.Name("self" | "cls"), attr=function.name):
                        yield function.name


def test_what_is_said_to_be_compiled_is() -> None:
    extensions = [module for module in MODULES if not str(import_module(module).__file__).endswith(".py")]
    assert extensions == (MODULES if oarlock.__compiled__ else [])


@pytest.mark.skipif(not oarlock.__compiled__, reason="there is nothing to compare with: make test-compiled")
def test_the_same_seeds_give_the_same_runs_interpreted() -> None:
    """To the last message, wait and write."""
    hashes = []
    for path in (os.environ.get("PYTHONPATH", ""), str(PROJECT / "src")):
        done = subprocess.run(
            [sys.executable, "-c", f"import oarlock; print(oarlock.__compiled__){RUN}"],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        hashes.append(done.stdout.splitlines())
    (compiled, *mine), (interpreted, *other) = hashes
    assert (compiled, interpreted) == ("True", "False")
    assert len(mine) == 3 and mine == other
