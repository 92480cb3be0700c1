"""Public errors. Each says which of two things is true of the request: not executed, or outcome unknown.

Every :class:`NotExecuted` is safe to retry: the command did not happen and never will. After an
:class:`OutcomeUnknown` the command may have happened, or may still happen; retry only what is idempotent.
"""

from oarlock.types import ReplicaId


class OarlockError(Exception):
    """Base of every error that Oarlock raises on purpose."""


class NotExecuted(OarlockError):
    """The request had no effect and will have none. Safe to retry."""


class NotLeader(NotExecuted):
    """This replica does not lead. ``leader`` is the leader's id if it is known. Safe to retry there."""

    def __init__(self, leader: ReplicaId | None = None) -> None:
        super().__init__(f"not the leader; replica {leader} is" if leader else "not the leader, and none is known")
        self.leader = leader


class ChangeRefused(NotExecuted):
    """The members cannot be changed so, or not now. The message says why. Nothing was changed."""


class TermElapsed(NotExecuted):
    """The leadership under which the read began ended before the read was confirmed. Nothing was read."""

    def __init__(self) -> None:
        super().__init__("the leadership under which the request began has ended")


class AuthorityTimedOut(NotExecuted):
    """No majority confirmed the leader before the deadline. Nothing was read."""

    def __init__(self) -> None:
        super().__init__("no majority of replicas answered before the deadline")


class Unavailable(NotExecuted):
    """No leader took the command before its deadline. It was not executed."""

    def __init__(self, message: str = "no leader took the request before its deadline") -> None:
        super().__init__(message)


class Overloaded(NotExecuted):
    """A bounded queue is full, or there is no disk space to accept writes. Retry later."""

    def __init__(self, message: str = "too many requests are waiting") -> None:
        super().__init__(message)


class ShuttingDown(NotExecuted):
    """The replica is stopping and takes nothing new. Retry at another replica."""

    def __init__(self) -> None:
        super().__init__("this replica is shutting down")


class CommandTooLarge(NotExecuted):
    """The command exceeds :data:`oarlock.types.MAX_COMMAND_BYTES`. Do not retry it as it is."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"a command of {size_bytes} bytes exceeds the limit of {limit_bytes}")


class OutcomeUnknown(OarlockError):
    """The deadline passed, or the replica stopped, before the fate of the command was known.

    It may have been executed, and may still be. Retry only commands that are idempotent.
    """

    def __init__(self, message: str = "the outcome was not known before the deadline") -> None:
        super().__init__(message)


class ReplicaFailed(OarlockError):
    """This replica met an error that it must not survive (disk, apply, a broken invariant) and has stopped."""

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        """``cause`` becomes ``__cause__``, which ``raise ... from`` says to nobody where it is compiled."""
        super().__init__(text)
        if cause is not None:
            self.__cause__ = cause


class ReplicaRefused(ReplicaFailed):
    """The other replicas will not have this one: its data directory is not what it should be. Exit status 2."""


class ReplicaRemoved(ReplicaRefused):
    """The cluster has gone on without this replica, as it was told to. Nothing is wrong. Exit status 0."""


class StartupError(OarlockError):
    """The replica cannot start as asked. The message says what is wrong and what to do. Exit status 2."""


class DirectoryInUse(StartupError):
    """Another process holds the lock of the data directory."""


class CorruptLog(StartupError):
    """The log on disk is damaged where it may hold acknowledged entries. Names file, offset and what to do."""


class CorruptSnapshot(StartupError):
    """A snapshot is damaged. Names file and offset."""


class InvariantViolated(AssertionError):
    """One of the named invariants of :mod:`oarlock.core.invariants` does not hold. A bug; the replica stops."""
