"""Fetching a snapshot: in order, again where it is not answered, and never two files in one."""

import asyncio
import errno
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from oarlock.core.ready import Fetch
from oarlock.network.messages import PeerMessage, SnapshotChunk, SnapshotGone, SnapshotRequest
from oarlock.node.fetching import (
    ANSWER_S,
    OPEN_PARTS,
    PART_BYTES,
    RETRY_S,
    UNNAMED_S,
    Download,
    SnapshotFetcher,
)
from oarlock.node.serving import SnapshotServer
from oarlock.storage.snapshot import SnapshotFile
from oarlock.storage.snapshots import SnapshotStore, StoredSnapshot
from oarlock.testing.memory_disk import MemoryDisk
from oarlock.types import Index, ReplicaId, Term
from tests.node.fake_snapshots import POINT, FakeFile, FakeStore, told
from tests.storage.snapshots import header_at, open_store, take
from tests.testing.simulation.world import World

LEADER, OTHER, OWN = ReplicaId(1), ReplicaId(2), ReplicaId(3)
SOURCE = Fetch(LEADER, *POINT)
TEN_PARTS = bytes(range(256)) * (10 * PART_BYTES // 256) + b"and a bit"


def answer(request: SnapshotRequest, data: bytes = TEN_PARTS, total_bytes: int | None = None) -> SnapshotChunk:
    part = data[request.offset : request.offset + request.size]
    return SnapshotChunk(request.index, request.term, total_bytes or len(data), request.offset, part)


def request(part: int, point: tuple[Index, Term] = POINT) -> SnapshotRequest:
    return SnapshotRequest(*point, part * PART_BYTES, PART_BYTES)


def parts(requests: list[SnapshotRequest]) -> list[int]:
    assert all(one.size == PART_BYTES and (one.index, one.term) == POINT for one in requests)
    return [one.offset // PART_BYTES for one in requests]


def begun(now: float = 0.0) -> Download:
    """A download of which the first part is written."""
    download = Download(SOURCE, now)
    [first] = download.requests(now)
    download.received(LEADER, answer(first))
    download.written()
    return download


# ── the parts of one file ────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_part_tells_the_size_and_then_a_few_are_open_at_a_time() -> None:
    download = Download(SOURCE, 0.0)
    assert parts(download.requests(0.0)) == [0]
    assert parts(download.requests(0.0)) == []
    download.received(LEADER, answer(request(0)))
    assert parts(download.requests(0.0)) == [1, 2, 3], "what has arrived and is not written is open too"
    download.written()
    assert parts(download.requests(0.0)) == [4]


def test_the_end_of_the_file_is_the_end_of_the_requests() -> None:
    download, now = begun(), 0.0
    while not download.complete:
        for one in download.requests(now):
            download.received(LEADER, answer(one))
        while download.next_part is not None:
            download.written()
    assert download.written_bytes == len(TEN_PARTS)
    assert download.requests(now + 2 * ANSWER_S) == []


def test_parts_are_written_in_order_whatever_order_they_come_in() -> None:
    download = begun()
    requests = download.requests(0.0)
    for one in requests[::-1][:-1]:
        download.received(LEADER, answer(one))
        assert download.next_part is None
    download.received(LEADER, answer(requests[0]))
    for one in requests:
        assert download.next_part == answer(one).data
        download.written()
    assert download.next_part is None


def test_what_is_not_answered_in_time_is_asked_for_again_from_where_the_file_is() -> None:
    download = begun()
    assert parts(download.requests(0.0)) == [1, 2, 3, 4]
    download.received(LEADER, answer(request(1)))
    download.received(LEADER, answer(request(3)))
    download.written()
    assert parts(download.requests(0.5)) == [5]
    assert download.deadline(0.5) == ANSWER_S
    assert parts(download.requests(ANSWER_S)) == [2, 4]
    assert download.deadline(ANSWER_S) == 0.5 + ANSWER_S


def test_after_a_new_link_all_that_is_missing_is_asked_for_at_once() -> None:
    download = begun()
    download.requests(0.0)
    download.received(LEADER, answer(request(1)))
    download.received(LEADER, answer(request(3)))
    download.reconnected()
    assert parts(download.requests(0.1)) == [2, 4]
    download.written()
    assert parts(download.requests(0.1)) == [5]


@pytest.mark.parametrize(
    ("sender", "chunk"),
    [
        (OTHER, answer(request(1))),
        (LEADER, answer(request(1, (Index(71), Term(3))))),
        (LEADER, answer(request(1, (Index(70), Term(4))))),
        (LEADER, answer(request(0))),
        (LEADER, answer(request(5))),
        (LEADER, SnapshotChunk(*POINT, len(TEN_PARTS), PART_BYTES, b"short")),
        (LEADER, SnapshotChunk(*POINT, len(TEN_PARTS), PART_BYTES, b"")),
        (LEADER, SnapshotChunk(*POINT, len(TEN_PARTS), PART_BYTES, bytes(PART_BYTES + 1))),
        (LEADER, SnapshotChunk(*POINT, len(TEN_PARTS), -PART_BYTES, bytes(PART_BYTES))),
    ],
    ids=["peer", "index", "term", "written", "not asked", "short", "empty", "long", "negative"],
)
def test_what_is_no_missing_part_of_this_file_changes_nothing(sender: ReplicaId, chunk: SnapshotChunk) -> None:
    download = begun()
    download.requests(0.0)
    download.received(sender, chunk)
    assert not download.void
    assert not download._parts, "nor does it take memory"
    assert parts(download.requests(ANSWER_S)) == [1, 2, 3, 4]


def test_an_empty_file_is_no_answer() -> None:
    download = Download(SOURCE, 0.0)
    download.requests(0.0)
    download.received(LEADER, SnapshotChunk(*POINT, 0, 0, b""))
    assert not download.complete
    assert download.next_part is None


def test_a_part_that_comes_twice_is_written_once() -> None:
    download = begun()
    one = download.requests(0.0)[0]
    download.received(LEADER, answer(one))
    download.received(LEADER, answer(one))
    download.written()
    download.received(LEADER, answer(one))
    assert not download._parts
    assert download.written_bytes == 2 * PART_BYTES


def test_a_file_that_is_gone_or_has_become_another_is_given_up() -> None:
    for sender, index, term, void in ((LEADER, 70, 3, True), (OTHER, 70, 3, False), (LEADER, 71, 3, False)):
        download = begun()
        download.gone(sender, SnapshotGone(Index(index), Term(term)))
        assert download.void is void
        assert download.is_needed(0.0) is not void
    download = begun()
    download.requests(0.0)
    download.received(LEADER, answer(request(1), total_bytes=len(TEN_PARTS) + 1))
    assert download.void


def test_what_the_leader_has_not_named_for_long_is_needed_no_more() -> None:
    download = begun()
    assert download.is_needed(UNNAMED_S - 1)
    download.named(UNNAMED_S - 1)
    assert download.is_needed(UNNAMED_S + 1)
    assert not download.is_needed(2 * UNNAMED_S - 1)


# ── fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Follower:
    """One that fetches, and what comes of it."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.asked: list[tuple[ReplicaId, PeerMessage]] = []
        self.fetched: list[bytes] = []
        self.failed: list[BaseException] = []
        self.fetcher = SnapshotFetcher(
            OWN,
            self.store,
            lambda peer, message: self.asked.append((peer, message)),
            self.fetched.append,
            self.failed.append,
        )

    def want(self, leader: ReplicaId = LEADER, point: tuple[Index, Term] = POINT) -> None:
        self.fetcher.want(Fetch(leader, *point))

    async def answer_all(self, data: bytes = TEN_PARTS) -> None:
        """Answer what is asked until nothing more is."""
        while self.asked:
            asked, self.asked[:] = list(self.asked), []
            for peer, one in asked:
                assert isinstance(one, SnapshotRequest)
                self.fetcher.received(peer, answer(one, data))
            await idle()


async def idle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def play(story: Callable[[Follower], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def whole() -> None:
        follower = Follower()
        await story(follower)
        await follower.fetcher.close()
        assert all(one.state != "open" for one in follower.store.received), "a file is left behind"
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    return told(story, whole)


@play
async def test_what_the_leader_names_is_fetched_and_kept(follower: Follower) -> None:
    follower.want()
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]
    assert follower.fetcher._timer is None
    assert not follower.failed


@play
async def test_that_it_is_named_again_changes_nothing(follower: Follower) -> None:
    follower.want()
    await idle()
    follower.asked.clear()
    follower.want()
    await idle()
    assert follower.asked == []
    await asyncio.sleep(ANSWER_S)
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]


@play
async def test_while_the_disk_is_busy_no_more_than_a_few_parts_are_held(follower: Follower) -> None:
    follower.want()
    follower.store.gate.clear()
    await follower.answer_all()
    assert len(follower.fetcher._download._parts) == OPEN_PARTS  # type: ignore[union-attr]
    await asyncio.sleep(5 * ANSWER_S)
    assert follower.asked == []
    follower.store.gate.set()
    await idle()
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]


@play
async def test_after_a_new_link_to_the_leader_it_asks_at_once(follower: Follower) -> None:
    follower.want()
    follower.asked.clear()
    follower.fetcher.connected(OTHER)
    assert follower.asked == []
    follower.fetcher.connected(LEADER)
    assert follower.asked == [(LEADER, request(0))]


@play
async def test_a_newer_one_of_the_same_leader_waits_until_the_first_is_there(follower: Follower) -> None:
    """It is taken while the first is sent; or a large one would never arrive."""
    newer = (Index(90), Term(4))
    follower.want()
    await idle()
    follower.fetcher.received(LEADER, answer(request(0)))
    await idle()
    asked = list(follower.asked)
    follower.want(LEADER, newer)
    assert follower.asked == asked
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]
    follower.want(LEADER, newer)
    assert follower.asked == [(LEADER, request(0, newer))]


@play
async def test_the_snapshot_of_another_is_begun_from_its_start_and_the_first_is_dropped(follower: Follower) -> None:
    """Also at the same index: it is another file."""
    for leader, point in ((OTHER, (Index(90), Term(4))), (OTHER, POINT)):
        begun_before = len(follower.store.received)
        follower.want()
        await idle()
        follower.fetcher.received(LEADER, answer(request(0)))
        await idle()
        follower.fetcher.received(LEADER, answer(request(1)))
        follower.store.gate.clear()
        await idle()
        follower.asked.clear()
        follower.want(leader, point)
        assert follower.asked == [(leader, request(0, point))]
        follower.fetcher.received(LEADER, answer(request(2)))
        follower.store.gate.set()
        other = TEN_PARTS[::-1]
        await follower.answer_all(other)
        assert follower.fetched.pop() == other
        assert [one.state for one in follower.store.received[begun_before:]] == ["aborted", "finished"]


@play
async def test_what_is_gone_is_dropped_and_begun_again_when_it_is_named_again(follower: Follower) -> None:
    follower.want()
    await idle()
    follower.fetcher.received(LEADER, answer(request(0)))
    await idle()
    follower.asked.clear()
    follower.fetcher.received(LEADER, SnapshotGone(*POINT))
    await idle()
    assert follower.store.received[0].state == "aborted"
    follower.want()
    assert follower.asked == [], "not at once: there may be something wrong with it"
    follower.want(LEADER, (Index(90), Term(4)))
    assert follower.asked == [(LEADER, request(0, (Index(90), Term(4))))]
    follower.fetcher.received(LEADER, SnapshotGone(Index(90), Term(4)))
    await asyncio.sleep(RETRY_S)
    follower.asked.clear()
    follower.want()
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]


@play
async def test_what_nobody_names_any_more_is_dropped(follower: Follower) -> None:
    follower.want()
    follower.fetcher.received(LEADER, answer(request(0)))
    await asyncio.sleep(UNNAMED_S - 1)
    follower.want()
    await asyncio.sleep(UNNAMED_S - 1)
    assert follower.store.received[0].state == "open"
    await asyncio.sleep(3)
    assert follower.store.received[0].state == "aborted"
    assert follower.fetcher._timer is None


@play
async def test_a_damaged_file_is_fetched_again_after_a_while(follower: Follower) -> None:
    follower.store.corrupt = 1
    follower.want()
    await follower.answer_all()
    assert follower.fetched == []
    follower.want()
    assert follower.asked == []
    await asyncio.sleep(RETRY_S)
    follower.want()
    await follower.answer_all()
    assert follower.fetched == [TEN_PARTS]
    assert not follower.failed


@play
async def test_a_full_disk_is_waited_for_and_any_other_error_is_final(follower: Follower) -> None:
    follower.store.error = OSError(errno.ENOSPC, "full")
    follower.want()
    await follower.answer_all()
    assert not follower.failed
    await asyncio.sleep(RETRY_S)
    follower.store.error = OSError(errno.EIO, "broken")
    follower.want()
    await follower.answer_all()
    assert follower.failed == [follower.store.error]


def test_the_log_tells_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oarlock")

    @play
    async def story(follower: Follower) -> None:
        follower.want()
        await follower.answer_all(TEN_PARTS * 5)

    story()
    assert len(caplog.messages) == 11, "the beginning, and every tenth"


# ── with the other side ──────────────────────────────────────────────────────────────────────────────────────────


def test_from_one_directory_into_another() -> None:
    async def whole() -> None:
        disk = MemoryDisk(random.Random(1))
        await take(disk, await open_store(disk), header_at(7), [bytes(PART_BYTES), b"the end"])
        original = await SnapshotFile.open(disk, disk.paths()[-1])
        store = await SnapshotStore.open(MemoryDisk(random.Random(2)), "/other", original.header.cluster_id)
        fetched: list[StoredSnapshot] = []
        failed: list[BaseException] = []

        async def open_snapshot(index: Index, term: Term) -> SnapshotFile:
            return original

        def answers(_: ReplicaId, message: PeerMessage) -> None:
            assert isinstance(message, SnapshotChunk)
            fetcher.received(LEADER, message)

        def asks(_: ReplicaId, message: PeerMessage) -> None:
            assert isinstance(message, SnapshotRequest)
            server.received(OWN, message)

        server = SnapshotServer(open_snapshot, answers, lambda peer: 0, failed.append)
        fetcher = SnapshotFetcher(OWN, store, asks, fetched.append, failed.append)
        fetcher.want(Fetch(LEADER, original.header.point.index, original.header.point.term))
        await asyncio.sleep(1)
        assert not failed
        assert [one.header for one in fetched] == [original.header]
        assert store.newest == fetched[0]
        await fetcher.close()
        await server.close()

    World().result(whole())


@pytest.mark.parametrize("seed", range(20))
def test_over_a_bad_network_the_file_arrives_whole(seed: int) -> None:
    """What goes either way may be lost, late, repeated and out of order; the leader changes; files go."""
    rng = random.Random(seed)
    world = World(seed)

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        files = {
            leader: {
                (Index(index), Term(3)): FakeFile(rng.randbytes(rng.randrange(1, 6 * PART_BYTES))) for index in (70, 90)
            }
            for leader in (LEADER, OTHER)
        }

        def carried(deliver: Callable[[PeerMessage], None]) -> Callable[[ReplicaId, PeerMessage], None]:
            def send(_: ReplicaId, message: PeerMessage) -> None:
                for _ in range(rng.choice((0, 1, 1, 1, 2))):
                    loop.call_later(rng.choice((0.001, 0.01, 2.0)), deliver, message)

            return send

        def opener(leader: ReplicaId) -> Callable[[Index, Term], Coroutine[Any, Any, FakeFile | None]]:
            async def open_snapshot(index: Index, term: Term) -> FakeFile | None:
                file = files[leader].get((index, term))
                return FakeFile(file.data) if file is not None and rng.random() < 0.9 else None

            return open_snapshot

        def serving(leader: ReplicaId) -> SnapshotServer:
            def deliver(message: PeerMessage) -> None:
                assert isinstance(message, SnapshotChunk | SnapshotGone)
                follower.fetcher.received(leader, message)

            return SnapshotServer(opener(leader), carried(deliver), lambda peer: 0, follower.failed.append)

        follower = Follower()
        servers = {leader: serving(leader) for leader in (LEADER, OTHER)}

        def asks(leader: ReplicaId, message: PeerMessage) -> None:
            assert isinstance(message, SnapshotRequest)
            carried(lambda message: servers[leader].received(OWN, message))(leader, message)  # type: ignore[arg-type]

        follower.fetcher._send = asks
        named = (LEADER, (Index(70), Term(3)))
        while not follower.fetched:
            if rng.random() < 0.01:
                named = (rng.choice((LEADER, OTHER)), (Index(rng.choice((70, 90))), Term(3)))
            if rng.random() < 0.02:
                follower.fetcher.connected(named[0])
            follower.want(*named)
            await asyncio.sleep(0.1)
        whole_files = [file.data for held in files.values() for file in held.values()]
        assert follower.fetched[0] in whole_files, "it is made of two files"
        await follower.fetcher.close()
        for server in servers.values():
            await server.close()
        assert not follower.failed

    world.result(whole(), until=2000)
