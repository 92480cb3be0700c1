"""Who hears of a commit, and when: at once whoever waits for it, the others with what comes anyway, or soon."""

import pytest

from oarlock.core.messages import AppendEntries
from oarlock.testing.script.cluster import Cluster


def commits(c: Cluster) -> list[int]:
    return [c[number].raft.commit_index for number in (1, 2, 3)]


def settled() -> Cluster:
    c = Cluster(3)
    c.elect(1)
    c.deliver_all()
    c.run(0.01)
    assert commits(c) == [1, 1, 1], "of the sentinel everybody hears"
    return c


def test_a_commit_is_told_at_once_only_to_those_who_wait_for_it() -> None:
    c = settled()
    c.propose(1, b"x", awaited_by=[1, 3])
    c.deliver_all()
    assert commits(c) == [2, 1, 2]
    assert not c.network.on_its_way


def test_the_others_hear_of_a_commit_soon_though_nothing_else_is_said() -> None:
    c = settled()
    c.propose(1, b"x", awaited_by=[])
    c.deliver_all()
    assert commits(c) == [2, 1, 1]
    c.wait(c.config.commit_news_s)
    assert c[1].raft.deadline() <= c.now, "the leader wants to be woken for it"
    c.timeout(1)
    c.deliver_all()
    assert commits(c) == [2, 2, 2]
    assert c[1].raft.deadline() > c.now + c.config.commit_news_s, "and then has nothing more to tell"


def test_the_next_entries_bring_the_news() -> None:
    c = settled()
    c.propose(1, b"x", awaited_by=[])
    c.deliver_all()
    c.propose(1, b"y", awaited_by=[])
    appends = [envelope.message for envelope in c.network.between(1, 2)]
    assert [message.commit for message in appends if isinstance(message, AppendEntries)] == [2]
    c.deliver_all()
    assert commits(c) == [3, 2, 2]


@pytest.mark.parametrize("asker", [2, 3])
def test_who_asked_for_a_read_hears_of_the_commit_with_the_answer(asker: int) -> None:
    """The answer names an index that it must apply, and its client waits for that. The round may go to the other."""
    c = settled()
    c.propose(1, b"x", awaited_by=[])
    c.deliver_all()
    read = c.read(1, asked_by=asker)
    c.deliver_all()
    assert read.index == 2
    assert c[asker].raft.commit_index == 2


def test_who_waits_is_not_forgotten_for_an_entry_that_nobody_waits_for() -> None:
    c = settled()
    c.propose(1, b"x", awaited_by=[2])
    c.propose(1, b"y", awaited_by=[])
    c.deliver_all()
    assert commits(c)[1:] == [2, 1]
