"""The key-value state machine: deterministic, bytes to bytes, knowing nothing of the outside.

:class:`~oarlock.kv.machine.KeyValue` is the machine. Commands and queries are tuples of bytes in one canonical form:
an upper-case verb, then arguments whose number and syntax the server has already checked.
"""

from oarlock.kv.machine import KeyValue
from oarlock.kv.results import OK, ErrorReply, SimpleString

__all__ = ["OK", "ErrorReply", "KeyValue", "SimpleString"]
