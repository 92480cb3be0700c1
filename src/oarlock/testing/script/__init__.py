"""Scenarios as scripts: what happened to a cluster of bare cores, line by line, and what must be true of it.

    >>> play('''
    ... replicas 3
    ... elect 1
    ... partition 1 | 2 3
    ... elect 2
    ... read 1 r        # 1 does not know that it is deposed
    ... deliver all
    ... expect read r waiting
    ... ''')

A script says first who there is (``setup.py``), then what happens, a step a line (``steps.py``), and what is expected
(``expectations.py``). Nothing happens by itself: messages wait until they are delivered, timers until they are made
to end. After every step the whole cluster is held to Raft's promises (``checks.py``).
"""

from oarlock.testing.script.errors import ScenarioFailed
from oarlock.testing.script.player import Player, play

__all__ = ["Player", "ScenarioFailed", "play"]
