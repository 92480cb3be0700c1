"""Log lines that a stranger can provoke, kept from flooding the log."""

import asyncio
import logging
import math

logger = logging.getLogger("oarlock.network")

BURST = 10
"""Lines on one subject that are logged in full within :data:`WINDOW_S`."""
WINDOW_S = 60.0


class Complaints:
    """Logs one line per complaint, up to a bound per subject and time; beyond it, counts.

    Subjects must be few: there is one for each peer and one for all strangers together.
    """

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def say(self, subject: str, text: str, level: int = logging.WARNING, *, again: bool = True) -> None:
        """Log ``text`` about ``subject``, unless too much was said of it lately.

        With ``again`` off, also not if it would only repeat what was said of the subject last.
        """
        now = asyncio.get_running_loop().time()
        window = self._windows.setdefault(subject, _Window())
        if text == window.last and not again:
            return
        window.last = text
        if now - window.began >= WINDOW_S:
            window.began = now
            window.said = 0
        if window.said >= BURST:
            window.unsaid += 1
            return
        window.said += 1
        if window.unsaid:
            text = f"{text} ({window.unsaid} more like it were not logged)"
            window.unsaid = 0
        logger.log(level, "%s: %s", subject, text)

    def forget(self, subject: str) -> None:
        """All is well with the subject: what was said of it last will be news again."""
        if subject in self._windows:
            self._windows[subject].last = ""


class _Window:
    def __init__(self) -> None:
        self.last = ""
        self.began = -math.inf
        self.said = 0
        self.unsaid = 0
