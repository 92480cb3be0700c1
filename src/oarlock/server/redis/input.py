"""What has arrived from one client, understood in shares that a turn can afford.

A socket hands over 256 KB at a time, and up to 8 MB in one turn if nobody stops it: enough lines, or enough commands
that are answered at length, to keep the replica from its peers for seconds. Redis reads 16 KB at a time for the same
reason. Here what is large is kept whole as long as it is cheap, so that a pipeline still makes large groups.
"""

from typing import Final

from oarlock.server.redis.protocol import RequestParser
from oarlock.server.redis.requests import Request

SHARE_BYTES: Final = 32 * 1024
"""What is parsed at a time, whatever it holds."""
SHARE_LINES: Final = 4096
"""More than :data:`SHARE_BYTES` are parsed at a time if they make no more lines than this."""
SHARE_REQUESTS: Final = 256
"""Requests of a share, of any kind."""
REQUEST_BYTES: Final = 128
"""What a request takes in memory besides its bytes, about."""
SHARE_ALIKE: Final = 1024
"""Requests of a share that are cheap: all alike."""


class Input:
    """The input of one connection. True while more of it is due than the present turn takes."""

    __slots__ = ("_parser", "_requests", "_requests_bytes", "_sated", "_unread")

    def __init__(self) -> None:
        self._parser = RequestParser()
        self._unread = b""
        """Of what was fed last."""
        self._requests: list[Request] = []
        """Parsed, and left for later turns."""
        self._requests_bytes = 0
        """Of what was parsed last, some of which may be left."""
        self._sated = False
        """So much has come in this turn that others are next."""

    def __bool__(self) -> bool:
        return self._sated or bool(self._requests) or bool(self._unread)

    @property
    def error(self) -> bytes | None:
        """What was wrong with the input, once everything before it has been handed out."""
        return None if self._requests else self._parser.error

    @property
    def held_bytes(self) -> int:
        """What waits here to become requests takes so much memory, about."""
        left_bytes = self._requests_bytes + REQUEST_BYTES * len(self._requests) if self._requests else 0
        return len(self._unread) + left_bytes + self._parser.held_bytes

    def feed(self, data: bytes) -> list[Request]:
        """Bytes have arrived; the first share of their requests, unless earlier ones are still due."""
        if self._sated or self._requests or self._unread:
            self._unread += data
            return []
        if len(data) <= SHARE_BYTES:
            requests = self._parser.feed(data)
            self._requests_bytes = len(data)
            return requests if len(requests) <= SHARE_ALIKE else self._first(requests)
        self._unread = data
        self._sated = True
        return self._share()

    def next_share(self) -> list[Request]:
        """Another turn has come: more of what is due."""
        self._sated = False
        return self._share()

    def put_back(self, requests: list[Request]) -> list[Request]:
        """These turned out not to be alike: keep all but a small share of them, which is returned."""
        if len(requests) > SHARE_REQUESTS:
            self._requests = requests[SHARE_REQUESTS:] + self._requests
        return requests[:SHARE_REQUESTS]

    def drop(self) -> None:
        """Nothing more will be wanted."""
        self._unread = b""
        self._requests = []
        self._sated = False

    def _share(self) -> list[Request]:
        if not self._requests and self._unread:
            data = self._unread
            if len(data) > SHARE_BYTES and data.count(b"\n") > SHARE_LINES:
                data, self._unread = data[:SHARE_BYTES], data[SHARE_BYTES:]
            else:
                self._unread = b""
            self._requests = self._parser.feed(data)
            self._requests_bytes = len(data)
            if self._parser.error is not None:
                self._unread = b""
        return self._first(self._requests)

    def _first(self, requests: list[Request]) -> list[Request]:
        if len(requests) <= SHARE_ALIKE:
            self._requests = []
            return requests
        self._requests = requests[SHARE_ALIKE:]
        return requests[:SHARE_ALIKE]
