"""Raft's decisions, and nothing else: no I/O, no asyncio, no threads, no clocks, no randomness of its own.

Same inputs, same outputs. Start reading at ``raft.py``.
"""

from oarlock.core.change import Change
from oarlock.core.config import Config
from oarlock.core.raft import Raft
from oarlock.core.ready import Fetch, Persist, ReadConfirmed, ReadRefused, Ready
from oarlock.core.restored import Restored
from oarlock.core.status import CoreStatus

__all__ = [
    "Change",
    "Config",
    "CoreStatus",
    "Fetch",
    "Persist",
    "Raft",
    "ReadConfirmed",
    "ReadRefused",
    "Ready",
    "Restored",
]
