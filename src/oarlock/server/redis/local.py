"""Commands that are answered on the spot: what concerns the connection or the server, and no data."""

import functools
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import msgspec

from oarlock.kv import integers
from oarlock.kv.glob import MAX_PATTERN_BYTES, matcher
from oarlock.kv.results import NOT_AN_INTEGER, OK, ErrorReply, SimpleString
from oarlock.server.redis import transactions
from oarlock.server.redis.commands import COMMANDS, Kind
from oarlock.server.redis.group import Group
from oarlock.server.redis.info import client_line, info
from oarlock.server.redis.replies import Encoded, Reply, Verbatim, encode
from oarlock.server.redis.requests import PATTERN_TOO_LONG, SYNTAX_ERROR, Refused, Request, fits, pattern, wrong_arity
from oarlock.server.redis.service import REDIS_VERSION, Service


class Session(transactions.Session, Protocol):
    """What a connection remembers of its client."""

    service: Service
    client_id: int
    name: bytes
    addresses: tuple[str, ...]
    since_s: float

    def quit(self) -> None:
        """Take nothing more, and close once all replies are out."""
        ...


MOST_WORDS: Final = 1024
"""Of one command that is answered on the spot, between two others: reading a million would stall the replica."""

Handler: TypeAlias = "Callable[[Session, Request], Reply | Group]"


class Local(msgspec.Struct, frozen=True):
    """One such command, or one of its subcommands."""

    arity: int
    handler: Handler


def _ping(session: Session, request: Request) -> Reply:
    if len(request) > 2:
        raise Refused(wrong_arity(b"ping"))
    return request[1] if len(request) == 2 else SimpleString(b"PONG")


def _echo(session: Session, request: Request) -> Reply:
    return request[1]


def _select(session: Session, request: Request) -> Reply:
    number = integers.parse(request[1])
    if number is None:
        raise Refused(NOT_AN_INTEGER)
    if not -(1 << 31) <= number < 1 << 31:
        raise Refused(ErrorReply(b"ERR value is out of range, value must between -2147483648 and 2147483647"))
    if number != 0:
        raise Refused(ErrorReply(b"ERR DB index is out of range"))
    return OK


def _quit(session: Session, request: Request) -> Reply:
    session.quit()
    return OK


def _reset(session: Session, request: Request) -> Reply:
    session.transaction = None
    session.watches = transactions.Watches()
    session.name = b""
    session.resp3 = False
    return SimpleString(b"RESET")


def _time(session: Session, request: Request) -> Reply:
    seconds, milliseconds = divmod(session.service.wall_ms(), 1000)
    return [b"%d" % seconds, b"%d" % (milliseconds * 1000)]


def _hello(session: Session, request: Request) -> Reply:
    resp3 = session.resp3
    name: bytes | None = None
    if len(request) > 1:
        version = integers.parse(request[1])
        if version is None:
            raise Refused(ErrorReply(b"ERR Protocol version is not an integer or out of range"))
        if version not in (2, 3):
            raise Refused(ErrorReply(b"NOPROTO unsupported protocol version"))
        resp3 = version == 3
    options = request[2:]
    while options:
        option = options[0].upper()
        if option == b"AUTH" and len(options) >= 3:
            # Like a Redis without passwords: the default user may come in with any.
            if options[1] != b"default":
                raise Refused(ErrorReply(b"WRONGPASS invalid username-password pair or user is disabled."))
            del options[:3]
        elif option == b"SETNAME" and len(options) >= 2:
            name = _checked_name(options[1])
            del options[:2]
        else:
            raise Refused(ErrorReply(b"ERR Syntax error in HELLO option '" + options[0] + b"'"))
    session.resp3 = resp3
    if name is not None:
        session.name = name
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION,
        b"proto": 3 if resp3 else 2,
        b"id": session.client_id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


def _checked_name(name: bytes) -> bytes:
    if any(not 0x21 <= byte <= 0x7E for byte in name):
        raise Refused(ErrorReply(b"ERR Client names cannot contain spaces, newlines or special characters."))
    return name


def _client_id(session: Session, request: Request) -> Reply:
    return session.client_id


def _client_getname(session: Session, request: Request) -> Reply:
    return session.name or None


def _client_setname(session: Session, request: Request) -> Reply:
    session.name = _checked_name(request[2])
    return OK


def _client_setinfo(session: Session, request: Request) -> Reply:
    if request[2].upper() not in (b"LIB-NAME", b"LIB-VER"):
        raise Refused(ErrorReply(b"ERR Unrecognized option '" + request[2] + b"'"))
    return OK


def _client_info(session: Session, request: Request) -> Reply:
    return Verbatim(client_line(session))


def _client_list(session: Session, request: Request) -> Reply:
    """Only the client itself is told of: what others do concerns nobody."""
    options = request[2:]
    own = b"%d" % session.client_id
    match [option.upper() for option in options[:1]]:
        case []:
            shown = True
        case [b"TYPE"] if len(options) == 2:
            kind = options[1].lower()
            if kind not in (b"normal", b"master", b"replica", b"slave", b"pubsub"):
                raise Refused(ErrorReply(b"ERR Unknown client type '" + options[1] + b"'"))
            shown = kind == b"normal"
        case [b"ID"] if len(options) > 1:
            if any((number := integers.parse(option)) is None or number < 0 for option in options[1:]):
                raise Refused(ErrorReply(b"ERR Invalid client ID"))
            shown = own in options[1:]
        case _:
            raise Refused(SYNTAX_ERROR)
    return Verbatim(client_line(session) if shown else b"")


def _client_switch(session: Session, request: Request) -> Reply:
    """Memory is not taken back from clients or keys here, so there is nothing to switch."""
    if request[2].upper() not in (b"ON", b"OFF"):
        raise Refused(SYNTAX_ERROR)
    return OK


_CONFIGURATION: Final[dict[bytes, bytes]] = {
    b"appendonly": b"yes",
    b"databases": b"1",
    b"maxmemory": b"0",
    b"proto-max-bulk-len": b"8388608",
    b"save": b"",
}
"""For clients that ask before they start: every write is on disk, and there are no snapshots by the clock."""


def _config_get(session: Session, request: Request) -> Reply:
    found: dict[bytes, Reply] = {}
    patterns_bytes = 0
    for asked in request[2:]:
        if asked.lower() in _CONFIGURATION:
            found[asked] = _CONFIGURATION[asked.lower()]  # Under the name it was asked by, as Redis does.
        else:
            patterns_bytes += len(asked)
            if patterns_bytes > MAX_PATTERN_BYTES:
                raise Refused(PATTERN_TOO_LONG)
            match = matcher(asked.lower())
            found |= {name: value for name, value in _CONFIGURATION.items() if match(name)}
    return found


def _info(session: Session, request: Request) -> Reply:
    return Verbatim(info(session.service, request[1:]))


def _command(session: Session, request: Request) -> Reply:
    return _all_described()


@functools.cache
def _all_described() -> Encoded:
    return Encoded(encode([_described(name) for name in _names()], resp3=False))  # It is the same in RESP3.


def _command_count(session: Session, request: Request) -> Reply:
    return len(_names())


def _command_docs(session: Session, request: Request) -> Reply:
    return {}


def _command_info(session: Session, request: Request) -> Reply:
    return [_described(name.upper()) for name in request[2:]] or _all_described()


def _command_list(session: Session, request: Request) -> Reply:
    match [option.upper() for option in request[2:]]:
        case []:
            return [name.lower() for name in _names()]
        case [b"FILTERBY", b"PATTERN", _]:
            matches = matcher(pattern(request[4]).lower())
            return [name.lower() for name in _names() if matches(name.lower())]
        case [b"FILTERBY", b"MODULE" | b"ACLCAT", _]:
            return []
        case _:
            raise Refused(SYNTAX_ERROR)


def _names() -> list[bytes]:
    return [*COMMANDS, *LOCAL, *CONTAINERS]


def _described(name: bytes) -> Reply:
    """Name, arity, flags, the first key, the last and the step, and nothing in the places of what Redis 7 adds."""
    arity, flag = -2, b"fast"
    first, last, step = 0, 0, 0
    if (spec := COMMANDS.get(name)) is not None:
        arity, flag = spec.arity, b"readonly" if spec.kind is Kind.READ else b"write"
        first, last, step = spec.keys
    elif (found := LOCAL.get(name)) is not None:
        arity = found.arity
        if name == b"WATCH":
            first, last, step = 1, -1, 1
    elif name not in CONTAINERS:
        return None
    return [name.lower(), arity, [SimpleString(flag)], first, last, step, [], [], [], []]


LOCAL: Final[dict[bytes, Local]] = {
    b"PING": Local(-1, _ping),
    b"ECHO": Local(2, _echo),
    b"SELECT": Local(2, _select),
    b"QUIT": Local(-1, _quit),
    b"HELLO": Local(-1, _hello),
    b"INFO": Local(-1, _info),
    b"RESET": Local(1, _reset),
    b"TIME": Local(1, _time),
    b"MULTI": Local(1, transactions.multi),
    b"EXEC": Local(1, transactions.exec_),
    b"DISCARD": Local(1, transactions.discard),
    b"WATCH": Local(-2, transactions.watch),
    b"UNWATCH": Local(1, transactions.unwatch),
}

CONTAINERS: Final[dict[bytes, dict[bytes, Local]]] = {
    b"CLIENT": {
        b"ID": Local(2, _client_id),
        b"GETNAME": Local(2, _client_getname),
        b"SETNAME": Local(3, _client_setname),
        b"SETINFO": Local(4, _client_setinfo),
        b"INFO": Local(2, _client_info),
        b"LIST": Local(-2, _client_list),
        b"NO-EVICT": Local(3, _client_switch),
        b"NO-TOUCH": Local(3, _client_switch),
    },
    b"CONFIG": {b"GET": Local(-3, _config_get)},
    b"COMMAND": {
        b"COUNT": Local(2, _command_count),
        b"DOCS": Local(-2, _command_docs),
        b"INFO": Local(-2, _command_info),
        b"LIST": Local(-2, _command_list),
    },
}


def local(name: bytes, request: Request) -> "Handler | None":
    """What answers the request, whose name is given in upper case; None if it is not a command of this module."""
    if len(request) > MOST_WORDS and (name in LOCAL or name in CONTAINERS) and name != b"WATCH":
        raise Refused(ErrorReply(b"ERR more than %d arguments" % MOST_WORDS))
    subcommands = CONTAINERS.get(name)
    if subcommands is None:
        found = LOCAL.get(name)
        full_name = name
    elif len(request) > 1:
        found = subcommands.get(request[1].upper())
        full_name = name + b"|" + request[1]
        if found is None:
            shown = request[1].partition(b"\0")[0][:128]
            raise Refused(ErrorReply(b"ERR unknown subcommand '" + shown + b"'. Try " + name + b" HELP."))
    elif name == b"COMMAND":
        return _command
    else:
        raise Refused(wrong_arity(name.lower()))
    if found is not None and not fits(found.arity, request):
        raise Refused(wrong_arity(full_name.lower()))
    return None if found is None else found.handler
