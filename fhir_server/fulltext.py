"""Which words does a resource say, and which words does a search want?

`_text` and `_content` (https://hl7.org/fhir/R4/search.html#content) and the modifier `:text` of tokens and references
share one index of words: those of the narrative, those that people read beside a token or a reference, and those of
everything else. R4 leaves the syntax open; ours is

    mal dos            both words, anywhere
    "mal de dos"       the words in this order, side by side
    lomb*              words that begin so
    mal -tête          the first word without the second
    toux OR fièvre     one of them; OR binds less than the space. A comma of the search value means the same

Accents, case and punctuation never count.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from common import errors
from fhir_server import plain_text
from fhir_server.conditions import Alternative, FullText, Phrase
from fhir_server.r4.search_params import Param

GAP = "·"  # stands between texts, so that no phrase reaches from one into the next; no word has it
MOST_TERMS = 64  # in one search
_BETWEEN = f" {GAP} "
_OFTEN = 64  # shorter texts come again and again: displays, codes, names
_UNCAPPED = 100_000
_MOST_BYTES = 900_000  # PostgreSQL holds one megabyte of words and places

# Addresses and machinery, which nobody reads. What begins like an address is left out wherever it stands.
_NOT_READ = frozenset("id reference data hash resourceType contentType".split())
_ADDRESSES = ("http://", "https://", "urn:")
_TAG = re.compile(r"<[^>]*>")

Texts = tuple[str, str, str]


def texts(resource: dict[str, Any], displays: Iterable[tuple[Param, str]]) -> Texts:
    """The words of the narrative, of `displays` (marked with their parameter), and of all the rest.

    Words are separated by spaces, texts by ` · `. A resource of more than about a megabyte keeps its first words.
    """
    said: list[str] = []
    for name, value in resource.items():
        if name not in ("text", "meta", "id"):
            _read(name, value, said)
    narrative = resource.get("text")
    told = _joined([_plain(narrative.get("div", ""))]) if narrative else ""
    marked = _BETWEEN.join(dict.fromkeys([_marked(param.number, text) for param, text in displays]))
    return _capped((told, marked, _joined(said)))


def _read(name: str, value: Any, said: list[str]) -> None:
    kind = type(value)
    if kind is str:
        if name in _NOT_READ or value.startswith(_ADDRESSES):
            return
        if name == "div":
            value = _plain(value)
        elif value[10:11] == "T" and value[4:5] == value[7:8] == "-":
            value = value[:10]  # the day of a moment: nobody looks for its seconds
        said.append(value)
    elif kind is dict:
        for inner, child in value.items():
            _read(inner, child, said)
    elif kind is list:
        for child in value:
            _read(name, child, said)


def _plain(div: str) -> str:
    return html.unescape(_TAG.sub(" ", div))


def _joined(said: list[str]) -> str:
    cut = (_cut_again(one) if len(one) < _OFTEN else " ".join(plain_text.words(one)) for one in dict.fromkeys(said))
    return _BETWEEN.join([one for one in cut if one])


@lru_cache(maxsize=16384)
def _cut_again(text: str) -> str:
    return " ".join(plain_text.words(text))


@lru_cache(maxsize=16384)
def _marked(number: int, text: str) -> str:
    return " ".join([mark(number, one) for one in plain_text.words(text)])


def mark(number: int, word: str) -> str:
    """A word that stands beside a value of the parameter `number`."""
    return f"{GAP}{number:x}{GAP}{word}"


def _capped(found: Texts) -> Texts:
    if sum(map(len, found)) <= _UNCAPPED:
        return found
    room, seen, kept = _MOST_BYTES, set[str](), []
    for text in found:
        words = text.split(" ")
        for place, word in enumerate(words):
            # A place takes two bytes, a word its letters and what points to it.
            room -= 2 if word in seen else len(word.encode()) + 12
            seen.add(word)
            if room < 0:
                words = words[:place]
                break
        kept.append(" ".join(words))
    return kept[0], kept[1], kept[2]


# ---- what a search wants -------------------------------------------------------------------------------------------

_TERM = re.compile(r'(-?)(?:"([^"]*)"|([^\s"]+))(\*?)')


def wanted(values: Iterable[str], at: str, *, narrative: bool) -> FullText:
    """The condition of `_text` or `_content`. Raises Unreadable when an alternative names no word to look for."""
    ways: list[Alternative] = []
    terms = 0
    for value in values:
        for part in re.split(r"\s+OR\s+", value.strip()):
            ways.append(way := _way(part, at))
            terms += len(way.all_of) + len(way.none_of)
    if terms > MOST_TERMS:
        raise _refused(f"{at} : au plus {MOST_TERMS} mots ou expressions", at, "too-costly")
    return FullText(tuple(dict.fromkeys(ways)), narrative)


def _way(part: str, at: str) -> Alternative:
    if part.count('"') % 2:
        raise _refused(f"{at} : un guillemet n'est pas fermé", at, "value")
    sides: dict[str, list[Phrase]] = {"": [], "-": []}
    for minus, quoted, bare, star in _TERM.findall(part):
        words = tuple(plain_text.words(quoted or bare))
        if words:
            sides[minus].append(Phrase(words, bool(star) or bare.endswith("*")))
    if not sides[""]:
        raise _refused(f"{at} : donnez au moins un mot à trouver", at, "value")
    return Alternative(tuple(sides[""]), tuple(sides["-"]))


def beside(param: Param, values: Iterable[str]) -> FullText:
    """The condition of `param:text`: the words in their order, the last one may be a beginning."""
    ways = []
    for value in values:
        words = tuple(mark(param.number, one) for one in plain_text.words(value))
        if not words:
            raise _refused(f"{param.code}:text : donnez au moins un mot", f"{param.code}:text", "value")
        ways.append(Alternative((Phrase(words, prefix=True),)))
    return FullText(tuple(dict.fromkeys(ways)))


def _refused(text: str, at: str, code: str) -> errors.Unreadable:
    return errors.Unreadable(text, at=at, issues=(errors.Issue(text, at, code),))
