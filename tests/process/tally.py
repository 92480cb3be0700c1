"""An errand whose every step shows if a command was lost, or executed twice, or out of order."""

from itertools import pairwise

import redis

from tests.process.replicas import Process


class Tally:
    """Counts in a key that all clients share, and writes a list of its own."""

    def __init__(self, number: int) -> None:
        self.key = f"own:{number}"
        self.answers: list[int] = []
        self.length = 0

    def step(self, client: "redis.Redis") -> None:
        self.answers.append(client.incr("counter"))
        word = f"{len(self.answers)},"
        self.length += len(word)
        assert client.append(self.key, word) == self.length, "one was lost, or came twice"


def each_once_and_in_order(tallies: list[Tally], replica: Process) -> None:
    """No answer is missing, none was given twice, and the state holds exactly what was acknowledged."""
    answers = [answer for tally in tallies for answer in tally.answers]
    client = replica.client()
    assert int(client.get("counter")) == len(answers)
    assert sorted(answers) == list(range(1, len(answers) + 1))
    for tally in tallies:
        assert all(earlier < later for earlier, later in pairwise(tally.answers))
        assert client.get(tally.key) == "".join(f"{number}," for number in range(1, len(tally.answers) + 1))
