"""The targets of ``make fuzz`` are alive: each takes a few thousand inputs, and would notice a broken decoder."""

import errno
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from unittest import mock

import msgspec
import pytest
from fuzz import engines
from fuzz.guard import Guard, TooSlow
from fuzz.mutation import Fails, mutations, smaller
from fuzz.targets import TARGETS
from fuzz.worker import Silence

from oarlock.core import Raft
from oarlock.kv import glob, integers
from oarlock.network.frames import FrameDecoder
from oarlock.network.outbound import OutboundConnection
from oarlock.node import batch
from oarlock.server.redis import inline, replies
from oarlock.server.redis.protocol import RequestParser
from oarlock.storage import identity, replay, segment, snapshot
from oarlock.storage.frame import Frame

pytestmark = pytest.mark.interpreted  # targets extend and replace parts of decoders

INPUTS = 2_000
CPU_S = 0.3
"""What a target may use of the tests' time. The slow ones take fewer inputs."""
STRUCTURED = 25


def failure(target_name: str, inputs: int = INPUTS, cpu_s: float = CPU_S) -> BaseException | None:
    """What the first inputs of a target raise, if they do."""
    target = TARGETS[target_name]
    give_up_at = time.process_time() + cpu_s
    for number, data in enumerate(mutations(target.seeds, Random(1), inputs, target.max_bytes)):
        try:
            target.check(data)
        except Exception as error:
            return error
        if number >= len(target.seeds) and time.process_time() > give_up_at:
            break
    return None


@pytest.mark.parametrize("name", TARGETS)
def test_no_rule_is_broken_by_the_first_inputs(name: str) -> None:
    error = failure(name)
    if error is not None:
        raise error


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.valid is not None])
def test_generated_inputs_break_no_rule(name: str) -> None:
    guard = Guard(TARGETS[name].check)
    found: list[BaseException] = []
    engines.structured(TARGETS[name], guard, STRUCTURED, 1, lambda data, error: found.append(error))
    assert not found
    assert guard.inputs >= STRUCTURED


def forget_an_answer(encoded: Any) -> Any:
    def forgetful(*arguments: Any) -> Iterator[bytes]:
        return iter(list(encoded(*arguments))[1:])

    return forgetful


BROKEN: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "requests": (RequestParser, "_whole", lambda good: lambda self, data, out: out.append([b"x"]) or b""),
    "conversation": (replies, "encode", lambda good: lambda reply, resp3: good(reply, resp3)[:-1]),
    "inline": (inline, "_quoted", lambda good: lambda line, at, word: good(line, at, word) and len(line)),
    "integers": (integers, "MAX", lambda good: good - 1),
    "frames": (FrameDecoder, "__init__", lambda good: lambda self, limit: good(self, limit + 1)),
    "raft-port": (FrameDecoder, "feed", lambda good: lambda self, chunk: iter([*good(self, chunk)][:1])),
    "raft-dial": (OutboundConnection, "_surplus", lambda good: lambda self, body: None),
    "glob": (glob, "_NOT", lambda good: ord("!")),
    "core": (Raft, "commit_to", lambda good: lambda self, index: setattr(self, "commit_index", index)),
    "crafted-frames": (Frame, "entries", lambda good: lambda self: good(self) if len(range(self.last_index)) else []),
    "segment-header": (segment, "corrupt_log", lambda good: lambda *arguments: ValueError(arguments)),
    "snapshot": (snapshot, "corrupt_snapshot", lambda good: lambda *arguments: ValueError(arguments)),
    "identity": (identity, "_checksum", lambda good: lambda document: "another"),
    "batch": (batch, "_decode", lambda good: msgspec.msgpack.decode),
    "log": (replay, "later_header", lambda good: lambda *arguments: False),
    "recovery": (replay.Replay, "_judge_tail", lambda good: lambda self, *arguments: None),
}
"""Target → where to break the decoder, and how."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_decoder_is_noticed(name: str) -> None:
    place, attribute, broken = BROKEN[name]
    with mock.patch.object(place, attribute, broken(getattr(place, attribute))):
        assert failure(name, inputs=20_000, cpu_s=5) is not None


def test_an_input_without_end_is_noticed() -> None:
    def endless(data: bytes) -> None:
        while data:
            pass

    guard = Guard(endless)
    guard(b"")
    with pytest.raises(TooSlow), Ticking(guard):
        guard(b"x")


class Ticking:
    """Lets the guard's interval timer run, without the limit on memory, which would be the whole process's."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __enter__(self) -> None:
        self._guard.tick_every(0.02)

    def __exit__(self, *_: object) -> None:
        self._guard.tick_every(0)


def test_a_failing_input_is_made_small() -> None:
    def check(data: bytes) -> None:
        if b"a" in data and b"b" in data:
            raise OSError(errno.EIO, "found")

    assert smaller(b"xxaxx" * 9 + b"yyb" * 9, Fails(check, OSError())) in (b"ab", b"ba")


def test_an_error_in_the_log_is_a_finding() -> None:
    import logging

    record = logging.LogRecord("oarlock", logging.ERROR, "", 1, "a reply cannot be encoded", None, None)
    with pytest.raises(AssertionError, match="cannot be encoded"):
        Silence().emit(record)


def test_a_run_is_the_same_for_the_same_seed() -> None:
    seeds = TARGETS["requests"].seeds
    once, again, other = ([*mutations(seeds, Random(seed), 200, 100)] for seed in (1, 1, 2))
    assert once == again != other
