"""The ``oarlock`` command: arguments and terminals. It decides nothing about replication.

Exit statuses: 0 when all went well, 1 for a failure while running, 2 when something was asked or found that
cannot start. Every failure is one sentence on standard error that says what is wrong and what to do.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the arguments name, and exit."""
    try:
        import click  # noqa: F401
        import hiredis  # noqa: F401
    except ModuleNotFoundError as missing:
        print(
            f"oarlock: the command line needs the package {missing.name}: install oarlock with its [server] extra",
            file=sys.stderr,
        )
        sys.exit(2)
    from oarlock.cli.command import run

    sys.exit(run())
