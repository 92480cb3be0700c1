"""Peers that come and go while a replica runs: named, dropped, moved, and guests that nobody has named."""

import asyncio

import msgspec
import pytest

from oarlock.core.messages import InstallSnapshot
from oarlock.network.address import InvalidAddress
from oarlock.network.guests import Guests
from oarlock.network.limits import Limits
from oarlock.network.messages import (
    SINCE_VERSION,
    Refusal,
    SnapshotChunk,
    SnapshotGone,
    SnapshotRequest,
    spoken,
)
from oarlock.network.transport import TcpNetwork
from oarlock.types import Beat, Index, ReplicaId, Term

from .world import A, B, C, Middlebox, Replica, Stranger, ack, addresses_of, both_ways, eventually, free_port, hello_of

SOON = Limits(guest_look_s=0.05)
PATIENT = Limits(handshake_s=60, first_backoff_s=60, longest_backoff_s=60)
"""Nothing that a test of these waits for may need a timeout or a back-off."""
NEWS = [
    InstallSnapshot(Term(3), Beat(9), Index(7), Term(3), 1234),
    SnapshotRequest(Index(7), Term(3), 0, 10),
    SnapshotChunk(Index(7), Term(3), 20, 0, b"0123456789"),
    SnapshotGone(Index(7), Term(3)),
]


class Deaf(TcpNetwork):
    """A network on which some addresses never answer a dial."""

    def __init__(self, *deaf):
        self.deaf = deaf
        self.dialled = []

    async def dial(self, host, port, protocol_factory):
        self.dialled.append(f"{host}:{port}")
        if self.dialled[-1] in self.deaf:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)
        return await super().dial(host, port, protocol_factory)


def only(addresses, *replicas):
    return {replica: addresses[replica] for replica in replicas}


# ── named ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replica_that_is_named_is_dialled(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), only(addresses, A)) as a, Replica(hello_of(B), addresses) as b:
            a.links.set_peers(addresses)
            await both_ways(a, b)
            a.links.set_peers(addresses)
            assert a.links.send(B, [ack(1)])
            await eventually(lambda: b.inbox)
            assert (a.count("disconnected", B), a.count("connected", B)) == (0, 1)

    play(scenario)


def test_a_text_that_is_no_address_is_refused(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            for replica in (B, C):
                with pytest.raises(InvalidAddress):
                    a.links.set_peers({**addresses, replica: "nonsense"})

    play(scenario)


# ── dropped ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_peer_that_is_dropped_gets_what_was_sent_and_is_heard_of_no_more(play):
    async def scenario():
        addresses = addresses_of(A, B)
        silent = Refusal("replica", "not now")
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            a.examine = lambda hello: silent
            for _ in range(10):  # more than a socket takes at once
                a.links.send(B, [SnapshotChunk(Index(1), Term(1), 1, 0, bytes(1_000_000))])
            b.links.send(A, [ack(1)])
            before = list(a.log)
            a.links.set_peers(only(addresses, A))
            assert not a.links.is_connected(B)
            assert a.links.connected_peers == ()
            assert a.links.version(B) == 0
            assert not a.links.send(B, [ack(1)])
            a.links.probe(B)
            await eventually(lambda: len(b.inbox) == 10)
            await eventually(lambda: b.count("disconnected", A) and b.refusals)
            assert (a.log, a.inbox, a.refusals) == (before, [], [])

    play(scenario)


def test_a_peer_that_is_dropped_and_takes_nothing_is_not_waited_for(play):
    async def scenario():
        addresses = addresses_of(A, B)
        strangers = []

        async def stall(reader, writer):
            strangers.append(Stranger(reader, writer))
            await strangers[-1].greet(hello_of(B))
            writer.transport.pause_reading()

        server = await asyncio.start_server(stall, *addresses[B].split(":"), limit=1024)
        async with Replica(hello_of(A), addresses, limits=Limits(flush_s=0.05)) as a:
            await eventually(lambda: a.links.is_connected(B))
            a.links.send(B, [SnapshotChunk(Index(1), Term(1), 1, 0, bytes(20_000_000))])
            a.links.set_peers({})
            await eventually(lambda: not a.links._ledger._open)
        server.close()
        for stranger in strangers:
            stranger.leave()

    play(scenario)


@pytest.mark.parametrize("close_at_once", [True, False])
def test_a_peer_that_is_dropped_while_it_is_dialled_is_let_be(play, close_at_once):
    async def scenario():
        addresses = addresses_of(A, B)
        network = Deaf(addresses[B])
        async with Replica(hello_of(A), addresses, network=network, limits=PATIENT) as a:
            await eventually(lambda: network.dialled)
            a.links.set_peers(only(addresses, A))
            if not close_at_once:
                await eventually(lambda: a.links._parted[0].outbound.idle)
            assert (a.log, network.dialled) == ([], [addresses[B]])

    play(scenario)


def test_a_peer_that_is_dropped_in_the_handshake_is_let_be(play):
    async def scenario():
        addresses = addresses_of(A, B)
        accepted = []

        async def wait(reader, writer):
            accepted.append(Stranger(reader, writer))

        server = await asyncio.start_server(wait, *addresses[B].split(":"))
        async with Replica(hello_of(A), addresses, limits=PATIENT) as a:
            await eventually(lambda: accepted)
            a.links.set_peers(only(addresses, A))
            accepted[0].writer.write(b"")
            await accepted[0].is_closed()
            assert a.log == []
        server.close()
        accepted[0].leave()

    play(scenario)


def test_a_peer_that_is_dropped_and_named_again_is_a_peer_again(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            a.links.set_peers({})
            a.links.set_peers(addresses)
            await eventually(lambda: a.count("connected", B) == 2)
            await eventually(lambda: a.links.send(B, [ack(1)]) and b.links.send(A, [ack(2)]))
            await eventually(lambda: a.inbox and b.inbox)
            assert a.count("disconnected", B) == 0

    play(scenario)


# ── moved ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_peer_whose_address_changes_while_it_is_connected_is_dialled_there(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with (
            Replica(hello_of(A), addresses, limits=PATIENT) as a,
            Replica(hello_of(B), addresses) as b,
            Middlebox(free_port(), addresses[B]) as box,
        ):
            await both_ways(a, b)
            a.links.set_peers({B: f"127.0.0.1:{box.port}"})
            await eventually(lambda: a.count("connected", B) == 2)
            assert box.passed == 1
            assert a.links.send(B, [ack(1)]) and b.links.send(A, [ack(2)])
            await eventually(lambda: a.inbox and b.inbox)
            assert a.log.index(("disconnected", B)) > a.log.index(("connected", B))
            assert a.log[-1] == ("connected", B)
            assert a.count("unreachable", B) == b.count("disconnected", A) == 0

    play(scenario)


def test_a_peer_whose_address_changes_while_it_is_dialled_is_dialled_there(play, caplog):
    async def scenario():
        addresses = addresses_of(A, B)
        old = f"127.0.0.1:{free_port()}"
        network = Deaf(old)
        async with (
            Replica(hello_of(A), {**addresses, B: old}, network=network, limits=PATIENT) as a,
            Replica(hello_of(B), only(addresses, B)),
        ):
            await eventually(lambda: network.dialled)
            a.links.set_peers(addresses)
            await eventually(lambda: a.links.is_connected(B))
            assert network.dialled == [old, addresses[B]]
            assert not caplog.messages, "nobody has failed to answer at the new address"

    play(scenario)


def test_a_peer_that_talks_from_elsewhere_is_dialled_there_while_nobody_is_found_at_its_address(play):
    """It has yet to hear of its move, from us; or somebody has mistyped the address."""

    async def scenario():
        addresses = addresses_of(A, B)
        nowhere = f"127.0.0.1:{free_port()}"
        async with Replica(hello_of(A), addresses) as a:
            async with Replica(hello_of(B), addresses) as b:
                await both_ways(a, b)
                a.links.set_peers({B: nowhere})
                await eventually(lambda: a.count("connected", B) == 2)
                assert a.links.send(B, [ack(1)])
                await eventually(lambda: b.inbox == [ack(1)])
            async with Replica(hello_of(B, 2), addresses) as b:
                await both_ways(a, b)
            async with Replica(hello_of(B, 3), {**addresses, B: nowhere}) as b:
                await both_ways(a, b)
                assert a.links.send(B, [ack(2)])
                await eventually(lambda: b.inbox == [ack(2)])

    play(scenario)


def test_what_stands_at_a_mistyped_address_keeps_nobody_from_a_peer_that_talks(play):
    async def scenario():
        addresses = addresses_of(A, B, C)
        async with (
            Replica(hello_of(A), only(addresses, A, B)) as a,
            Replica(hello_of(B), only(addresses, A, B)) as b,
            Replica(hello_of(C), only(addresses, C)),
        ):
            await both_ways(a, b)
            a.links.set_peers({B: addresses[C]})
            await eventually(lambda: a.count("connected", B) == 2)
            assert a.links.send(B, [ack(1)])
            await eventually(lambda: b.inbox == [ack(1)])

    play(scenario)


@pytest.mark.parametrize("it_knows", [True, False])
def test_that_nobody_listens_at_a_new_address_is_no_news_of_the_process_at_the_old_one(play, it_knows):
    async def scenario():
        addresses = addresses_of(A, B)
        network = Deaf()
        nowhere = f"127.0.0.1:{free_port()}"
        async with Replica(hello_of(A), addresses, network=network) as a, Replica(hello_of(B), addresses) as b:
            if it_knows:
                b.own = msgspec.structs.replace(b.own, raft_address=nowhere)
            await both_ways(a, b)
            a.links.set_peers({B: nowhere})
            await eventually(lambda: it_knows or a.count("connected", B) == 2)  # found where it says that it is
            await b.links.close()
            await eventually(lambda: not a.links._peers[B].linked)
            dials = network.dialled.count(nowhere)
            await eventually(lambda: network.dialled.count(nowhere) >= dials + 3)
            assert a.count("unreachable", B) == 0

    play(scenario)


# ── guests ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_replica_that_nobody_named_is_dialled_back_and_is_a_peer(play):
    async def scenario():
        addresses = addresses_of(A, C)
        async with Replica(hello_of(A), only(addresses, A)) as a, Replica(hello_of(C), addresses) as c:
            await both_ways(a, c)
            assert a.links.send(C, [ack(1)]) and c.links.send(A, [ack(2)])
            await eventually(lambda: a.inbox == [ack(2)] and c.inbox == [ack(1)])
            a.links.set_peers(only(addresses, A))
            assert a.links.is_connected(C), "it is still not named, and still a guest"
            a.links.set_peers(addresses)
            a.links.set_peers(addresses)
            assert a.links.is_connected(C)
            a.links.set_peers(only(addresses, A))
            assert not a.links.is_connected(C), "it was named, so it is a guest no more"
            assert a.count("disconnected", C) == 0

    play(scenario)


def test_a_guest_without_a_link_is_let_go(play):
    async def scenario():
        addresses = addresses_of(A, C)
        network = Deaf()
        async with Replica(hello_of(A), only(addresses, A), limits=SOON, network=network) as a:
            async with Replica(hello_of(C), addresses) as c:
                await both_ways(a, c)
                looks = []
                look = a.links._guests.look
                a.links._guests.look = lambda linked: looks.append(1) or look(linked)
                await eventually(lambda: len(looks) >= 4)
                assert a.links.is_connected(C)
            await eventually(lambda: not a.links._peers)
            assert a.count("disconnected", C) == 1
            dials = len(network.dialled)
            await eventually(lambda: a.links._parted[0].outbound.idle and a.links._look is None)
            assert len(network.dialled) == dials
            async with Replica(hello_of(C, 2), addresses) as c:
                await both_ways(a, c)
        assert a.links._look.cancelled()

    play(scenario)


def test_a_guest_that_has_been_named_is_not_let_go(play):
    async def scenario():
        addresses = addresses_of(A, C)
        async with Replica(hello_of(A), only(addresses, A), limits=SOON) as a:
            async with Replica(hello_of(C), addresses) as c:
                await both_ways(a, c)
                a.links.set_peers(addresses)
            await eventually(lambda: a.links._look is None)
            assert list(a.links._peers) == [C]

    play(scenario)


def test_a_guest_that_has_moved_is_dialled_where_it_says(play):
    async def scenario():
        addresses = addresses_of(A, C)
        moved = {**addresses, C: f"127.0.0.1:{free_port()}"}
        async with Replica(hello_of(A), only(addresses, A)) as a:
            async with Replica(hello_of(C), addresses) as c:
                await both_ways(a, c)
            async with Replica(hello_of(C, 2), moved) as c:
                await eventually(lambda: a.links.send(C, [ack(1)]))
                await eventually(lambda: c.inbox)
            stranger = await Stranger.dial(addresses[A])
            lost = msgspec.structs.replace(hello_of(C, 3), raft_address="nonsense")
            answer = await stranger.greet(lost)
            assert isinstance(answer, Refusal) and answer.code == "replica"
            stranger.leave()

    play(scenario)


def test_guests_are_bounded(play):
    async def scenario():
        addresses = addresses_of(A, B, C)
        async with (
            Replica(hello_of(A), only(addresses, A), limits=Limits(guests=1)) as a,
            Replica(hello_of(B), only(addresses, A, B)) as b,
            Replica(hello_of(C), only(addresses, A, C)) as c,
        ):
            await eventually(lambda: b.refusals or c.refusals)
            assert {refusal.code for refusal in b.refusals + c.refusals} == {"busy"}
            await eventually(lambda: a.links.connected_peers)
            assert len(a.links._peers) == 1
            a.links.set_peers(addresses)
            for other in (b, c):
                await both_ways(a, other)

    play(scenario)


def test_one_that_does_not_say_where_it_listens_is_no_guest(play):
    async def scenario():
        addresses = addresses_of(A)
        async with Replica(hello_of(A), addresses) as a:
            stranger = await Stranger.dial(addresses[A])
            answer = await stranger.greet(hello_of(C))
            assert isinstance(answer, Refusal) and answer.code == "replica"
            stranger.leave()
            assert a.log == []

    play(scenario)


def test_a_guest_is_examined_like_everybody(play):
    async def scenario():
        addresses = addresses_of(A, C)
        removed = Refusal("removed", "you were removed")
        async with (
            Replica(hello_of(A), only(addresses, A), examine=lambda hello: removed) as a,
            Replica(hello_of(C), addresses) as c,
        ):
            await eventually(lambda: c.refusals == [removed])
            assert a.log == []
            assert not a.links._peers

    play(scenario)


def test_who_is_no_member_yet_tries_again_without_a_word_and_is_let_in_one_day(play, complaints):
    async def scenario():
        addresses = addresses_of(A, C)
        refusal = Refusal("replica", "replica 3 is not a member of this cluster")
        async with (
            Replica(hello_of(A), only(addresses, A), examine=lambda hello: refusal) as a,
            Replica(hello_of(C), addresses, limits=Limits(longest_backoff_s=0.05)) as c,
        ):
            await eventually(lambda: len(c.refusals) >= 5)
            assert len(complaints()) == 2, "a line at either end"
            a.examine = lambda hello: None
            await both_ways(a, c)

    play(scenario)


def test_a_guest_is_missed_only_when_two_looks_in_a_row_find_no_link():
    guests = Guests(8)
    guests.welcome(C)
    linked = {C: False}
    assert guests.look(linked.__getitem__) == []
    linked[C] = True
    assert guests.look(linked.__getitem__) == []
    linked[C] = False
    assert guests.look(linked.__getitem__) == []
    assert C in guests
    assert guests.look(linked.__getitem__) == [C]
    assert C not in guests and not guests


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("older", "newest"), [(A, 1), (B, 1), (None, 2)])
def test_a_peer_gets_no_message_that_its_version_does_not_have(play, older, newest):
    async def scenario():
        addresses = addresses_of(A, B)
        a, b = (
            Replica(msgspec.structs.replace(hello_of(own), newest_version=1 if own == older else 2), addresses)
            for own in (A, B)
        )
        async with a, b:
            await both_ways(a, b)
            assert a.links.version(B) == b.links.version(A) == newest
            for sender, receiver in ((a, b), (b, a)):
                assert sender.links.send(receiver.own.replica, [ack(1), *NEWS, ack(2)])
                await eventually(lambda receiver=receiver: ack(2) in receiver.inbox)
                assert receiver.inbox == ([ack(1), *NEWS, ack(2)] if newest == 2 else [ack(1), ack(2)])

    play(scenario)


def test_what_a_version_brought_is_spoken_from_it_on():
    assert {type(message) for message in NEWS} <= set(SINCE_VERSION)
    for message in NEWS:
        assert spoken([message, ack(1)], 1) == [ack(1)]
        assert spoken([message, ack(1)], 2) == [message, ack(1)]


def test_a_link_that_is_down_has_no_version_and_no_backlog(play):
    async def scenario():
        async with Replica(hello_of(A), addresses_of(A, B)) as a:
            assert a.links.version(B) == a.links.version(ReplicaId(9)) == 0
            assert a.links.backlog_bytes(B) == a.links.backlog_bytes(ReplicaId(9)) == 0

    play(scenario)


def test_what_waits_in_a_link_is_known(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            a.links.send(B, [SnapshotChunk(Index(1), Term(1), 1, 0, bytes(20_000_000))])
            assert a.links.backlog_bytes(B) > 1_000_000
            await eventually(lambda: b.inbox)
            assert a.links.backlog_bytes(B) == 0

    play(scenario)
