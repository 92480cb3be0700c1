"""MULTI, EXEC, DISCARD, WATCH and UNWATCH: what a connection gathers until it is one command of the log.

As in Redis, a command is looked up when it is queued and its arguments are read when it is executed; so an unknown
command spoils the transaction, and a wrong option only its own reply.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from oarlock.kv.glob import MAX_PATTERN_BYTES
from oarlock.kv.packing import Watched, exec_command
from oarlock.kv.results import OK, ErrorReply, SimpleString
from oarlock.server.redis.commands import Kind
from oarlock.server.redis.group import Group
from oarlock.server.redis.protocol import ARGUMENT_BYTES
from oarlock.server.redis.replies import NULL_ARRAY, Encoded, Reply
from oarlock.server.redis.requests import Canonical, Refused, Request, size_in_log
from oarlock.types import MAX_COMMAND_BYTES

IMMEDIATE: Final = frozenset((b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"QUIT", b"RESET"))
"""What is not queued after MULTI."""

QUEUED: Final = SimpleString(b"QUEUED")

_OVERHEAD_BYTES: Final = 128
"""What a queued command or a watched key costs in memory besides its bytes, about."""
_SEARCHES: Final = frozenset((b"KEYS", b"SCAN"))
_SEARCH_BYTES: Final = 256
"""What a search counts for at least, so that a transaction can hold sixteen: each may look at every key, and at no
replica does anything else happen until the last has."""
_MAX_WATCHED_BYTES: Final = 1024 * 1024
_LEAVE_FOR_WATCHED_BYTES: Final = 2 * _MAX_WATCHED_BYTES
"""A transaction travels with what it watches, in one command."""


class Transaction:
    """What was queued since MULTI."""

    __slots__ = ("_log_bytes", "_pattern_bytes", "held_bytes", "requests", "spoilt")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.spoilt = False
        """A command could not be queued, so that nothing will be executed."""
        self.held_bytes = 0
        """What the requests take in memory, about."""
        self._log_bytes = 0
        self._pattern_bytes = 0

    def spoil(self) -> None:
        self.spoilt = True
        self.requests.clear()
        self.held_bytes = 0

    def queue(self, request: Request) -> Reply:
        """Keep a command for EXEC. Its reply tells the client so."""
        if self.spoilt:
            return QUEUED
        self._log_bytes += size_in_log(request) + _OVERHEAD_BYTES
        if self._log_bytes > MAX_COMMAND_BYTES - _LEAVE_FOR_WATCHED_BYTES:
            self.spoil()
            raise Refused(ErrorReply(b"ERR the transaction is too large"))
        if request[0].upper() in _SEARCHES:
            self._pattern_bytes += max(_SEARCH_BYTES, sum(map(len, request)))
            if self._pattern_bytes > MAX_PATTERN_BYTES:
                self.spoil()
                raise Refused(ErrorReply(b"ERR the transaction searches too much"))
        self.held_bytes += sum(map(len, request)) + ARGUMENT_BYTES * len(request) + _OVERHEAD_BYTES
        self.requests.append(request)
        return QUEUED


class Watch(Group):
    """A WATCH: a read of versions. No later write of its connection is submitted before it is answered."""

    __slots__ = ("keys", "watched")

    def __init__(self, keys: Sequence[bytes], resp3: bool, when_answered: Callable[[], None]) -> None:
        super().__init__(Kind.READ, resp3, when_answered, [(b"VERSION", *keys)])
        self.size_bytes = sum(map(len, keys)) + _OVERHEAD_BYTES * len(keys)
        self.keys = keys
        self.watched: list[Watched] = [(keys[0], -1)]
        """Keys with their versions; before they are known, or if they never are, what lets no transaction through."""

    def resolved(self, results: Sequence[Any]) -> None:
        self.watched = list(zip(self.keys, results[0], strict=True))
        super().resolved([OK])


class Watches:
    """All that a connection watches."""

    __slots__ = ("_keys", "each", "size_bytes")

    def __init__(self) -> None:
        self.each: list[Watch] = []
        self.size_bytes = 0
        self._keys: set[bytes] = set()

    def new_among(self, keys: Sequence[bytes]) -> list[bytes]:
        """The keys that are not watched yet. For one that is, the version that counts is the older one."""
        return [key for key in dict.fromkeys(keys) if key not in self._keys]

    def add(self, watch: Watch) -> None:
        self.each.append(watch)
        self.size_bytes += watch.size_bytes
        self._keys.update(watch.keys)


class Exec(Group):
    """A transaction on its way: one command, completed when its watches are answered."""

    __slots__ = ("commands", "given", "watches")

    def __init__(
        self,
        commands: list[Canonical],
        given: list[Encoded | None],
        watches: list[Watch],
        resp3: bool,
        when_answered: Callable[[], None],
    ) -> None:
        super().__init__(Kind.WRITE, resp3, when_answered, [(b"EXEC",)])
        self.commands = commands
        self.given = given
        """Replies that are known already, and None where the result of a command will stand."""
        self.watches = watches
        self.size_bytes = sum(watch.size_bytes for watch in watches) + sum(map(size_in_log, commands))
        self.held_bytes = ARGUMENT_BYTES * sum(map(len, commands)) + _OVERHEAD_BYTES * len(commands)

    def seal(self) -> None:
        watched = [each for watch in self.watches for each in watch.watched]
        self.items[0] = exec_command(watched, self.commands)

    def resolved(self, results: Sequence[Any]) -> None:
        (executed,) = results
        if executed is None:
            super().resolved([NULL_ARRAY[self.resp3]])
        else:
            rest = iter(executed)
            super().resolved([[next(rest) if reply is None else reply for reply in self.given]])


class Session(Protocol):
    """What a connection keeps of transactions."""

    resp3: bool
    transaction: Transaction | None
    watches: Watches

    def understood(self, request: Request) -> tuple[Kind, Any]:
        """The kind of a request and its canonical form; or, answered on the spot, the reply's bytes."""
        ...

    def answered(self) -> None:
        """A group has its outcome."""
        ...


def multi(session: Session, request: Request) -> Reply:
    if session.transaction is not None:
        raise Refused(ErrorReply(b"ERR MULTI calls can not be nested"))
    session.transaction = Transaction()
    return OK


def discard(session: Session, request: Request) -> Reply:
    if session.transaction is None:
        raise Refused(ErrorReply(b"ERR DISCARD without MULTI"))
    session.transaction = None
    session.watches = Watches()
    return OK


def aborted(session: Session, why: ErrorReply) -> ErrorReply:
    """An EXEC that is wrong itself ends the transaction, if there is one."""
    session.transaction = None
    session.watches = Watches()
    return ErrorReply(b"EXECABORT Transaction discarded because of: " + why.message.removeprefix(b"ERR "))


def watch(session: Session, request: Request) -> "Reply | Watch":
    if session.transaction is not None:
        raise Refused(ErrorReply(b"ERR WATCH inside MULTI is not allowed"))
    keys = session.watches.new_among(request[1:])
    if not keys:
        return OK
    new = Watch(keys, session.resp3, session.answered)
    if new.size_bytes + session.watches.size_bytes > _MAX_WATCHED_BYTES:
        raise Refused(ErrorReply(b"ERR too many keys are watched"))
    session.watches.add(new)
    return new


def unwatch(session: Session, request: Request) -> Reply:
    session.watches = Watches()
    return OK


def exec_(session: Session, request: Request) -> "Reply | Exec":
    """Commands that concern no data are executed here and now, also if it then turns out that a key has changed."""
    transaction, watches = session.transaction, session.watches.each
    if transaction is None:
        raise Refused(ErrorReply(b"ERR EXEC without MULTI"))
    session.transaction = None
    session.watches = Watches()
    if transaction.spoilt:
        raise Refused(ErrorReply(b"EXECABORT Transaction discarded because of previous errors."))
    commands: list[Canonical] = []
    replies: list[Encoded | None] = []
    for queued in transaction.requests:
        kind, item = session.understood(queued)
        if kind is Kind.LOCAL:
            replies.append(Encoded(item))
        else:
            commands.append(item)
            replies.append(None)
    if commands or watches:
        return Exec(commands, replies, watches, session.resp3, session.answered)
    return list(replies)
