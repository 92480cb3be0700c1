"""host:port, as people write it."""

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarlock.network import address
from oarlock.network.address import InvalidAddress, format_address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7001", "127.0.0.1", 7001),
        ("replica-2.example:65535", "replica-2.example", 65535),
        ("[::1]:1", "::1", 1),
        ("[fe80::1%eth0]:7001", "fe80::1%eth0", 7001),
    ],
)
def test_addresses_are_split_and_put_together(text, host, port):
    assert parse_address(text) == (host, port)
    assert str(parse_address(text)) == text == format_address(host, port)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        ("::1:7001", "brackets"),
        (":7001", "host"),
        ("[]:7001", "host"),
        ("a b:7001", "host"),
        ("http://a:7001", "brackets"),
        ("a:", "port"),
        ("a:x", "port"),
        ("a:-1", "port"),
        ("a:65536", "port"),
        ("a:0", "port 0"),
        ("a:٣", "port"),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(text, says):
    with pytest.raises(InvalidAddress, match=says) as raised:
        parse_address(text)
    assert repr(text) in str(raised.value)


def test_any_free_port_is_for_listening():
    assert parse_address("a:0", allow_any_port=True).port == 0


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text):
    try:
        parsed = parse_address(text)
    except InvalidAddress:
        return
    assert parse_address(str(parsed)) == parsed


def test_the_examples_hold():
    assert doctest.testmod(address).failed == 0
