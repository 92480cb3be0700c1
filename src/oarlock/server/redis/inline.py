"""Inline commands: a line of words instead of an array, as people type them into netcat."""

from typing import Final

_BLANK: Final = b" \t\n\v\f\r"
_QUOTE, _APOSTROPHE, _BACKSLASH = b"\"'\\"
_HEX: Final = b"0123456789abcdefABCDEF"
_ESCAPES: Final = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}


def split(line: bytes) -> list[bytes] | None:
    """The words of a line, with Redis's two kinds of quotes undone; None if a quote is not closed or not at an end.

    >>> split(b"SET greeting 'hello world'")
    [b'SET', b'greeting', b'hello world']
    """
    if _QUOTE not in line and _APOSTROPHE not in line:
        return line.split()
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _BLANK:
            at += 1
        if at == end:
            return words
        word = bytearray()
        while at < end and line[at] not in _BLANK:
            if line[at] not in (_QUOTE, _APOSTROPHE):
                word.append(line[at])
                at += 1
                continue
            closed = _quoted(line, at, word)
            if closed is None or (closed < end and line[closed] not in _BLANK):
                return None
            at = closed
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int | None:
    """Append the quoted text that opens at ``at`` to the word; the position after the closing quote, or None."""
    quote = line[at]
    at += 1
    while at < len(line) and line[at] != quote:
        if line[at] == _BACKSLASH and at + 1 < len(line):
            if quote == _APOSTROPHE:
                if line[at + 1] == _APOSTROPHE:
                    at += 1
            elif line[at + 1] == 0x78 and at + 3 < len(line) and line[at + 2] in _HEX and line[at + 3] in _HEX:
                word.append(int(line[at + 2 : at + 4], 16))
                at += 4
                continue
            else:
                at += 1
                word.append(_ESCAPES.get(line[at], line[at]))
                at += 1
                continue
        word.append(line[at])
        at += 1
    return at + 1 if at < len(line) else None
