"""Copies the project, with a leader that answers reads without proving that it still leads: only for comparison.

The product has no such option, since these answers can be older than a write that was acknowledged before. All else is
as in the product: reads that arrive together are grouped, the next turn answers them in one batch from the state that
is applied. Only the round is missing: neither its messages nor the wait for them.
"""

import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
PARTS = ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml", "src")
MODULE = "src/oarlock/core/raft.py"
VERIFIED = """\
        authority.verify(self, request, deadline, peer)
"""
UNVERIFIED = """\
        if isinstance(self.role, Leader):
            self.read_outcomes.append(ReadConfirmed(request, self.applied_index, self.log_time.at(now)))
        else:  # somebody else has to be asked
            authority.verify(self, request, deadline, peer)
"""


def main() -> None:
    copy = Path(sys.argv[1])
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for part in PARTS:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / part, copy / part)
    module = copy / MODULE
    source = module.read_text()
    if source.count(VERIFIED) != 1:
        sys.exit(f"{MODULE} has changed, and this program must follow: it looks for\n{VERIFIED}")
    module.write_text(source.replace(VERIFIED, UNVERIFIED))


if __name__ == "__main__":
    main()
