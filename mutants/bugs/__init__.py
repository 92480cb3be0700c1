"""The bugs, in files by what they break."""

from mutants.bug import Bug
from mutants.bugs import durability, elections, keyvalue, network, node, reads, replication, writes

BUGS: list[Bug] = [
    bug for group in (elections, replication, durability, reads, writes, node, keyvalue, network) for bug in group.BUGS
]
