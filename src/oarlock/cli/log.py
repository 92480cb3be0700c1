"""The log of a replica: lines on standard error that a person can read.

``2026-01-31 14:05:59.123  info     [2]  replica 2 follows replica 1 in term 4``
"""

import logging
import sys


class _Line(logging.Formatter):
    """Time, level, replica, sentence; a traceback follows on lines of its own."""

    default_msec_format = "%s.%03d"

    def __init__(self, replica: int) -> None:
        super().__init__(f"%(asctime)s  %(level)-7s  [{replica}]  %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.level = record.levelname.lower()
        return super().format(record)


def log_to_stderr(replica: int, level: int = logging.INFO) -> None:
    """Send the log of the whole process to standard error, in the name of ``replica``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(replica))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
