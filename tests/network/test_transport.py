"""The real network: options of sockets, names with several addresses, and what counts as a refusal."""

import asyncio
import errno
import socket

import pytest

from oarlock.network import transport
from oarlock.network.transport import TcpNetwork

from .world import eventually, free_port


class Quiet(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


def addresses_are(monkeypatch, *hosts):
    async def resolve(host, port):
        return [(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)) for host in hosts]

    monkeypatch.setattr(transport, "_resolve", resolve)


def test_both_ends_are_tuned(play):
    async def scenario():
        accepted = []
        network = TcpNetwork()
        listener = await network.listen("127.0.0.1", 0, lambda: accepted.append(Quiet()) or accepted[-1])
        port = int(listener.addresses[0].rpartition(":")[2])
        dialled = await network.dial("127.0.0.1", port, Quiet)
        await eventually(lambda: accepted and hasattr(accepted[0], "transport"))
        for end in (dialled, accepted[0].transport):
            sock = end.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == transport.UNACKNOWLEDGED_MS
            end.abort()
        listener.close()

    play(scenario)


def test_a_dead_port_refuses(play):
    async def scenario():
        with pytest.raises(ConnectionRefusedError):
            await TcpNetwork().dial("127.0.0.1", free_port(), Quiet)

    play(scenario)


def test_a_name_refuses_only_if_all_its_addresses_do(play, monkeypatch):
    async def scenario():
        addresses_are(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(ConnectionRefusedError):
            await TcpNetwork().dial("name", free_port(), Quiet)
        addresses_are(monkeypatch, "127.0.0.1", "255.255.255.255")
        with pytest.raises(OSError) as raised:
            await TcpNetwork().dial("name", free_port(), Quiet)
        assert not isinstance(raised.value, ConnectionRefusedError)

    play(scenario)


def test_an_address_of_a_kind_this_machine_lacks_does_not_hide_a_refusal(play, monkeypatch):
    real = transport._open_socket

    def no_ipv6(family):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family)

    async def scenario():
        monkeypatch.setattr(transport, "_open_socket", no_ipv6)
        addresses_are(monkeypatch, "::1", "127.0.0.1")
        with pytest.raises(ConnectionRefusedError):
            await TcpNetwork().dial("name", free_port(), Quiet)
        listener = await TcpNetwork().listen("name", 0, Quiet)
        assert len(listener.addresses) == 1
        listener.close()

    play(scenario)


def test_the_next_address_is_tried(play, monkeypatch):
    async def scenario():
        listener = await TcpNetwork().listen("127.0.0.1", 0, Quiet)
        addresses_are(monkeypatch, "127.0.0.2", "127.0.0.1")
        dialled = await TcpNetwork().dial("name", int(listener.addresses[0].rpartition(":")[2]), Quiet)
        dialled.abort()
        listener.close()

    play(scenario)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..b"])
def test_a_name_that_cannot_be_resolved_is_an_oserror_and_no_refusal(play, host):
    async def scenario():
        with pytest.raises(OSError) as raised:
            await TcpNetwork().dial(host, 1, Quiet)
        assert not isinstance(raised.value, ConnectionRefusedError)

    play(scenario)
