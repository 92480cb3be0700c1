"""Giving snapshots away: fairly, at a pace, and from files that are open no longer than they must be."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from oarlock.network.messages import PeerMessage, SnapshotChunk, SnapshotGone, SnapshotRequest
from oarlock.node.fetching import OPEN_PARTS, PART_BYTES
from oarlock.node.serving import BACKLOG_BYTES, BURST_S, BYTES_PER_S, IDLE_S, NEVER, RequestQueue, SnapshotServer
from oarlock.types import Index, ReplicaId, Term
from tests.node.fake_snapshots import POINT, FakeFile, told

ONE, TWO, THREE = ReplicaId(1), ReplicaId(2), ReplicaId(3)
PART_S = PART_BYTES / BYTES_PER_S
LATER = 1000.0


def request(part: int, index: int = 70) -> SnapshotRequest:
    return SnapshotRequest(Index(index), Term(3), part * PART_BYTES, PART_BYTES)


def queue_of(**requests: list[int]) -> RequestQueue:
    names = {"one": ONE, "two": TWO, "three": THREE}
    queue = RequestQueue()
    for name, wanted in requests.items():
        for part in wanted:
            queue.add(names[name], request(part))
    return queue


def drain(queue: RequestQueue) -> list[tuple[int, int]]:
    """All that wait, in the order in which they are answered."""
    order = []
    while queue:
        taken = queue.take(queue.deadline() + LATER)
        assert taken is not None
        order.append((int(taken[0]), taken[1].offset // PART_BYTES))
    return order


# ── whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────────


def test_everybodys_turn_comes_round_and_each_is_answered_in_order() -> None:
    queue = queue_of(one=[0, 1, 2, 3], two=[7], three=[4, 5])
    assert drain(queue) == [(1, 0), (2, 7), (3, 4), (1, 1), (3, 5), (1, 2), (1, 3)]


def test_who_asks_anew_waits_for_the_others_turns() -> None:
    queue = queue_of(one=[0], two=[0])
    assert queue.take(LATER) == (ONE, request(0))
    queue.add(ONE, request(1))
    assert drain(queue) == [(2, 0), (1, 1)]


def test_what_is_asked_twice_is_answered_once() -> None:
    assert drain(queue_of(one=[0, 1, 0, 1])) == [(1, 0), (1, 1)]


def test_what_waits_for_one_follower_is_bounded_and_the_newest_counts() -> None:
    assert drain(queue_of(one=list(range(OPEN_PARTS + 3)))) == [(1, 3), (1, 4), (1, 5), (1, 6)]


def test_what_a_follower_asked_for_is_dropped_when_it_is_gone() -> None:
    queue = queue_of(one=[0, 1], two=[0])
    queue.forget(ONE)
    queue.forget(ONE)
    assert drain(queue) == [(2, 0)]


@pytest.mark.parametrize(("offset", "size"), [(-1, 10), (0, 0), (0, -1), (0, PART_BYTES + 1)])
def test_a_request_that_makes_no_sense_is_dropped(offset: int, size: int) -> None:
    queue = RequestQueue()
    queue.add(ONE, SnapshotRequest(*POINT, offset, size))
    assert not queue
    assert queue.deadline() == NEVER
    assert queue.take(LATER) is None


# ── the pace ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_answers_together_keep_the_pace() -> None:
    queue, now, taken = RequestQueue(), LATER, 0
    while now < LATER + 1:
        for peer in (ONE, TWO, THREE):
            queue.add(peer, request(taken))
        if queue.take(now) is not None:
            taken += 1
        now = max(now, queue.deadline())
    assert taken * PART_BYTES == pytest.approx(BYTES_PER_S * (1 + BURST_S), rel=0.02)


def test_who_could_not_send_for_a_while_does_not_make_up_for_all_of_it() -> None:
    queue, taken = RequestQueue(), 0
    queue.add(ONE, request(0))
    while queue.take(LATER) is not None:
        taken += 1
        queue.add(ONE, request(taken))
    assert taken <= BURST_S / PART_S + 1
    assert LATER < queue.deadline() <= LATER + PART_S


# ── answering ────────────────────────────────────────────────────────────────────────────────────────────────────


class Leader:
    """One that serves, and what it says."""

    def __init__(self) -> None:
        self.files = {70: b"\x01" * 3 * PART_BYTES + b"end", 90: b"\x02" * 100}
        self.opened: list[FakeFile] = []
        self.open_error: OSError | None = None
        self.said: list[tuple[ReplicaId, PeerMessage]] = []
        self.said_at: list[float] = []
        self.backlog = {ONE: 0, TWO: 0}
        self.failed: list[BaseException] = []
        self.server = SnapshotServer(self._open, self._send, self.backlog.__getitem__, self.failed.append)

    async def _open(self, index: Index, term: Term) -> FakeFile | None:
        await asyncio.sleep(0)
        if self.open_error is not None:
            raise self.open_error
        if index not in self.files:
            return None
        self.opened.append(FakeFile(self.files[index]))
        return self.opened[-1]

    def _send(self, peer: ReplicaId, message: PeerMessage) -> None:
        self.said.append((peer, message))
        self.said_at.append(asyncio.get_running_loop().time())

    def chunk(self, part: int, index: int = 70) -> SnapshotChunk:
        data = self.files[index]
        offset = part * PART_BYTES
        return SnapshotChunk(Index(index), Term(3), len(data), offset, data[offset : offset + PART_BYTES])


def play(story: Callable[[Leader], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def whole() -> None:
        leader = Leader()
        await story(leader)
        await leader.server.close()
        assert all(file.closed for file in leader.opened)
        assert not leader.failed
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    return told(story, whole)


@play
async def test_a_request_is_answered_with_its_part(leader: Leader) -> None:
    for part in range(4):
        leader.server.received(ONE, request(part))
    leader.server.received(TWO, request(3))
    await asyncio.sleep(1)
    assert [message for peer, message in leader.said if peer == ONE] == [leader.chunk(part) for part in range(4)]
    assert [message for peer, message in leader.said if peer == TWO] == [leader.chunk(3)]
    assert len(leader.opened) == 1, "all share the open file"


@play
async def test_answers_are_paced(leader: Leader) -> None:
    for part in range(100):
        leader.server.received(ONE, request(part % 3))
        leader.server.received(TWO, request(part % 3))
        await asyncio.sleep(0.001)
    took_s = leader.said_at[-1] - leader.said_at[0]
    assert (len(leader.said) - 1) * PART_S <= took_s + BURST_S
    assert len(leader.said) > 8


@play
async def test_behind_the_end_there_is_nothing(leader: Leader) -> None:
    leader.server.received(ONE, request(4))
    leader.server.received(ONE, request(1 << 60))
    await asyncio.sleep(1)
    assert leader.said == []


@play
async def test_what_is_not_there_is_said_to_be_gone(leader: Leader) -> None:
    leader.server.received(ONE, request(0, index=5))
    await asyncio.sleep(1)
    assert leader.said == [(ONE, SnapshotGone(Index(5), Term(3)))]


@play
async def test_what_cannot_be_read_is_said_to_be_gone_and_opened_anew(leader: Leader) -> None:
    leader.open_error = OSError("broken")
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    leader.open_error = None
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    leader.opened[0].error = OSError("broken")
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    gone = SnapshotGone(*POINT)
    assert [message for _, message in leader.said] == [gone, leader.chunk(0), gone, leader.chunk(0)]
    assert [file.closed for file in leader.opened] == [True, False]


@play
async def test_a_link_in_which_much_is_waiting_gets_no_part(leader: Leader) -> None:
    leader.backlog[ONE] = BACKLOG_BYTES + 1
    leader.server.received(ONE, request(0))
    leader.server.received(TWO, request(0))
    await asyncio.sleep(1)
    assert leader.said == [(TWO, leader.chunk(0))]


@play
async def test_who_is_gone_is_not_answered(leader: Leader) -> None:
    leader.server.received(ONE, request(0))
    leader.server.disconnected(ONE)
    await asyncio.sleep(1)
    assert leader.said == []
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    assert leader.said == [(ONE, leader.chunk(0))]


@play
async def test_a_file_that_nobody_asks_for_is_closed(leader: Leader) -> None:
    leader.server.received(ONE, request(0))
    await asyncio.sleep(IDLE_S - 1)
    assert not leader.opened[0].closed
    leader.server.received(ONE, request(1))
    await asyncio.sleep(IDLE_S - 1)
    assert not leader.opened[0].closed
    await asyncio.sleep(2)
    assert leader.opened[0].closed
    leader.server.received(ONE, request(2))
    await asyncio.sleep(1)
    assert leader.said[-1] == (ONE, leader.chunk(2))


@play
async def test_who_has_had_all_of_it_and_begins_again_is_given_it_from_a_file_that_is_opened_anew(
    leader: Leader,
) -> None:
    for part in (0, 1, 2, 3, 3, 0, 1):
        leader.server.received(ONE, request(part))
        await asyncio.sleep(0.1)
    assert [file.closed for file in leader.opened] == [True, False]


@play
async def test_nor_does_another_that_is_asked_for_keep_it_open(leader: Leader) -> None:
    leader.files[90] = bytes(2 * PART_BYTES)
    leader.server.received(ONE, request(0))
    await asyncio.sleep(1)
    for _ in range(int(IDLE_S)):
        leader.server.received(TWO, request(0, index=90))
        await asyncio.sleep(1)
    leader.files[91] = b"newer"
    leader.server.received(TWO, request(0, index=91))
    await asyncio.sleep(1)
    assert [file.closed for file in leader.opened] == [True, False, False]
