"""Asks a running replica over HTTP, and follows it to the leader. Every failure is one sentence.

Only the standard library: a command that asks one question has no use for more.
"""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec

from oarlock.errors import NotExecuted, OarlockError, OutcomeUnknown
from oarlock.network.address import parse_address
from oarlock.types import NO_REPLICA, ReplicaId

ASK_S: Final = 5.0
"""For what a replica answers from its own knowledge."""
TELL_S: Final = 30.0
"""For what it does: longer than a replica waits itself, so that its own answer is heard."""
ELECTION_S: Final = 10.0
"""How long a leader is waited for while there is none."""
MOST_ANSWER_BYTES: Final = 4 * 1024 * 1024
FOLLOWED: Final = 2
"""How often to go on to another replica that is said to lead."""
_RETRY_S = 0.2

_T = TypeVar("_T")


class Unreachable(OarlockError):
    """Nobody answers there, or somebody else does."""


class _Error(msgspec.Struct):
    """What a replica says when it does not do what it is asked."""

    error: str
    executed: bool | None
    leader_id: ReplicaId = NO_REPLICA
    leader_http: str = ""


def ask(at: str, path: str, kind: type[_T], *, timeout_s: float = ASK_S) -> _T:
    """What the replica at ``host:port`` answers to GET.

    :raises Unreachable: nobody answers, or it is no Oarlock
    :raises OarlockError: it answered with an error
    """
    status, content = _exchange(at, "GET", path, None, timeout_s)
    if status != 200:
        raise _as_error(at, status, content)
    return _understood(at, content, kind)


def tell(at: str, path: str, request: Any, kind: type[_T], *, timeout_s: float = TELL_S) -> _T:
    """POST to the replica at ``host:port``. Raises as :func:`ask` does, and OutcomeUnknown if no answer came."""
    status, content = _exchange(at, "POST", path, msgspec.json.encode(request), timeout_s)
    if status != 200:
        raise _as_error(at, status, content)
    return _understood(at, content, kind)


def tell_leader(at: str, path: str, request: Any, kind: type[_T]) -> _T:
    """The same, wherever the leader is; while there is none, one is waited for.

    :raises NotExecuted: it was refused, or no leader could be asked
    :raises OutcomeUnknown: it may have been done, or may yet be
    """
    deadline = time.monotonic() + ELECTION_S
    place, followed = at, 0
    while True:
        status, content = _exchange(place, "POST", path, msgspec.json.encode(request), TELL_S)
        if status == 200:
            return _understood(place, content, kind)
        if status != 421:
            raise _as_error(place, status, content)
        said = _understood(place, content, _Error)
        if said.leader_http and said.leader_http != place and followed < FOLLOWED:
            place, followed = said.leader_http, followed + 1
        elif said.leader_id and said.leader_http:
            raise NotExecuted(
                f"replica {said.leader_id} is said to lead, at {said.leader_http}, but who answers at {place} does "
                "not: that address may only mean it on its own machine; say with --at how it is reached from here"
            )
        elif time.monotonic() >= deadline:
            raise NotExecuted(f"no leader is known at {place}: see `oarlock status --at {place}`")
        else:  # an election is under way, or the leader has yet to introduce itself
            place, followed = at, 0
            time.sleep(_RETRY_S)


@contextmanager
def streamed(at: str, path: str, *, timeout_s: float) -> Iterator[Iterator[bytes]]:
    """The answer piece by piece. What ends too soon raises; ``timeout_s`` is for each piece."""
    connection = http.client.HTTPConnection(*parse_address(at), timeout=timeout_s)
    try:
        with _sentences(at, timeout_s):
            connection.request("GET", path)
            response = connection.getresponse()
            if response.status != 200:
                raise _as_error(at, response.status, response.read(MOST_ANSWER_BYTES))
        yield _pieces(at, response, timeout_s)
    finally:
        connection.close()


def _pieces(at: str, response: http.client.HTTPResponse, timeout_s: float) -> Iterator[bytes]:
    while True:
        with _sentences(at, timeout_s):
            piece = response.read1(1024 * 1024)
        if not piece:
            return
        yield piece


def _exchange(at: str, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*parse_address(at), timeout=timeout_s)
    try:
        with _sentences(at, timeout_s):
            connection.connect()
        try:
            with _sentences(at, timeout_s):
                connection.request(method, path, body, {"content-type": "application/json"} if body else {})
                response = connection.getresponse()
                content = response.read(MOST_ANSWER_BYTES)
                if response.length:  # what should have followed; a read of so many bytes does not look
                    raise http.client.IncompleteRead(content)
                return response.status, content
        except Unreachable as error:
            if method == "GET":
                raise
            raise OutcomeUnknown(f"{error}; it may have been done, or may yet be: look, and ask again") from error
    finally:
        connection.close()


@contextmanager
def _sentences(at: str, timeout_s: float) -> Iterator[None]:
    """What can go wrong with a connection, in words."""
    try:
        yield
    except ConnectionRefusedError as error:
        raise Unreachable(
            f"nobody listens at {at}: is a replica running there, and is this its --http address? (--at names another)"
        ) from error
    except TimeoutError as error:
        raise Unreachable(f"nobody answered at {at} within {timeout_s:g} s") from error
    except http.client.IncompleteRead as error:
        raise Unreachable(f"the answer of {at} broke off before its end; that replica's log says why") from error
    except http.client.RemoteDisconnected as error:
        raise Unreachable(f"{at} closed the connection without an answer") from error
    except http.client.HTTPException as error:
        raise Unreachable(f"what answers at {at} does not speak HTTP: it is not a replica's --http address") from error
    except OSError as error:
        raise Unreachable(f"{at} cannot be reached ({error.strerror or error})") from error


def _as_error(at: str, status: int, content: bytes) -> OarlockError:
    try:
        said = msgspec.json.decode(content, type=_Error)
    except msgspec.MsgspecError:
        return Unreachable(f"what answers at {at} is no Oarlock, or a much older one (HTTP status {status})")
    if said.executed is None:
        return OutcomeUnknown(f"{said.error}: it may have been done, or may yet be; look, and ask again")
    return NotExecuted(said.error)


def _understood(at: str, content: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"what answers at {at} is no Oarlock, or another version of it ({error})") from error
