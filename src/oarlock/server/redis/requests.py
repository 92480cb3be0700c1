"""What is said about requests everywhere: their types, what is wrong with them, and arguments that are numbers."""

from typing import Final, TypeAlias

from oarlock.kv import integers
from oarlock.kv.glob import MAX_PATTERN_BYTES
from oarlock.kv.results import NOT_AN_INTEGER, ErrorReply

Request: TypeAlias = list[bytes]
Canonical: TypeAlias = tuple[bytes, ...]

SYNTAX_ERROR: Final = ErrorReply(b"ERR syntax error")
PATTERN_TOO_LONG: Final = ErrorReply(b"ERR pattern is longer than %d bytes" % MAX_PATTERN_BYTES)


_FEW_ARGUMENTS: Final = 16
_ARGUMENT_HEADER_BYTES: Final = 5


def size_in_log(request: Request | Canonical) -> int:
    """About how many bytes the request takes in the log. Headers count where there are so many that they matter; those
    of a few find room beside the largest command."""
    return sum(map(len, request)) + _ARGUMENT_HEADER_BYTES * max(0, len(request) - _FEW_ARGUMENTS)


class Refused(Exception):
    """The request is wrong; ``reply`` says how. Nothing was executed."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply)
        self.reply = reply


def wrong_arity(name: bytes) -> ErrorReply:
    return ErrorReply(b"ERR wrong number of arguments for '" + name + b"' command")


def unknown_command(request: Request) -> ErrorReply:
    """Redis quotes the arguments until they make 128 bytes."""
    quoted = b""
    for argument in request[1:]:
        if len(quoted) >= 128:
            break
        quoted += b"'" + argument.partition(b"\0")[0][: 128 - len(quoted)] + b"' "
    name = request[0].partition(b"\0")[0][:128]
    return ErrorReply(b"ERR unknown command '" + name + b"', with args beginning with: " + quoted)


def fits(arity: int, request: Request) -> bool:
    """Whether the request has as many arguments as the arity says."""
    return len(request) == arity if arity > 0 else len(request) >= -arity


def integer(text: bytes) -> int:
    """The integer that an argument spells. Refused if it does not spell one of 64 bits."""
    value = integers.parse(text)
    if value is None:
        raise Refused(NOT_AN_INTEGER)
    return value


def pattern(text: bytes) -> bytes:
    """A pattern that an argument gives. Refused if it is too long: Redis has no such limit, but nobody waits for it."""
    if len(text) > MAX_PATTERN_BYTES:
        raise Refused(PATTERN_TOO_LONG)
    return text
