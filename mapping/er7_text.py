r"""What does an escaped HL7 v2 text say, and how is a text escaped?

HL7 v2.5, 2.7: `\F\ \S\ \R\ \T\ \E\` stand for the separators, `\Xhh..\` for bytes, `\.br\` for a line break,
`\H\ \N\` for highlighting. What is no escape sequence stays as it is: senders write Windows paths.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

_LINE_BREAKS = (".br", ".sp", ".ce")
_LAYOUT = (".fi", ".nf", ".in", ".ti", ".sk")


class Marks(NamedTuple):
    """The separators of a message as characters ("" for unused), and its codec for `\\Xhh\\`."""

    escape: str
    field: str
    component: str
    repetition: str
    subcomponent: str
    encoding: str


def unescape(text: str, marks: Marks) -> str:
    """Plain text; unknown sequences and lone escape characters are kept."""
    parts = []
    done = 0
    while (start := text.find(marks.escape, done)) >= 0:
        end = text.find(marks.escape, start + 1)
        plain = _plain(text[start + 1 : end], marks) if start + 1 < end <= start + 1024 else None
        if plain is None:
            parts.append(text[done : start + 1])
            done = start + 1
        else:
            parts.append(text[done:start] + plain)
            done = end + 1
    return "".join(parts) + text[done:]


def escape(text: str, marks: Marks) -> str:
    r"""The text with its separators escaped and its line breaks as `\.br\`. Without an escape character they go.

    Control characters go too: they would end a segment or an MLLP frame.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_escapes(marks))


@lru_cache(maxsize=64)
def _escapes(marks: Marks) -> dict[int, str | None]:
    mark = marks.escape
    separators = (marks.escape, marks.field, marks.component, marks.repetition, marks.subcomponent)
    table: dict[int, str | None] = dict.fromkeys(range(32))
    table |= {
        ord(char): f"{mark}{letter}{mark}" if mark else " "
        for char, letter in zip(separators, "EFSRT", strict=True)
        if char
    }
    table[ord("\n")] = f"{mark}.br{mark}" if mark else " "
    return table


def _plain(sequence: str, marks: Marks) -> str | None:
    simple = {
        "F": marks.field,
        "S": marks.component,
        "R": marks.repetition,
        "T": marks.subcomponent,
        "E": marks.escape,
        "H": "",
        "N": "",
    }
    if sequence in simple:
        return simple[sequence]
    if sequence[:1] == "X":
        try:
            return bytes.fromhex(sequence[1:]).decode(marks.encoding, "replace")
        except ValueError:
            return None
    if sequence[:3].lower() in _LINE_BREAKS:
        return "\n"
    return "" if sequence[:3].lower() in _LAYOUT else None
