"""The ordinary command line, but a leader answers reads without proving that it still leads: only for comparison.

The product has no such option, since these answers can be older than a write that was acknowledged before. All else is
as in the product: reads that arrive together are grouped, the next turn answers them in one batch from the state that
is applied. Only the round is missing: neither its messages nor the wait for them.
"""

import sys
from pathlib import Path
from typing import Any

import oarlock.cli.local
from oarlock.cli import main
from oarlock.cli.cluster import ReplicaProcess
from oarlock.core.raft import Raft
from oarlock.core.ready import ReadConfirmed
from oarlock.core.roles import Leader
from oarlock.types import NO_REPLICA, ReplicaId

_verify_authority = Raft.verify_authority
_plan = oarlock.cli.local.plan


def _confirm_at_once(raft: Raft, request: Any, now: float, deadline: float, *, peer: ReplicaId = NO_REPLICA) -> None:
    """Count as confirmed at the index applied here, unless somebody else has to be asked."""
    if not isinstance(raft.role, Leader):
        _verify_authority(raft, request, now, deadline, peer=peer)
        return
    raft.now = now
    raft.read_outcomes.append(ReadConfirmed(request, raft.applied_index, raft.log_time.at(now)))


def _plan_with_this_program(*arguments: Any) -> list[ReplicaProcess]:
    """``local`` starts its replicas by ``-m oarlock serve``; here they have to be this program as well."""
    replicas = _plan(*arguments)
    for replica in replicas:
        serve = replica.command.index("serve")
        replica.command = [sys.executable, str(Path(__file__).absolute()), *replica.command[serve:]]
    return replicas


if __name__ == "__main__":
    Raft.verify_authority = _confirm_at_once  # type: ignore[method-assign]
    oarlock.cli.local.plan = _plan_with_this_program
    main()
