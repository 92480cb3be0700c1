"""Who may talk to whom: the checks of a Hello that need nothing but the two Hellos. Pure.

What takes memory of the past (boots, incarnations, what was acknowledged) is judged by the caller's ``examine`` and
by :mod:`oarlock.network.presence`.
"""

from oarlock.network.messages import Hello, Refusal
from oarlock.types import ReplicaId


def negotiate(own: Hello, theirs: Hello) -> int | None:
    """The protocol version that the two will speak: the newest that both know, or None."""
    version = min(own.newest_version, theirs.newest_version)
    return version if version >= max(own.oldest_version, theirs.oldest_version) else None


def review(own: Hello, theirs: Hello, expected: ReplicaId | None) -> Refusal | None:
    """Why the other side cannot be a peer, or None if it may be.

    ``expected`` is the replica that was dialled (None for whoever dialled us).
    """
    # Versions first: the meaning of every other field may depend on it.
    if negotiate(own, theirs) is None:
        return Refusal(
            "version",
            f"I speak protocol versions {own.oldest_version} to {own.newest_version}, "
            f"you speak {theirs.oldest_version} to {theirs.newest_version}",
        )
    if theirs.cluster_id != own.cluster_id:
        return Refusal("cluster", f"I belong to cluster {own.cluster_id!r}, you belong to {theirs.cluster_id!r}")
    if theirs.replica == own.replica:
        if theirs.nonce == own.nonce:
            return Refusal("replica", f"replica {own.replica} dialled itself: an address of another leads to it")
        return Refusal("replica", f"I am replica {own.replica} too: two processes have the same id")
    if expected is not None and theirs.replica != expected:
        return Refusal("replica", f"replica {expected} was dialled, and replica {theirs.replica} answered")
    return None
