"""Whoever connects to the port: garbage, wrong clusters, idlers. A log line each, the link closed, and nothing else."""

import asyncio
import random

import msgspec
import pytest

from oarlock.network.codec import encode_greeting
from oarlock.network.complaints import BURST
from oarlock.network.frames import HEADER_BYTES, encode_frame
from oarlock.network.links import Limits
from oarlock.network.messages import Refusal

from .world import A, B, Replica, Stranger, ack, addresses_of, both_ways, eventually, free_port, hello_of

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(4096),
    "noise": random.Random(5).randbytes(100_000),
    "frame of garbage": encode_frame(b"\xc1garbage"),
    "empty frame": encode_frame(b""),
    "bad crc": encode_greeting(hello_of(B))[:-1] + b"\x00",
    "oversized": encode_frame(bytes(64 * 1024 + 1))[:HEADER_BYTES],
    "huge": b"\xff" * HEADER_BYTES,
    "refusal": encode_greeting(Refusal("busy", "")),
    "messages": encode_frame(msgspec.msgpack.encode([ack(1)])),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_in_place_of_a_hello_costs_one_line_and_the_link(play, complaints, garbage):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, limits=Limits()) as a, Replica(hello_of(B), addresses) as b:
            await both_ways(a, b)
            before = list(a.log)
            stranger = await Stranger.dial(addresses[A])
            stranger.writer.write(garbage)
            await stranger.is_closed()
            stranger.leave()
            assert len(complaints()) == 1
            assert a.log == before
            assert a.links.is_connected(B)
            assert b.links.send(A, [ack(7)])
            await eventually(lambda: a.inbox == [ack(7)])

    play(scenario)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * HEADER_BYTES,
        encode_frame(b"\x93\x01\x02\x03"),
        encode_greeting(hello_of(B)),
        encode_frame(b"x")[:-1] + b"y",
    ],
    ids=["oversized", "no messages", "second hello", "bad crc"],
)
def test_garbage_of_a_peer_costs_one_line_and_that_link(play, complaints, garbage):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            peer = await Stranger.dial(addresses[A])
            await peer.greet(hello_of(B))
            peer.writer.write(encode_frame(msgspec.msgpack.encode([ack(1)])) + garbage)
            await peer.is_closed()
            peer.leave()
            assert a.inbox == [ack(1)]
            assert len(complaints()) == 1
            assert "replica 2" in complaints()[0]

    play(scenario)


def test_one_who_answers_our_dial_may_not_send_messages_there(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)

        def chatter(_, writer):
            writer.write(encode_greeting(hello_of(B)) + encode_frame(msgspec.msgpack.encode([ack(1)])))

        server = await asyncio.start_server(chatter, *addresses[B].split(":"))
        async with Replica(hello_of(A), addresses) as a:
            await eventually(lambda: a.count("disconnected", B))
            assert a.inbox == []
            assert len(complaints()) >= 1
        server.close()

    play(scenario)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cluster_id": "another"}, "cluster"),
        ({"oldest_version": 3, "newest_version": 4}, "version"),
        ({"oldest_version": 0, "newest_version": 0}, "version"),
        ({"replica": A}, "replica"),
        ({"replica": 9}, "replica"),
    ],
)
def test_a_hello_that_does_not_fit_is_refused_with_one_line(play, complaints, change, code):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            stranger = await Stranger.dial(addresses[A])
            answer = await stranger.greet(msgspec.structs.replace(hello_of(B), **change))
            assert isinstance(answer, Refusal)
            assert answer.code == code
            await stranger.is_closed()
            stranger.leave()
            assert len(complaints()) == 1
            assert a.log == []

    play(scenario)


def test_what_follows_a_refused_hello_is_not_looked_at(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            stranger = await Stranger.dial(addresses[A])
            stranger.writer.write(encode_greeting(msgspec.structs.replace(hello_of(B), cluster_id="another")))
            stranger.writer.write(encode_greeting(hello_of(B)) + b"\xff" * 100)
            await stranger.is_closed()
            stranger.leave()
            assert len(complaints()) == 1
            assert a.log == []

    play(scenario)


def test_clusters_that_meet_by_mistake_stay_apart(play):
    async def scenario():
        addresses = addresses_of(A, B)
        foreign = msgspec.structs.replace(hello_of(B), cluster_id="another")
        async with Replica(hello_of(A), addresses) as a, Replica(foreign, addresses) as b:
            await eventually(lambda: a.refusals and b.refusals)
            assert a.refusals[0].code == b.refusals[0].code == "cluster"
            assert a.log == b.log == []

    play(scenario)


def test_repeated_garbage_does_not_flood_the_log(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses):
            for _ in range(5 * BURST):
                stranger = await Stranger.dial(addresses[A])
                stranger.writer.write(b"\xff" * 64)
                await stranger.is_closed()
                stranger.leave()
            assert len(complaints()) == BURST

    play(scenario)


def test_a_stranger_who_says_nothing_is_closed_after_the_deadline(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, limits=Limits(handshake_s=0.1)):
            stranger = await Stranger.dial(addresses[A])
            stranger.writer.write(b"\x00")
            await stranger.is_closed()
            stranger.leave()
            assert len(complaints()) == 1

    play(scenario)


def test_idle_strangers_are_bounded_and_peers_still_get_in(play, complaints):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, limits=Limits(handshake_s=60, strangers=5)) as a:
            idlers = [await Stranger.dial(addresses[A]) for _ in range(8)]
            for idler in idlers[:3]:
                await idler.is_closed()
            async with Replica(hello_of(B), addresses) as b:
                await both_ways(a, b)
                assert not idlers[-1].reader.at_eof()
            for idler in idlers:
                idler.leave()

    play(scenario)


def test_idle_strangers_do_not_push_out_a_peer(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with (
            Replica(hello_of(A), addresses, limits=Limits(strangers=2)) as a,
            Replica(hello_of(B), addresses) as b,
        ):
            await both_ways(a, b)
            idlers = [await Stranger.dial(addresses[A]) for _ in range(4)]
            await idlers[1].is_closed()
            assert b.links.send(A, [ack(1)])
            await eventually(lambda: a.inbox)
            assert b.count("disconnected", A) == 0
            for idler in idlers:
                idler.leave()

    play(scenario)


def test_a_proven_link_has_no_deadline(play):
    async def scenario():
        addresses = addresses_of(A, B)
        quick = Limits(handshake_s=0.1)
        async with (
            Replica(hello_of(A), addresses, limits=quick) as a,
            Replica(hello_of(B), addresses, limits=quick) as b,
        ):
            await both_ways(a, b)
            await asyncio.sleep(0.3)
            assert a.count("disconnected", B) == b.count("disconnected", A) == 0

    play(scenario)


def test_one_who_accepts_and_says_nothing_is_given_up_and_dialled_again(play):
    async def scenario():
        addresses = {A: f"127.0.0.1:{free_port()}", B: f"127.0.0.1:{free_port()}"}
        accepted = []

        def mute(_, writer):
            accepted.append(writer)

        server = await asyncio.start_server(mute, *addresses[B].split(":"))
        async with Replica(hello_of(A), addresses, limits=Limits(handshake_s=0.1)) as a:
            await eventually(lambda: len(accepted) >= 2)
            assert a.log == []
        server.close()

    play(scenario)
