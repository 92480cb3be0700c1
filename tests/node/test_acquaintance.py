"""Who is let in: by its incarnation, and by the promises that this replica remembers."""

import msgspec

from oarlock.core.messages import AppendAck, AppendReject, CoreMessage, PreVoteReply, RequestVote, RequestVoteReply
from oarlock.network.messages import Hello
from oarlock.node.acquaintance import FINAL_REFUSALS, Acquaintance
from oarlock.types import FIRST_BOOTS, Beat, Boot, Configuration, Index, Member, ReplicaId, Term

PEER = ReplicaId(2)
IDS = (ReplicaId(1), PEER)
FORMED = Configuration(tuple(Member(replica, "", replica * 11) for replica in IDS), IDS)
UNFORMED = Configuration(tuple(Member(replica, "") for replica in IDS), IDS)


def hello(term: int, last_index: int, replica: ReplicaId = PEER, incarnation: int = 22, boot: int = 1) -> Hello:
    return Hello(1, 1, "c", replica, incarnation, Boot(boot), 1, Term(term), Term(term), Index(last_index), "", "")


def acked(term: int, match: int) -> AppendAck:
    return AppendAck(Term(term), Beat(1), Index(match))


def voted(term: int, *, granted: bool = True) -> RequestVoteReply:
    return RequestVoteReply(Term(term), granted, 22, 0)


def note(memory: Acquaintance, peer: ReplicaId, message: CoreMessage, incarnation: int | None = None) -> bool:
    """The peer says it, as of the directory that the configuration knows, or of another."""
    memory.met(hello(0, 0, peer, incarnation or peer * 11))
    return memory.counts(peer, message, FORMED)


def code(
    memory: Acquaintance,
    greeting: Hello,
    configuration: Configuration = FORMED,
    committed: Configuration | None = None,
    commit_index: int = 0,
) -> str | None:
    refusal = memory.examine(greeting, configuration, committed or configuration, Index(commit_index))
    return refusal.code if refusal else None


def test_a_member_with_its_own_directory_is_welcome() -> None:
    assert code(Acquaintance(), hello(0, 0)) is None


def test_52_71_another_incarnation_is_refused_for_good_once_the_cluster_has_formed() -> None:
    assert code(Acquaintance(), hello(9, 99, incarnation=23), commit_index=1) == "incarnation"
    assert code(Acquaintance(), hello(0, 0, incarnation=23), UNFORMED) is None
    assert "incarnation" in FINAL_REFUSALS


def test_before_the_cluster_has_formed_another_directory_does_not_take_back_what_was_promised() -> None:
    memory = Acquaintance()
    assert code(memory, hello(0, 0), UNFORMED) is None
    note(memory, PEER, voted(1))
    assert code(memory, hello(0, 0, incarnation=23), UNFORMED) == "past"


def test_who_is_no_member_is_refused_but_may_become_one() -> None:
    assert code(Acquaintance(), hello(0, 0, replica=ReplicaId(3))) == "replica"
    assert "replica" not in FINAL_REFUSALS


STRANGER = ReplicaId(3)
JOINED = Configuration((*FORMED.members, Member(STRANGER, "", 33)), IDS, learners=(STRANGER,))


def test_27_who_may_know_of_a_configuration_that_we_do_not_have_is_welcome() -> None:
    memory = Acquaintance()
    assert code(memory, hello(3, 8, STRANGER, 33), commit_index=8) == "replica", "we have all that it has"
    assert code(memory, hello(3, 9, STRANGER, 33), commit_index=8) is None
    assert code(memory, hello(3, 1, STRANGER, 33), commit_index=0) is None, "we have only just joined"


def test_a_member_is_one_from_its_entry_until_that_of_its_removal_is_committed() -> None:
    memory = Acquaintance()
    for configuration, committed, other in ((JOINED, FORMED, "replica"), (FORMED, JOINED, "incarnation")):
        assert code(memory, hello(0, 0, STRANGER, 33), configuration, committed, 9) is None
        assert code(memory, hello(0, 0, STRANGER, 34), configuration, committed, 9) == other


def test_26_who_was_removed_is_refused_for_good_once_that_is_committed() -> None:
    memory = Acquaintance()
    removed = msgspec.structs.replace(FORMED, removed=(STRANGER,))
    assert code(memory, hello(9, 99, STRANGER, 33), removed, removed) == "removed"
    assert code(memory, hello(9, 99, STRANGER, 33), removed, JOINED) is None, "its removal may never come about"
    assert "removed" in FINAL_REFUSALS


def test_52_a_replica_that_lost_its_past_is_refused_for_good() -> None:
    memory = Acquaintance()
    note(memory, PEER, acked(3, 10))
    assert code(memory, hello(2, 50)) == "past", "it acknowledged in term 3"
    assert code(memory, hello(3, 9)) == "past", "it acknowledged index 10"
    assert code(memory, hello(3, 10)) is None
    assert "past" in FINAL_REFUSALS


def test_72_a_replica_whose_suffix_a_new_leader_replaced_is_honest() -> None:
    memory = Acquaintance()
    note(memory, PEER, acked(3, 10))
    assert code(memory, hello(4, 5)) is None


def test_a_vote_is_a_promise_too() -> None:
    memory = Acquaintance()
    note(memory, PEER, acked(3, 10))
    note(memory, PEER, voted(5))
    assert code(memory, hello(4, 50)) == "past"
    assert code(memory, hello(5, 0)) is None


def test_only_what_was_durable_when_it_was_said_is_a_promise() -> None:
    memory = Acquaintance()
    note(memory, PEER, voted(5, granted=False))
    note(memory, PEER, acked(5, 0))
    note(memory, PEER, AppendReject(Term(5), Beat(1), Index(9), Index(8), Term(1)))
    assert code(memory, hello(0, 0)) is None


def test_a_late_acknowledgement_takes_no_promise_back() -> None:
    memory = Acquaintance()
    note(memory, PEER, acked(3, 10))
    note(memory, PEER, acked(3, 4))
    note(memory, PEER, acked(2, 90))
    assert code(memory, hello(3, 9)) == "past"


def test_everyone_is_remembered_apart() -> None:
    memory = Acquaintance()
    note(memory, ReplicaId(1), acked(3, 10))
    assert code(memory, hello(0, 0)) is None


REJOINED = Configuration((FORMED.members[0], Member(PEER, "", 23, generation=1)), IDS)


def test_who_rejoins_is_refused_until_its_configuration_may_be_known_there_and_never_for_good() -> None:
    memory = Acquaintance()
    rejoins = FIRST_BOOTS + 1
    assert code(memory, hello(3, 8, incarnation=23, boot=rejoins), commit_index=8) == "replica"
    assert code(memory, hello(3, 9, incarnation=23, boot=rejoins), commit_index=8) is None
    assert code(memory, hello(3, 0, incarnation=23, boot=rejoins), REJOINED) is None


def test_52_the_directory_that_was_before_is_refused_for_good() -> None:
    for other in (hello(3, 9, incarnation=22), hello(3, 9, incarnation=24, boot=FIRST_BOOTS + 1)):
        assert code(Acquaintance(), other, REJOINED, commit_index=8) == "incarnation"
        assert code(Acquaintance(), other, REJOINED, FORMED, 8) == "replica", "it may never come about"
        assert code(Acquaintance(), other, REJOINED, commit_index=0) == "replica", "that is only what it was told"


def test_who_rejoined_is_not_held_to_what_its_former_directory_promised() -> None:
    memory = Acquaintance()
    note(memory, PEER, acked(3, 10))
    rejoined = hello(1, 0, incarnation=23, boot=FIRST_BOOTS + 1)
    assert code(memory, rejoined, REJOINED) is None
    memory.met(rejoined)
    assert memory.counts(PEER, acked(1, 2), REJOINED)
    assert code(memory, hello(1, 1, incarnation=23, boot=FIRST_BOOTS + 1), REJOINED) == "past"


def test_what_another_directory_promises_does_not_count_in_the_member_s_name() -> None:
    memory = Acquaintance()
    for promise in (acked(3, 10), voted(3), PreVoteReply(Term(4), True), AppendReject(*[Term(3), *[Beat(1)] * 4])):  # type: ignore[list-item]
        assert not note(memory, PEER, promise, incarnation=23)
        assert note(memory, PEER, promise)
    assert note(memory, PEER, RequestVote(Term(3), Index(1), Term(1), False), incarnation=23), "asking is free"
