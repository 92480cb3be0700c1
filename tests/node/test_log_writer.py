"""The one who writes: in order, one write at a time, everything that gathered in one."""

import asyncio
import errno
import os
from collections.abc import Sequence

import msgspec

from oarlock.core.messages import CoreMessage, RequestVoteReply
from oarlock.core.ready import Mark, Persist
from oarlock.errors import ReplicaFailed
from oarlock.node.log_writer import DurablePosition, LogWriter, Outgoing
from oarlock.types import Entry, EntryKind, Index, ReplicaId, Term
from tests.node.cluster import eventually, scenario


class SlowWal:
    """Records what is appended, each only when it is let through."""

    has_space = True

    def __init__(self) -> None:
        self.appended: list[tuple[int, int, list[tuple[int, int]]]] = []
        self.bases: list[tuple[int, int] | None] = []
        self.running = 0
        self.error: Exception | None = None
        self._turnstile = asyncio.Semaphore(0)

    async def append(
        self, term: Term, vote: ReplicaId, entries: Sequence[Entry], base: tuple[Index, Term] | None = None
    ) -> None:
        self.running += 1
        assert self.running == 1, "one write at a time"
        await self._turnstile.acquire()
        self.running -= 1
        if self.error:
            raise self.error
        self.bases.append(base)
        self.appended.append((term, vote, [(entry.index, entry.term) for entry in entries]))

    def let_through(self, count: int = 1) -> None:
        for _ in range(count):
            self._turnstile.release()


class Desk:
    """A writer, and what it reported."""

    def __init__(self) -> None:
        self.wal = SlowWal()
        self.reports: list[tuple[Persist, Outgoing]] = []
        self.failures: list[BaseException] = []
        self.writer = LogWriter(
            self.wal,
            DurablePosition(Term(0), Index(0), Term(0)),
            lambda persist, messages: self.reports.append((persist, messages)),
            self.failures.append,
        )


def persist(term: int, *indexes: int, vote: int = 0) -> Persist:
    entries = tuple(Entry(Index(index), Term(term), EntryKind.BATCH, 0, b"") for index in indexes)
    mark = Mark(0, Index(indexes[-1] if indexes else 0), Term(term), vote)
    return Persist(Term(term), ReplicaId(vote), entries, mark)


def vote_for(replica: int) -> tuple[ReplicaId, CoreMessage]:
    return ReplicaId(replica), RequestVoteReply(Term(1), True, 5, 0)


@scenario
async def test_what_gathers_during_a_write_becomes_one_write_reported_by_its_last() -> None:
    desk = Desk()
    desk.writer.write(persist(1, 1), [])
    await eventually(lambda: desk.wal.running)
    desk.writer.write(persist(1, 2, 3), [vote_for(2)])
    desk.writer.write(last := persist(2, vote=3), [vote_for(3)])
    assert desk.reports == []
    desk.wal.let_through()
    await eventually(lambda: len(desk.reports) == 1)
    assert desk.reports[0][1] == [], "the messages of what is not durable yet stay"
    desk.wal.let_through()
    await eventually(lambda: desk.writer.idle)
    assert desk.wal.appended == [(1, 0, [(1, 1)]), (2, 3, [(2, 1), (3, 1)])]
    assert desk.reports[1] == (last, [vote_for(2), vote_for(3)])


@scenario
async def test_of_what_gathered_a_later_suffix_replaces_an_earlier_one() -> None:
    desk = Desk()
    desk.writer.write(persist(1), [])
    await eventually(lambda: desk.wal.running)
    for each in (persist(1, 5, 6, 7), persist(2, 6), persist(3, 4, 5), persist(3)):
        desk.writer.write(each, [])
    desk.wal.let_through(2)
    await eventually(lambda: desk.writer.idle)
    assert desk.wal.appended[1] == (3, 0, [(4, 3), (5, 3)])


@scenario
async def test_72_what_is_said_to_be_durable_is_what_is_on_the_disk() -> None:
    desk = Desk()
    desk.writer.write(persist(1, 1, 2, 3), [])
    assert desk.writer.durable == (0, 0, 0)
    desk.wal.let_through()
    await eventually(lambda: desk.writer.idle)
    desk.writer.write(persist(2, 2), [])
    assert desk.writer.durable == (1, 3, 1), "the suffix that is being replaced is there still"
    desk.wal.let_through()
    await eventually(lambda: desk.writer.idle)
    assert desk.writer.durable == (2, 2, 2)


def begun_anew(term: int, base: tuple[int, int], *indexes: int) -> Persist:
    index, base_term = base
    return msgspec.structs.replace(persist(term, *indexes), base=(Index(index), Term(base_term)))


@scenario
async def test_21_what_gathers_behind_a_snapshot_s_place_comes_after_it_and_what_gathered_before_it_is_gone() -> None:
    desk = Desk()
    desk.writer.write(persist(1), [])
    await eventually(lambda: desk.wal.running)
    for each in (persist(1, 5, 6), begun_anew(2, (30, 2)), persist(2, 31), persist(3, 32)):
        desk.writer.write(each, [])
    desk.wal.let_through(2)
    await eventually(lambda: desk.writer.idle)
    assert desk.wal.bases[1] == (30, 2)
    assert desk.wal.appended[1] == (3, 0, [(31, 2), (32, 3)])
    assert desk.writer.durable == (3, 32, 3)


@scenario
async def test_72_a_log_that_was_begun_anew_is_said_to_reach_to_the_snapshot() -> None:
    desk = Desk()
    desk.writer.write(persist(1, 1, 2, 3), [])
    desk.writer.write(begun_anew(4, (30, 2)), [])
    desk.wal.let_through(2)
    await eventually(lambda: desk.writer.idle)
    assert desk.writer.durable == (4, 30, 2)


@scenario
async def test_35_a_failed_write_is_reported_and_nothing_after_it_is() -> None:
    desk = Desk()
    desk.writer.write(persist(1, 1), [vote_for(2)])
    desk.wal.error = ReplicaFailed(os.strerror(errno.EIO))
    await eventually(lambda: desk.wal.running)
    desk.writer.write(persist(1, 2), [vote_for(3)])
    desk.wal.let_through()
    await eventually(lambda: desk.failures)
    await eventually(lambda: desk.writer.idle)
    assert desk.reports == []
    assert desk.writer.durable == (0, 0, 0)


@scenario
async def test_closing_waits_for_the_write_that_runs_and_drops_the_rest() -> None:
    desk = Desk()
    desk.writer.write(persist(1, 1), [])
    await eventually(lambda: desk.wal.running)
    desk.writer.write(persist(1, 2), [vote_for(2)])
    closing = asyncio.create_task(desk.writer.close())
    desk.wal.let_through()
    await closing
    assert desk.wal.appended == [(1, 0, [(1, 1)])]
    assert desk.writer.idle
