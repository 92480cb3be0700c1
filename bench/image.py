"""What it costs to take a snapshot of a million keys, to write meanwhile, and to restore it: the machine alone.

No replica, no disk, no network: a key-value machine in this process. A step is one piece, which the event loop waits
for. All times are processor time, since other work on the machine is not what is measured. Beside it stands what was
not chosen: to copy all shards at once when the snapshot begins, and to compress.
"""

import argparse
import asyncio
import gc
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from random import Random
from sys import getsizeof

from vitals import resident_bytes

from oarlock.kv import KeyValue
from oarlock.state_machine import Position
from oarlock.types import Index

AT = Position(Index(1), 0)
BATCH = 64
"""Commands of one call of apply."""


def main() -> None:
    options = parse_arguments()
    random = Random(1)
    machine = KeyValue()
    before = resident()
    commands = [(b"SET", b"key:%012d" % n, random.randbytes(options.value_bytes)) for n in range(options.keys)]
    batches = [commands[start : start + BATCH] for start in range(0, options.keys, BATCH)]
    for batch in batches:
        machine.apply(batch, AT)
    gc.freeze()
    print(f"{len(machine):,} keys of 16 bytes, values of {options.value_bytes} random ones\n")
    say("the state, and the commands that made it", f"{(resident() - before) / 2**20:,.0f} MiB")

    taking(machine)
    writing(machine, batches, options.repeat)
    restoring(machine)
    instead(machine)


def taking(machine: KeyValue) -> None:
    before = resident()
    started = time.thread_time()
    under_way = machine.snapshot()
    begun = time.thread_time()
    memory = resident() - before
    cpu, steps, size, pieces = time.thread_time(), [], 0, 0
    while True:
        at = time.thread_time()
        piece = next(under_way, None)
        steps.append(time.thread_time() - at)
        if piece is None:
            break
        size += len(piece)
        pieces += 1
    say("begin a snapshot", f"{(begun - started) * 1e3:.2f} ms, {memory / 2**20:.1f} MiB")
    say("a step", spread(steps))
    say("all of it", f"{time.thread_time() - cpu:.2f} s of CPU, {pieces:,} pieces, {size / 2**20:.1f} MiB")


def writing(machine: KeyValue, batches: list[list[tuple[bytes, ...]]], repeat: int) -> None:
    """Set every key again, in the order in which it was set first."""

    def all_again() -> None:
        for batch in batches:
            machine.apply(batch, AT)

    alone, under, again = [], [], []
    for _ in range(repeat):
        alone.append(cpu_s(all_again))
        kept = machine.snapshot()
        next(kept)
        under.append(cpu_s(all_again))
        again.append(cpu_s(all_again))
        tables = machine._data._images[0].remembered()
        remembered = sum(getsizeof(table) + sum(map(getsizeof, table.values())) for table in tables)
        del kept, tables
        machine.apply([], AT)
        while machine._data._rubbish:
            machine.apply([], AT)
    count = sum(map(len, batches))
    for label, seconds in (
        ("a SET", alone),
        ("the first SET of a key during a snapshot", under),
        ("another SET of it", again),
    ):
        say(label, f"{min(seconds) / count * 1e6:.2f} µs")
    say("remembered, when all keys have changed", f"{remembered / 2**20:.0f} MiB, replaced values among it")


def restoring(machine: KeyValue) -> None:
    pieces = list(machine.snapshot())
    other = KeyValue()
    steps = []

    async def arriving() -> AsyncIterator[bytes]:
        at = time.thread_time()
        for piece in pieces:
            yield piece
            steps.append(time.thread_time() - at)
            at = time.thread_time()

    seconds = cpu_s(lambda: asyncio.run(other.restore(arriving())))
    assert len(other) == len(machine)
    say("restore it", f"{seconds:.2f} s of CPU, {len(machine) / seconds:,.0f} keys a second")
    say("a step of that", spread(steps))
    empty = list(KeyValue().snapshot())

    async def replace() -> float:
        started = time.thread_time()
        await other.restore(just(empty))
        return time.thread_time() - started

    say("replace it by an empty one", f"{asyncio.run(replace()) * 1e3:.2f} ms")
    steps = []
    while other._data._rubbish:
        at = time.thread_time()
        other.apply([], AT)
        steps.append(time.thread_time() - at)
    say("free it, a step", spread(steps))


def instead(machine: KeyValue) -> None:
    print("\nWhat was not chosen:\n")
    before, at = resident(), time.thread_time()
    copies = [shard.copy() for shard in machine._data.shards]
    say(
        "copy all shards to begin with",
        f"{(time.thread_time() - at) * 1e3:.0f} ms at one go, {(resident() - before) / 2**20:.0f} MiB",
    )
    at = time.thread_time()
    del copies
    say("free the copies", f"{(time.thread_time() - at) * 1e3:.0f} ms at one go")
    pieces = list(machine.snapshot())
    size = sum(map(len, pieces))
    packed: list[bytes] = []
    seconds = cpu_s(lambda: packed.extend(zlib.compress(piece, 1) for piece in pieces))
    say(
        "compress by zlib, level 1",
        f"{seconds:.2f} s of CPU for {size / 2**20:.1f} MiB, of which {sum(map(len, packed)) / size:.0%} are left",
    )


async def just(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def spread(steps: list[float]) -> str:
    steps = sorted(step * 1e3 for step in steps)
    middle, high = steps[len(steps) // 2], steps[len(steps) * 99 // 100]
    return f"p50 {middle:.2f} ms, p99 {high:.2f} ms, longest {steps[-1]:.2f} ms of {len(steps):,}"


def cpu_s(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def resident() -> int:
    return resident_bytes(int(Path("/proc/self").resolve().name))


def say(what: str, figures: str) -> None:
    print(f"{what:42} {figures}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000, help="how many (1000000)")
    parser.add_argument("--value-bytes", type=int, default=16, help="of each value (16)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of a SET, of which the best counts (3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
