"""Fuzzing of every decoder that takes bytes from outside or from a disk: ``make fuzz``.

A *target* (``targets/``) is one decoder with its oracle: a function of bytes that raises when a rule is broken. An
*engine* (``engines.py``) makes the bytes: one mutates what has reached new code, one generates valid input and spoils
it, one needs no packages and runs within the tests. ``guard.py`` watches what every input costs.
"""
