"""What a line may say: phrases with typed gaps, each above the method that does it.

    @phrase("crash {replica} keeping {count}")
    def crash(self, replica: int, keeping: int) -> None: ...

The methods' classes are therefore the whole language, in one list each; nothing else knows a word of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from oarlock.testing.script.errors import NotUnderstood
from oarlock.testing.script.wording import pattern_of

Method = TypeVar("Method", bound=Callable[..., None])


def phrase(*wordings: str) -> Callable[[Method], Method]:
    """The method carries out lines of these wordings; the gaps are its arguments, in their order."""

    def mark(method: Method) -> Method:
        method.wordings = wordings  # type: ignore[attr-defined]
        return method

    return mark


class Phrasebook:
    """The phrases of one class."""

    def __init__(self, speaker: type) -> None:
        self.phrases = [
            _Phrase(wording, name)
            for name, method in vars(speaker).items()
            for wording in getattr(method, "wordings", ())
        ]

    def understand(self, line: str) -> tuple[str, list[Any]]:
        """The name of the method that does what the line says, and its arguments.

        :raises NotUnderstood: if no phrase fits, naming those that begin like the line.
        """
        for candidate in self.phrases:
            if (arguments := candidate.fit(line)) is not None:
                return candidate.method, arguments
        first, _, _ = line.partition(" ")
        similar = [candidate.wording for candidate in self.phrases if candidate.begins_like(first)]
        if similar:
            raise NotUnderstood(f"{line!r} fits none of: {'; '.join(similar)}")
        raise NotUnderstood(f"nothing begins with {first!r}; there are: {', '.join(self.openings())}")

    def openings(self) -> list[str]:
        """The first words of all phrases, each once."""
        return list(dict.fromkeys(candidate.wording.split()[0] for candidate in self.phrases))


class _Phrase:
    def __init__(self, wording: str, method: str) -> None:
        self.wording = wording
        self.method = method
        self.gaps = re.findall(r"{(\w+)}", wording)
        pieces = re.split(r"{\w+}", wording)
        body = re.escape(pieces[0])
        for gap, after in zip(self.gaps, pieces[1:], strict=True):
            body += f"({_GAPS[gap][0]})" + re.escape(after)
        self.regex = re.compile(body)

    def begins_like(self, word: str) -> bool:
        """Whether its first word may be this one."""
        opening = self.wording.split()[0]
        return opening == word or (opening.startswith("{") and word.isdigit())

    def fit(self, line: str) -> list[Any] | None:
        """The arguments, if the line fits."""
        found = self.regex.fullmatch(line)
        if not found:
            return None
        return [_GAPS[gap][1](text) for gap, text in zip(self.gaps, found.groups(), strict=True)]


def _seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


def _numbers(text: str) -> list[int]:
    return list(map(int, text.split()))


def _terms(text: str) -> list[int]:
    """``1 1 2*50``: two entries of term 1, then fifty of term 2."""
    terms: list[int] = []
    for word in text.split():
        term, _, times = word.partition("*")
        terms += [int(term)] * int(times or 1)
    return terms


def _pairs(text: str) -> dict[int, int]:
    """``2:4 3:1``: of 2 it is 4, of 3 it is 1."""
    return {int(key): int(value) for key, value in (pair.split(":") for pair in text.split())}


_NUMBERS = r"\d+(?: \d+)*"
_GAPS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "replica": (r"\d+", int),
    "replicas": (_NUMBERS, _numbers),
    "sides": (rf"{_NUMBERS}(?: \| {_NUMBERS})+", lambda text: [_numbers(side) for side in text.split("|")]),
    "count": (r"\d+", int),
    "time": (r"\d+(?:\.\d+)?m?s", _seconds),
    "terms": (r"\d+(?:\*\d+)?(?: \d+(?:\*\d+)?)*", _terms),
    "pairs": (r"\d+:\d+(?: \d+:\d+)*", _pairs),
    "word": (r"\S+", str),
    "words": (r"\S+(?: \S+)*", str.split),
    "messages": (r"\S+(?: \S+)*", pattern_of),
    "step": (r"\S+(?: \S+)*", str),
}
"""Of each gap: what fits, and what the method is given. Replicas are their numbers, times seconds."""
