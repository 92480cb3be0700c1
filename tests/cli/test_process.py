"""What a replica tells the others of where it listens."""

import pytest

from oarlock.cli.process import as_told


@pytest.mark.parametrize(
    ("listens", "told"),
    [
        ("10.0.0.1:8401", "10.0.0.1:8401"),
        ("127.0.0.1:8401", "127.0.0.1:8401"),
        ("0.0.0.0:8401", "db1:8401"),
        ("[::]:8401", "db1:8401"),
    ],
)
def test_who_listens_everywhere_is_found_where_its_raft_port_is(listens: str, told: str) -> None:
    assert as_told(listens, "db1:7401") == told
