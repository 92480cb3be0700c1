"""The bugs, in files by what they break. Those of ``core_*`` are for the scripts, which catch every one of them."""

from mutants.bug import Bug
from mutants.bugs import (
    core_elections,
    core_failover,
    core_following,
    core_membership,
    core_reads,
    core_replication,
    core_snapshots,
    durability,
    elections,
    keyvalue,
    network,
    node,
    reads,
    replication,
    snapshots,
    writes,
)

_CORE = (core_elections, core_failover, core_replication, core_following, core_reads, core_membership, core_snapshots)
_ALL = (elections, replication, durability, reads, writes, node, keyvalue, network, snapshots, *_CORE)

BUGS: list[Bug] = [bug for group in _ALL for bug in group.BUGS]
