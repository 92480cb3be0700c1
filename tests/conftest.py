"""What holds for all tests."""

import pytest

import oarlock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if oarlock.__compiled__:
        reason = "it replaces a part of what is compiled, which cannot be done"
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(pytest.mark.skip(reason=reason))
