"""One client of ``soak.py`` or ``restart.py``, in a process of its own until its standard input ends.

``soak_clients.py KIND PORTS RATE KEYS FIRST COUNT`` does what KIND says, RATE times a second, at the first of the
PORTS. It owns COUNT of the KEYS, from number FIRST: nobody else writes them, so it knows what must be there. It prints
``ready`` when its keys have values, begins when it is sent a line, and prints one of JSON for every second: how long
each answer took, in microseconds. In the end it reads its keys at all of the ports, and prints what it found.

What was due while an earlier answer was late counts from when it was due, up to a second: a client that waits does not
hide who would have come meanwhile.
"""

import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from vitals import PING, PONG

PIPELINE = 100
"""SETs that a bulk writer sends at once."""
FIRST_PIPELINE = 1000
"""The same when keys get their first values."""
BRIEF_SHARE, BRIEF_KEYS, BRIEF_S = 4, 5000, 20
"""Every fourth SET of a writer is of another key, one of so many, that lives for at most so many seconds."""
BEHIND_S = 1.0
"""What should have been sent longer ago than this is not sent at all."""
READ_BACK = 500
"""Keys of one MGET."""
ANSWER_S = 30.0


class Client:
    """Something that is done again and again, and the last word about it."""

    def __init__(self, ports: list[int], keys: int, own: range) -> None:
        self.ports, self.keys, self.own = ports, keys, own
        self.errors: list[str] = []

    def prepare(self) -> None:
        """Before the clock starts."""

    def once(self) -> None:
        raise NotImplementedError

    def findings(self) -> dict[str, Any]:
        """After the last."""
        return {}


class Getter(Client):
    """Reads any key, or those that it is given with a writer; all have values of one size."""

    def __init__(self, ports: list[int], keys: int, own: range) -> None:
        super().__init__(ports, keys, own)
        self.redis = connect(ports[0])

    def once(self) -> None:
        key = key_name(random.choice(self.own or range(self.keys)))
        value = self.redis.get(key)
        if not isinstance(value, bytes) or len(value) != 16:
            sys.exit(f"{key} is {value!r:.80}")


class Writer(Client):
    """Writes its own keys, and remembers what was acknowledged."""

    def __init__(self, ports: list[int], keys: int, own: range) -> None:
        super().__init__(ports, keys, own)
        self.redis = connect(ports[0])
        self.count = 0
        self.acknowledged: dict[int, int] = {}
        self.unknown: dict[int, set[int]] = {}
        """What may have been written since, as far as the answers tell."""

    def prepare(self) -> None:
        for start in range(self.own.start, self.own.stop, FIRST_PIPELINE):
            self.write(range(start, min(start + FIRST_PIPELINE, self.own.stop)))

    def write(self, numbers: range | list[int]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        values = {}
        for number in numbers:
            self.count += 1
            values[number] = self.count
            pipeline.set(key_name(number), value_of(self.count))
        try:
            answers = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            answers = [error] * len(values)
        for (number, value), answer in zip(values.items(), answers, strict=True):
            self.note(number, value, answer)

    def note(self, number: int, value: int, answer: object) -> None:
        if answer is True:
            self.acknowledged[number] = value
            self.unknown.pop(number, None)
        else:
            self.unknown.setdefault(number, set()).add(value)
            self.errors.append(repr(answer))

    def once(self) -> None:
        self.count += 1
        if self.count % BRIEF_SHARE == 0:
            key = f"brief:{self.own.start}:{random.randrange(BRIEF_KEYS)}"
            with suppress(redis.RedisError):
                self.redis.set(key, value_of(self.count), ex=random.randint(1, BRIEF_S))
            return
        number = random.choice(self.own)
        try:
            answer: object = self.redis.set(key_name(number), value_of(self.count))
        except redis.RedisError as error:
            answer = error
        self.note(number, self.count, answer)

    def findings(self) -> dict[str, Any]:
        wrong = []
        for port in self.ports:
            client = connect(port)
            for start in range(self.own.start, self.own.stop, READ_BACK):
                numbers = range(start, min(start + READ_BACK, self.own.stop))
                values: Any = client.mget([key_name(number) for number in numbers])
                for number, value in zip(numbers, values, strict=True):
                    right = {self.acknowledged[number], *self.unknown.get(number, ())}
                    if value is None or int(value) not in right:
                        wrong.append(f"{key_name(number)} is {value!r} at port {port}, not one of {right}")
        return {"checked": len(self.own) * len(self.ports), "wrong": wrong[:10], "writes": self.count}


class Bulk(Writer):
    """The same in pipelines, for volume."""

    def once(self) -> None:
        self.write(random.sample(self.own, PIPELINE))


class Pinger(Client):
    """PING is answered by the event loop alone, so its longest wait is the longest time that the loop was away."""

    def __init__(self, ports: list[int], keys: int, own: range) -> None:
        super().__init__(ports, keys, own)
        self.socket = self.connect()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.ports[0]), timeout=ANSWER_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def once(self) -> None:
        self.socket.sendall(PING)
        if self.socket.recv(100) != PONG:
            sys.exit("a PING got another answer")


class Idler(Pinger):
    """A pinger of a process that does nothing else: what it waits is the machine's doing."""

    def connect(self) -> socket.socket:
        here, there = socket.socketpair()
        if os.fork() == 0:
            here.close()
            while there.recv(100):
                there.sendall(PONG)
            os._exit(0)
        there.close()
        return here


KINDS: dict[str, type[Client]] = {"get": Getter, "set": Writer, "bulk": Bulk, "ping": Pinger, "idle": Idler}


def connect(port: int) -> redis.Redis:
    """Every command is sent once."""
    return redis.Redis(
        port=port, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0), single_connection_client=True, protocol=2
    )


def key_name(number: int) -> str:
    return f"key:{number:012}"


def value_of(count: int) -> str:
    return f"{count:016}"


def waits(client: Client, rate: float) -> Iterator[tuple[int, list[int]]]:
    """For every second in turn, how long each answer took, until standard input ends."""
    due = time.monotonic()
    second, seen = int(due), list[int]()
    while True:
        now = time.monotonic()
        if now < due or int(now) > second:
            leaving, _, _ = select.select([sys.stdin], [], [], max(0.0, due - now))
            if leaving:
                yield second, seen
                return
            due = max(due, time.monotonic()) if now < due else due
        if int(now) > second:
            yield second, seen
            second, seen = int(now), []
        client.once()
        seen.append(round((time.monotonic() - due) * 1e6))
        due = max(due + 1 / rate, time.monotonic() - BEHIND_S)


def main() -> None:
    kind, ports, rate, *numbers = sys.argv[1:]
    keys, first, count = map(int, numbers)
    client = KINDS[kind]([int(port) for port in ports.split(",")], keys, range(first, first + count))
    client.prepare()
    print("ready", flush=True)
    sys.stdin.readline()
    for second, seen in waits(client, float(rate)):
        print(json.dumps({"second": second, "waits_us": seen}), flush=True)
    print(json.dumps({"errors": len(client.errors), "first": client.errors[:3], **client.findings()}), flush=True)


if __name__ == "__main__":
    main()
