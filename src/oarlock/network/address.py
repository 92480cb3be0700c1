"""Addresses as people write them: ``host:port``, an IPv6 host in brackets."""

from typing import NamedTuple

from oarlock.errors import OarlockError


class InvalidAddress(OarlockError, ValueError):
    """The text is no ``host:port``. The message says what is wrong with it, for the one who typed it."""


class Address(NamedTuple):
    """A host (name or IP, without brackets) and a port. ``str()`` gives back ``host:port``."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)


_EVERYWHERE = ("0.0.0.0", "::", "0", "*")


def parse_address(text: str, *, allow_any_port: bool = False, to_be_dialled: bool = False) -> Address:
    """Split ``host:port`` or ``[ipv6]:port``. Port 0, "any free one", is for listening only, and so is the host that
    stands for all addresses of one's own machine; ``to_be_dialled`` refuses that, too.

    Raises InvalidAddress.

    >>> parse_address("[::1]:7001")
    Address(host='::1', port=7001)
    """
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise InvalidAddress(f"{text!r} has no port; write host:port, as in 127.0.0.1:7001")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidAddress(f"{text!r} is ambiguous; write an IPv6 address in brackets, as in [::1]:7001")
    if not host or any(character.isspace() or character in "[]/" for character in host):
        raise InvalidAddress(f"{text!r} has no valid host; write host:port, as in 127.0.0.1:7001")
    if to_be_dialled and host in _EVERYWHERE:
        raise InvalidAddress(f"{text!r} is no address that others could reach; write one of the machine's own")
    if not (port_text.isascii() and port_text.isdecimal()) or int(port_text) > 65535:
        raise InvalidAddress(f"{text!r} has no valid port; it must be a number from 1 to 65535")
    port = int(port_text)
    if port == 0 and not allow_any_port:
        raise InvalidAddress(f"{text!r} has port 0, which no one can connect to; write a number from 1 to 65535")
    return Address(host, port)


def format_address(host: str, port: int) -> str:
    """``host:port``, with brackets round an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
