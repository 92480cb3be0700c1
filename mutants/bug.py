"""What a planted bug is. Imports nothing of the product: a worker must know the bug before any of that is loaded."""

from collections.abc import Mapping

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """One change of a module's source."""

    module: str
    """Within ``oarlock``: ``core.election``."""
    before: str
    """Stands in the source exactly once."""
    after: str


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """A rule, and the edits that break it. Where the product checks the rule itself, they take out that check as well:
    what is measured is whether somebody else would notice."""

    name: str
    rule: str
    """The sentence that is not true any more."""
    edits: tuple[Edit, ...]
    tries: tuple[str, ...] = ()
    """Profiles of faults that are likely to bring it to light: every second run is of one of these."""
    mix: Mapping[str, float] = {}
    """Or, in place of those, the faults whose coincidence it takes, and how often each begins in a minute."""
    replicas: int = 3
    seconds: float = 20.0
    """Virtual, of each run."""
    tests: tuple[str, ...] = ()
    """Files of tests that notice it, for what takes a coincidence that no seed will meet: after a few runs."""
