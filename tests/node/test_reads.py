"""Open reads: every group is answered exactly once, from late enough a state, and by its deadline."""

from oarlock.errors import AuthorityTimedOut, ShuttingDown, Unavailable
from oarlock.node.reads import RESEND_S, RETRY_S, QueryGroup, Reads
from oarlock.types import Index
from tests.node.cluster import Recorder

NEVER = float("inf")


class Reader:
    """The reads of one replica."""

    def __init__(self) -> None:
        self.reads = Reads()
        self.sinks: dict[str, Recorder] = {}

    def arrive(self, *names: str, deadline: float = NEVER) -> None:
        """Queries arrive in one turn."""
        for name in names:
            self.sinks[name] = Recorder()
            self.reads.add(QueryGroup((name,), self.sinks[name], deadline))
        self.reads.form_round()

    def take_applied(self, applied: int) -> list[QueryGroup]:
        groups: list[QueryGroup] = []
        while (round_ := self.reads.take_applied(Index(applied))) is not None:
            groups += round_.groups
        return groups

    def answer(self, applied: int) -> list[str]:
        """What can be answered now that so much is applied."""
        groups = self.take_applied(applied)
        for group in groups:
            assert group.sink is not None
            group.sink.resolved(group.queries)
        return [group.queries[0] for group in groups]

    def error(self, name: str) -> type[Exception] | None:
        error = self.sinks[name].error
        return type(error) if error else None


def test_a_follower_asks_once_and_answers_when_the_index_is_applied() -> None:
    reader = Reader()
    reader.arrive("a", "b")
    number = reader.reads.next_request(0.0)
    assert number is not None
    assert reader.answer(100) == []  # applied much, but nothing is confirmed
    reader.reads.request_answered(number, Index(7), 0.0)
    assert reader.answer(6) == []
    assert reader.answer(7) == ["a", "b"]
    assert not reader.reads


def test_reads_that_arrive_while_a_request_is_under_way_share_the_next_and_not_that_one() -> None:
    reader = Reader()
    reader.arrive("a")
    first = reader.reads.next_request(0.0)
    reader.arrive("b")
    reader.arrive("c")
    assert reader.reads.next_request(0.0) is None
    assert first is not None
    reader.reads.request_answered(first, Index(1), 0.0)
    assert reader.answer(1) == ["a"], "an answer covers only what was asked before it"
    second = reader.reads.next_request(0.0)
    assert second is not None
    reader.reads.request_answered(second, Index(2), 0.0)
    assert reader.answer(2) == ["b", "c"]


def test_43_a_late_answer_to_a_number_given_up_counts_for_nothing() -> None:
    reader = Reader()
    reader.arrive("a")
    old = reader.reads.next_request(0.0)
    assert old is not None
    reader.reads.leader_lost(0.0)
    new = reader.reads.next_request(0.0)
    assert new is not None and new != old
    reader.reads.request_answered(old, Index(1), 0.0)
    assert reader.answer(100) == []
    reader.reads.request_answered(new, Index(9), 0.0)
    reader.reads.request_answered(new, Index(9), 0.0)
    assert reader.answer(9) == ["a"]


def test_a_refused_read_is_tried_again_after_a_pause() -> None:
    reader = Reader()
    reader.arrive("a")
    number = reader.reads.next_request(1.0)
    assert number is not None
    reader.reads.request_answered(number, None, 1.0)
    assert reader.reads.next_request(1.0 + RETRY_S / 2) is None
    assert reader.reads.next_request(1.0 + RETRY_S) is not None


def test_a_new_leader_is_asked_without_that_pause() -> None:
    reader = Reader()
    reader.arrive("a")
    number = reader.reads.next_request(1.0)
    assert number is not None
    reader.reads.request_answered(number, None, 1.0)
    reader.reads.leader_lost(1.0)
    assert reader.reads.next_request(1.0) is not None


def test_a_request_without_an_answer_is_sent_again_under_a_fresh_number() -> None:
    reader = Reader()
    reader.arrive("a")
    first = reader.reads.next_request(1.0)
    reader.reads.expire(1.0 + RESEND_S / 2, leader_known=True)
    assert reader.reads.next_request(1.0 + RESEND_S / 2) is None
    reader.reads.expire(1.0 + RESEND_S, leader_known=True)
    second = reader.reads.next_request(1.0 + RESEND_S)
    assert second is not None and second != first


def test_the_answer_of_a_slow_leader_still_counts() -> None:
    """Were only the newest request's answer good, one slower than the resending would never be heard."""
    reader = Reader()
    reader.arrive("a")
    first = reader.reads.next_request(1.0)
    assert first is not None
    reader.arrive("b")
    reader.reads.expire(1.0 + RESEND_S, leader_known=True)
    second = reader.reads.next_request(1.0 + RESEND_S)
    assert second is not None
    reader.reads.request_answered(first, Index(5), 1.0)
    assert reader.answer(5) == ["a"], "and for what it was asked"
    third = reader.reads.next_request(1.0 + RESEND_S)
    assert third is not None
    reader.reads.request_answered(second, Index(6), 1.0)
    assert reader.answer(6) == [], "that was for the round before"
    reader.reads.request_answered(third, Index(6), 1.0)
    assert reader.answer(6) == ["b"]


def test_a_round_at_the_own_core_that_is_refused_is_tried_again_elsewhere() -> None:
    reader = Reader()
    reader.arrive("a")
    round_ = reader.reads.next_for_core(1.0)
    assert round_ is not None
    reader.reads.core_refused(round_, 1.0)
    number = reader.reads.next_request(1.0 + RETRY_S)
    assert number is not None
    reader.reads.request_answered(number, Index(3), 1.0)
    assert reader.answer(3) == ["a"]


def test_every_round_at_the_own_core_waits_for_its_own_index() -> None:
    reader = Reader()
    reader.arrive("a")
    first = reader.reads.next_for_core(0.0)
    reader.arrive("b")
    second = reader.reads.next_for_core(0.0)
    assert first is not None and second is not None
    reader.reads.core_confirmed(second, Index(8))
    reader.reads.core_confirmed(first, Index(5))
    assert reader.answer(5) == ["a"]
    assert reader.answer(8) == ["b"]


def test_wherever_a_read_is_it_fails_at_its_deadline_and_only_once() -> None:
    reader = Reader()
    reader.arrive("confirmed", deadline=1.0)
    number = reader.reads.next_request(0.0)
    assert number is not None
    reader.reads.request_answered(number, Index(9), 0.0)
    reader.arrive("at the core", deadline=1.0)
    round_ = reader.reads.next_for_core(0.0)
    assert round_ is not None
    reader.arrive("asked", deadline=1.0)
    asked = reader.reads.next_request(0.9)
    assert asked is not None
    reader.arrive("waiting", deadline=1.0)
    reader.arrive("patient", deadline=2.0)

    reader.reads.expire(1.0, leader_known=True)
    names = ["confirmed", "at the core", "asked", "waiting"]
    assert [reader.error(name) for name in names] == [AuthorityTimedOut] * 4
    assert reader.error("patient") is None

    reader.reads.core_confirmed(round_, Index(1))
    reader.reads.request_answered(asked, Index(1), 1.0)
    assert not reader.take_applied(100)
    reader.reads.expire(2.0, leader_known=False)
    assert reader.error("patient") is Unavailable
    assert not reader.reads


def test_one_group_of_a_round_expires_and_the_others_go_on() -> None:
    reader = Reader()
    reader.arrive("hasty", deadline=1.0)
    reader.arrive("patient", deadline=9.0)
    number = reader.reads.next_request(0.9)
    assert number is not None
    reader.reads.expire(1.0, leader_known=True)
    reader.reads.request_answered(number, Index(1), 1.0)
    groups = reader.take_applied(1)
    assert [group.queries for group in groups] == [("patient",)]


def test_a_client_that_hears_of_its_failure_may_come_again_at_once() -> None:
    reader = Reader()
    for _ in range(3):
        sink = Recorder(lambda: reader.reads.add(QueryGroup(("again",), Recorder(), NEVER)))
        reader.reads.add(QueryGroup(("x",), sink, 1.0))
    reader.reads.expire(1.0, leader_known=True)
    number = reader.reads.next_request(1.0)
    reader.reads.form_round()
    number = reader.reads.next_request(1.0)
    assert number is not None
    reader.reads.request_answered(number, Index(0), 1.0)
    assert len(reader.take_applied(0)) == 3


def test_a_replica_that_stops_leaves_no_read_without_an_answer() -> None:
    reader = Reader()
    reader.arrive("confirmed")
    number = reader.reads.next_request(0.0)
    assert number is not None
    reader.reads.request_answered(number, Index(9), 0.0)
    reader.arrive("at the core")
    reader.reads.next_for_core(0.0)
    reader.arrive("asked")
    reader.reads.next_request(0.0)
    reader.arrive("waiting")
    reader.reads.add(QueryGroup(("arrived",), reader.sinks.setdefault("arrived", Recorder()), NEVER))
    reader.reads.fail_all(ShuttingDown())
    assert {name: reader.error(name) for name in reader.sinks} == dict.fromkeys(reader.sinks, ShuttingDown)
    assert not reader.reads


def test_open_groups_counts_each_group_once_however_it_ends() -> None:
    reads = Reads()
    sinks = [Recorder() for _ in range(3)]
    for sink, deadline in zip(sinks, (1.0, 9.0, 9.0), strict=True):
        reads.add(QueryGroup((b"q",), sink, deadline))
    assert reads.open_groups == 3
    reads.expire(2.0, leader_known=True)
    assert reads.open_groups == 2
    round_ = reads.next_for_core(2.0)
    assert round_ is not None
    reads.core_confirmed(round_, Index(1))
    answered = reads.take_applied(Index(1))
    assert answered is not None and len(answered.groups) == 2
    assert reads.open_groups == 0


def test_few_wait_if_fewer_than_were_asked_for_last_and_none_for_longer() -> None:
    reader = Reader()

    def arrives(name: str) -> None:
        reader.reads.add(QueryGroup((name,), Recorder(), NEVER))

    assert not reader.reads.few_arrived
    reader.arrive("a", "b", "c")
    number = reader.reads.next_request(0)
    assert number is not None and not reader.reads.few_arrived
    arrives("d")
    assert reader.reads.few_arrived
    arrives("e")
    arrives("f")
    assert not reader.reads.few_arrived, "as many as in the round"
    reader.reads.form_round()  # in a turn, while the request is under way
    arrives("g")
    reader.reads.request_answered(number, Index(1), 0)
    assert not reader.reads.few_arrived, "those who wait already go at once, and take it with them"
    reader.reads.form_round()
    assert reader.reads.next_request(0) is not None
    arrives("h")
    assert reader.reads.few_arrived, "four were asked for"
