"""Dead or only slow: when ``unreachable`` is said of a peer, and when it must not be."""

import asyncio
import os
import signal
import subprocess
import sys
from itertools import pairwise

import msgspec
import pytest

from oarlock.network.links import Limits
from oarlock.network.messages import Refusal
from oarlock.network.transport import TcpNetwork

from .world import A, B, Middlebox, Replica, Stranger, ack, addresses_of, both_ways, eventually, free_port, hello_of

NEVER_AGAIN = Limits(first_backoff_s=60, longest_backoff_s=60)
"""A back-off so long that only a dial without it can be what a test sees."""

PROCESS = """
import asyncio, sys
from tests.network.world import Replica, hello_of
async def main(replica, boot, addresses):
    async with Replica(hello_of(replica, boot), addresses):
        await asyncio.Event().wait()
asyncio.run(main({replica}, {boot}, {addresses}))
"""


def spawn(replica, boot, addresses):
    code = PROCESS.format(replica=replica, boot=boot, addresses=dict(addresses))
    return subprocess.Popen([sys.executable, "-c", code])


class Unwilling(TcpNetwork):
    """A network on which dialling can be made to fail in a chosen way."""

    def __init__(self):
        self.error = None
        self.times = []

    @property
    def dials(self):
        return len(self.times)

    async def dial(self, host, port, protocol_factory):
        self.times.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error
        return await super().dial(host, port, protocol_factory)


def unable_to_dial():
    network = Unwilling()
    network.error = TimeoutError()
    return network


def test_a_killed_process_is_unreachable_within_moments(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            process = spawn(B, 1, addresses)
            try:
                await eventually(lambda: a.links.is_connected(B) and a.count("heard_hello", B), within_s=15)
                os.kill(process.pid, signal.SIGKILL)
                await eventually(lambda: a.count("unreachable", B), within_s=1)
                assert a.log[-2:] == [("disconnected", B), ("unreachable", B)]
            finally:
                process.kill()
                process.wait()
            for _ in range(3):
                a.links.probe(B)
                await asyncio.sleep(0.02)
            assert a.count("unreachable", B) == 1, "said once for each life"

    play(scenario)


def test_a_stopped_process_is_not_unreachable(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a:
            process = spawn(B, 1, addresses)
            try:
                await eventually(lambda: a.links.is_connected(B) and a.count("heard_hello", B), within_s=15)
                os.kill(process.pid, signal.SIGSTOP)
                for _ in range(20):
                    a.links.probe(B)
                    a.links.send(B, [ack(1)])
                    await asyncio.sleep(0.01)
                assert a.count("unreachable", B) == 0
            finally:
                process.kill()
                process.wait()

    play(scenario)


def test_scenario_57_a_middlebox_that_resets_all_connections_kills_nobody(play):
    async def scenario():
        real = addresses_of(A, B)
        seen_by_a = {A: real[A], B: f"127.0.0.1:{free_port()}"}
        seen_by_b = {A: f"127.0.0.1:{free_port()}", B: real[B]}
        async with (
            Middlebox(int(seen_by_a[B].split(":")[1]), real[B]) as to_b,
            Middlebox(int(seen_by_b[A].split(":")[1]), real[A]) as to_a,
            Replica(hello_of(A), seen_by_a) as a,
            Replica(hello_of(B), seen_by_b) as b,
        ):
            await both_ways(a, b)
            for times in range(1, 6):
                to_a.reset_all()
                to_b.reset_all()
                await eventually(lambda times=times: a.count("connected", B) > times, "a is linked again")
                await eventually(lambda times=times: b.count("connected", A) > times, "b is linked again")
                await both_ways(a, b)
            assert a.count("disconnected", B) >= 5
            assert a.count("unreachable", B) == b.count("unreachable", A) == 0

    play(scenario)


def test_a_middlebox_that_resets_every_connection_at_once_does_not_make_us_spin(play):
    async def scenario():
        real = addresses_of(A, B)
        seen_by_a = {A: real[A], B: f"127.0.0.1:{free_port()}"}
        async with (
            Middlebox(int(seen_by_a[B].split(":")[1]), real[B]) as middlebox,
            Replica(hello_of(A), seen_by_a) as a,
            Replica(hello_of(B), real) as b,
        ):
            await both_ways(a, b)
            a.disconnected = lambda peer: a.links.probe(peer)
            a.connected = lambda peer, hello: middlebox.reset_all()
            middlebox.reset_all()
            before = middlebox.passed
            await asyncio.sleep(1)
            assert 3 <= middlebox.passed - before <= 60

    play(scenario)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), OSError(113, "No route to host")])
def test_only_a_refused_dial_proves_a_death(play, error):
    async def scenario():
        network = Unwilling()
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, network=network) as a:
            async with Replica(hello_of(B), addresses) as b:
                await both_ways(a, b)
                network.error = error
            dials = network.dials
            await eventually(lambda: network.dials > dials + 3)
            assert a.count("disconnected", B) == 1
            assert a.count("unreachable", B) == 0
            network.error = ConnectionRefusedError()
            await eventually(lambda: a.count("unreachable", B) == 1)

    play(scenario)


def test_a_refused_dial_proves_nothing_while_the_inbound_connection_stands(play):
    async def scenario():
        network = Unwilling()
        addresses = addresses_of(A, B)
        network.error = ConnectionRefusedError()
        async with Replica(hello_of(A), addresses, network=network) as a:
            replaced, inbound = await Stranger.dial(addresses[A]), await Stranger.dial(addresses[A])
            await replaced.greet(hello_of(B))
            await inbound.greet(hello_of(B))
            await replaced.is_closed()
            replaced.leave()
            a.links.probe(B)
            dials = network.dials
            await eventually(lambda: network.dials > dials + 1)
            assert a.count("unreachable", B) == 0
            inbound.leave()
            await eventually(lambda: a.count("unreachable", B) == 1)

    play(scenario)


def test_the_end_of_the_inbound_connection_is_reason_to_dial_at_once(play):
    async def scenario():
        network = Unwilling()
        addresses = addresses_of(A, B)
        network.error = ConnectionRefusedError()
        async with Replica(hello_of(A), addresses, network=network, limits=NEVER_AGAIN) as a:
            inbound = await Stranger.dial(addresses[A])
            await inbound.greet(hello_of(B))
            await eventually(lambda: network.dials >= 2, "a peer that is heard is dialled at once")
            inbound.leave()
            await eventually(lambda: a.count("unreachable", B) == 1)

    play(scenario)


def test_the_end_of_the_outbound_connection_is_reason_to_dial_at_once(play):
    async def scenario():
        addresses = addresses_of(A, B)
        seen_by_b = {A: f"127.0.0.1:{free_port()}", B: addresses[B]}  # so that nothing else makes a dial
        async with (
            Replica(hello_of(B, 1), seen_by_b) as b,
            Replica(hello_of(A), addresses, limits=NEVER_AGAIN) as a,
        ):
            await eventually(lambda: a.links.is_connected(B))
            await b.links.close()
            await eventually(lambda: a.count("unreachable", B) == 1)

    play(scenario)


def test_the_back_off_grows_to_its_bound_and_starts_afresh_after_a_handshake(play):
    async def scenario():
        addresses = addresses_of(A, B)
        network = Unwilling()
        network.error = TimeoutError()
        limits = Limits(first_backoff_s=0.01, longest_backoff_s=0.2)
        async with Replica(hello_of(A), addresses, network=network, limits=limits) as a:
            await eventually(lambda: len(network.times) >= 9)
            waits = [later - earlier for earlier, later in pairwise(network.times)]
            assert waits[0] < 0.1
            assert all(wait >= 0.1 for wait in waits[5:])
            async with Replica(hello_of(B), addresses) as b:
                network.error = None
                await both_ways(a, b)
                network.error = TimeoutError()
                network.times.clear()
            await eventually(lambda: len(network.times) >= 6)
            waits = [later - earlier for earlier, later in pairwise(network.times)]
            assert min(waits[1:]) < 0.1

    play(scenario)


def test_nobody_is_said_to_have_died_who_was_never_met(play):
    async def scenario():
        network = Unwilling()
        async with Replica(hello_of(A), addresses_of(A, B), network=network) as a:
            await eventually(lambda: network.dials > 3)
            assert a.log == []

    play(scenario)


def test_a_successor_that_answers_our_dial_proves_a_death_before_it_is_connected(play):
    async def scenario():
        network = Unwilling()
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, network=network) as a:
            async with Replica(hello_of(B, 1), addresses) as b:
                await both_ways(a, b)
                network.error = TimeoutError()  # so that the gap between the two lives stays unseen
            async with Replica(hello_of(B, 2), addresses, network=unable_to_dial()):
                assert a.count("unreachable", B) == 0
                network.error = None
                await eventually(lambda: a.count("connected", B) == 2)
                assert a.log[-2:] == [("unreachable", B), ("connected", B)]

    play(scenario)


def test_a_successor_that_answers_our_dial_silences_its_predecessor(play):
    async def scenario():
        network = Unwilling()
        network.error = TimeoutError()
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, network=network) as a:
            predecessor = await Stranger.dial(addresses[A])
            await predecessor.greet(hello_of(B, 1))
            async with Replica(hello_of(B, 2), addresses, network=unable_to_dial()):
                network.error = None
                await predecessor.is_closed()
                predecessor.leave()
                assert a.log == [("heard_hello", B), ("unreachable", B), ("connected", B)]

    play(scenario)


def test_a_successor_that_dials_us_proves_a_death_and_takes_the_place(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses) as a, Replica(hello_of(B, 1), addresses) as b:
            await both_ways(a, b)
            successor = await Stranger.dial(addresses[A])
            await successor.greet(hello_of(B, 2))
            await eventually(lambda: a.count("disconnected", B) == 1, "the link to the old life ends")
            order = [event for event, _ in a.log]
            assert order.index("unreachable") < len(order) - 1 - order[::-1].index("heard_hello")
            assert a.count("unreachable", B) == 1
            await eventually(lambda: b.refusals, "the old life is refused from now on")
            assert b.refusals[0].code == "past"
            assert not a.links.is_connected(B)
            b.links.send(A, [ack(1)])
            await asyncio.sleep(0.05)
            assert a.inbox == []
            successor.leave()

    play(scenario)


def test_two_processes_of_the_same_start_are_not_both_believed(play):
    async def scenario():
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses):
            first, copy = await Stranger.dial(addresses[A]), await Stranger.dial(addresses[A])
            await first.greet(hello_of(B))
            answer = await copy.greet(hello_of(B))
            assert not isinstance(answer, Refusal), "the same process may come again"
            other = await Stranger.dial(addresses[A])
            answer = await other.greet(msgspec.structs.replace(hello_of(B), nonce=5))
            assert isinstance(answer, Refusal)
            assert answer.code == "replica"
            for stranger in (first, copy, other):
                stranger.leave()

    play(scenario)


def test_a_dial_that_is_never_answered_is_given_up(play):
    class Void(Unwilling):
        async def dial(self, host, port, protocol_factory):
            self.times.append(asyncio.get_running_loop().time())
            await asyncio.get_running_loop().create_future()

    async def scenario():
        network = Void()
        async with Replica(hello_of(A), addresses_of(A, B), network=network, limits=Limits(handshake_s=0.05)) as a:
            await eventually(lambda: network.dials >= 2)
            assert a.log == []

    play(scenario)


def test_why_a_peer_cannot_be_reached_is_logged_once_until_it_changes(play, caplog):
    async def scenario():
        network = Unwilling()
        addresses = addresses_of(A, B)
        async with Replica(hello_of(A), addresses, network=network):
            await eventually(lambda: network.dials >= 4)
            assert len(caplog.messages) == 1
            assert addresses[B] in caplog.messages[0]
            network.error = OSError(113, "No route to host")
            await eventually(lambda: network.dials >= 8)
            assert len(caplog.messages) == 2
            assert "No route to host" in caplog.messages[1]

    play(scenario)
