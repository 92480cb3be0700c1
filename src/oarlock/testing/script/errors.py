"""Why a script stops. Each is a sentence; the player adds the file and the line."""


class ScenarioFailed(AssertionError):
    """A scenario does not hold, or its script cannot be played. The message begins with the file and the line."""


class NotUnderstood(Exception):
    """The line is not in the language."""


class CannotBeDone(Exception):
    """There is nothing there to do it with: a message that is not on its way, a replica that is not running."""


class Refused(CannotBeDone):
    """The core declined, as it may: what ``cannot ...`` expects."""


class NotAsExpected(Exception):
    """An ``expect`` that does not hold."""
