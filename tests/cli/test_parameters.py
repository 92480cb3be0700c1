import click
import pytest

from oarlock.cli.parameters import address, members, size


@pytest.mark.parametrize("text", ["127.0.0.1:7401", "db1.example:1", "[::1]:65535"])
def test_an_address_stays_as_it_was_typed(text: str) -> None:
    assert address(f" {text} ") == text


@pytest.mark.parametrize("text", ["", "7401", "host:", "host:0", "host:65536", "host:7x", "::1:7401"])
def test_anything_else_is_bad_usage(text: str) -> None:
    with pytest.raises(click.BadParameter):
        address(text)


def test_members_come_in_the_order_of_their_ids() -> None:
    found = members("3=c:3, 1=a:1 ,2=b:2")
    assert list(found.items()) == [(1, "a:1"), (2, "b:2"), (3, "c:3")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not ID=HOST:PORT"),
        ("1", "is not ID=HOST:PORT"),
        ("1=a:1,", "is not ID=HOST:PORT"),
        ("0=a:1", "id of 1 or more"),
        ("x=a:1", "is not ID=HOST:PORT"),
        ("1=a", "'a' has no port"),
        ("1=a:99999", "no valid port"),
        ("1=a:1,1=b:1", "replica 1 is listed twice"),
        ("1=a:1,2=a:1", "two replicas have the address a:1"),
    ],
)
def test_a_bad_list_of_members_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(click.BadParameter, match=complaint):
        members(text)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1", 1), (" 65536 ", 65536), ("7B", 7), ("512KiB", 512 << 10), ("64 MiB", 64 << 20), ("2GiB", 2 << 30)],
)
def test_a_size_is_so_many_bytes(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize("text", ["", "0", "0MiB", "-1", "64MB", "64mib", "1.5GiB", "MiB", "1e6", "٣"])
def test_what_could_be_meant_otherwise_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size like"):
        size(text)
