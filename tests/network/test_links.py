"""Links between healthy replicas: they come up, carry messages in order, come back, and end cleanly."""

import asyncio
import socket

import msgspec
import pytest

from oarlock.core.messages import AppendEntries
from oarlock.errors import StartupError
from oarlock.network.address import InvalidAddress
from oarlock.network.codec import encode_greeting
from oarlock.network.links import Limits
from oarlock.network.messages import ForwardSlice, Refusal
from oarlock.types import Beat, Boot, Entry, Index, Slice, Term

from .world import HELLO, A, B, C, Replica, Stranger, ack, addresses_of, both_ways, eventually, hello_of, numbers


def test_three_replicas_link_up_each_to_each(play):
    async def scenario():
        addresses = addresses_of(A, B, C)
        async with (
            Replica(hello_of(A), addresses) as a,
            Replica(hello_of(B), addresses) as b,
            Replica(hello_of(C), addresses) as c,
        ):
            for one, other in ((a, b), (b, c), (c, a)):
                await both_ways(one, other)
            assert a.links.connected_peers == (B, C)
            assert not any(event in ("unreachable", "disconnected") for event, _ in a.log + b.log + c.log)

    play(scenario)


def test_messages_arrive_in_order_and_large_entries_whole(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            payload = bytes(range(256)) * 40_000
            entry = Entry(Index(1), Term(1), 1, 5, payload)
            large = AppendEntries(Term(1), Beat(0), Index(0), Term(0), Index(0), False, 0, (entry,))
            for number in range(0, 2000, 2):
                assert a.links.send(B, [ack(number), ack(number + 1)])
            assert a.links.send(B, [large])
            assert b.links.send(A, [ForwardSlice(Term(1), Slice(B, Boot(1), 1, (b"x", (b"SET", b"k"))))])
            await eventually(lambda: len(b.inbox) == 2001 and a.inbox)
            assert numbers(b.inbox) == list(range(2000))
            assert b.inbox[-1] == large
            assert a.inbox == [ForwardSlice(Term(1), Slice(B, Boot(1), 1, (b"x", (b"SET", b"k"))))]

    play(scenario)


def test_a_probe_of_a_living_peer_changes_nothing(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            before = list(a.log), list(b.log)
            for number in range(10):
                a.links.probe(B)
                a.links.send(B, [ack(number)])
                await eventually(lambda number=number: len(b.inbox) == number + 1)
            assert (a.log, b.log) == before

    play(scenario)


def test_without_a_link_nothing_is_sent(play):
    async def scenario():
        async with Replica(hello_of(A), addresses_of(A, B)) as a:
            assert a.links.send(B, [ack(1)]) is False
            assert a.links.send(B, [ack(1)], required=True) is False
            assert not a.links.is_connected(B)

    play(scenario)


def test_what_was_sent_before_closing_still_arrives(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(B), addresses) as b:
            async with Replica(hello_of(A), addresses) as a:
                await both_ways(a, b)
                for number in range(500):
                    a.links.send(B, [ack(number)])
            await eventually(lambda: numbers(b.inbox) == list(range(500)))

    play(scenario)


def test_no_event_comes_after_close(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(B), addresses) as b:
            async with Replica(hello_of(A), addresses) as a:
                await both_ways(a, b)
                b.links.send(A, [ack(1)])
                before = list(a.log)
            await eventually(lambda: b.count("unreachable", A))
            assert a.log == before
            assert a.inbox == []

    play(scenario)


def test_a_hello_that_comes_while_closing_is_no_event(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            stranger = await Stranger.dial(addresses[A])
            await eventually(lambda: a.links._acceptor._strangers)
            stranger.writer.write(encode_greeting(hello_of(B)))
        stranger.leave()
        assert a.log == []

    play(scenario)


def test_a_restarted_replica_is_linked_again(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            for boot in (1, 2, 3):
                async with Replica(hello_of(B, boot), addresses) as b:
                    await both_ways(a, b)
                    await eventually(lambda: a.links.send(B, [ack(1)]))
                    await eventually(lambda: b.inbox)
                await eventually(lambda boot=boot: a.count("disconnected", B) == boot)
            assert a.count("connected", B) == 3

    play(scenario)


def test_a_new_inbound_connection_replaces_the_old_one(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            old, new = await Stranger.dial(addresses[A]), await Stranger.dial(addresses[A])
            assert await old.greet(hello_of(B)) == a.own
            assert await new.greet(hello_of(B)) == a.own
            await old.is_closed()
            assert a.count("heard_hello", B) == 2
            new.leave()

    play(scenario)


def test_a_frame_over_the_bound_is_dropped_and_a_required_one_ends_the_link(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        accepted = []

        async def stall(reader, writer):  # a peer that passes the handshake and then reads no more
            stranger = Stranger(reader, writer)
            writer.transport.pause_reading()
            accepted.append(stranger)
            await asyncio.sleep(0)
            writer.transport.resume_reading()
            await stranger.greet(hello_of(B))
            writer.transport.pause_reading()

        server = await asyncio.start_server(stall, *addresses[B].split(":"), limit=1024)
        async with Replica(hello_of(A), addresses, limits=Limits(buffered_bytes=1_000_000)) as a:
            await eventually(lambda: a.links.is_connected(B))
            slice_message = ForwardSlice(Term(1), Slice(B, Boot(1), 1, (bytes(500_000),)))
            sent = 0
            while a.links.send(B, [slice_message]):
                sent += 1
                assert sent < 1000, "the bound does not hold"
                await asyncio.sleep(0)
            assert a.links.is_connected(B), "an overflow alone does not end the link"
            assert a.links.send(B, [ack(1)]) is False
            assert complaints() == []
            assert a.links.send(B, [slice_message], required=True) is False
            assert not a.links.is_connected(B), "at once, so that nothing is sent behind the gap"
            assert a.links.send(B, [ack(1)]) is False
            await eventually(lambda: a.count("disconnected", B) == 1)
            await eventually(lambda: a.count("connected", B) == 2)
            assert a.count("unreachable", B) == 0
            assert len(complaints()) == 1
            assert a.links.send(B, [slice_message], required=True)
        server.close()
        for stranger in accepted:
            stranger.leave()

    play(scenario)


def test_a_refused_replica_is_told_why(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        refusal = Refusal("past", "you lost your past")
        async with (
            Replica(hello_of(A), addresses, examine=lambda hello: refusal if hello.replica == B else None) as a,
            Replica(hello_of(B), addresses) as b,
        ):
            await eventually(lambda: b.refusals)
            assert b.refusals[0] == refusal
            assert not a.links.is_connected(B)
            assert not b.links.is_connected(A)
            assert not a.log

    play(scenario)


def test_a_peer_under_another_ones_address_is_not_accepted(play, caplog):
    async def scenario():
        addresses = addresses_of(A, B, C)
        async with Replica(hello_of(A), {**addresses, C: addresses[B]}) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            await eventually(lambda: any("replica 2 answered" in message for message in caplog.messages))
            # The dial that was meant for another took the place of the link to B there, which is dialled again.
            await eventually(lambda: a.links.connected_peers == (B,))

    play(scenario)


def test_versions_are_negotiated_down_to_what_both_speak(play):
    async def scenario():
        addresses = addresses_of(A, B)
        newer = msgspec.structs.replace(hello_of(B), newest_version=7)
        async with Replica(hello_of(A), addresses) as a, Replica(newer, addresses) as b:
            await both_ways(a, b)

    play(scenario)


def test_a_port_in_use_is_waited_for(play):
    async def scenario():
        addresses = addresses_of(A)
        predecessor = socket.create_server(("127.0.0.1", int(addresses[A].split(":")[1])))
        loop = asyncio.get_running_loop()
        replica = Replica(hello_of(A), addresses, limits=Limits(bind_s=5))
        loop.call_later(0.15, predecessor.close)
        async with replica as a:
            assert a.links.addresses == (addresses[A],)

    play(scenario)


def test_a_port_that_stays_in_use_is_an_error_that_names_it(play):
    async def scenario():
        addresses = addresses_of(A)
        with (
            socket.create_server(("127.0.0.1", int(addresses[A].split(":")[1]))),
            pytest.raises(StartupError, match=addresses[A]),
        ):
            await Replica(hello_of(A), addresses).links.start(addresses[A])

    play(scenario)


def test_an_address_that_is_not_ours_is_an_error_at_once(play):
    async def scenario():
        async with asyncio.timeout(2):
            with pytest.raises(StartupError, match=r"192\.0\.2\.1:7001"):
                await Replica(hello_of(A), addresses_of(A), limits=Limits(bind_s=60)).links.start("192.0.2.1:7001")

    play(scenario)


def test_a_text_that_is_no_address_is_refused_at_once():
    with pytest.raises(InvalidAddress):
        Replica(HELLO, {A: "127.0.0.1:1", B: "nonsense"})
