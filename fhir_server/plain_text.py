"""In which form are texts compared?

Lower case, without accents, as the search page of R4 advises for strings (https://hl7.org/fhir/R4/search.html#string).
Index and query share these forms; the words of full text are cut here for both engines, so that neither needs a
tokenizer of its own.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

LONGEST_WORD = 64  # a longer one is found by its beginning; PostgreSQL holds 2,046 bytes

_LIGATURES = {"œ": "oe", "æ": "ae"}  # letters of their own in Unicode, two letters on a French keyboard
_ASCII_PUNCTUATION = {ord(one): " " for one in string.punctuation if unicodedata.category(one)[0] == "P"}
_WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=16384)
def fold(text: str) -> str:
    """The form in which strings are compared: `  Lefèvre ` is `lefevre`, `Jean-Pierre` is `jean pierre`.

    Punctuation counts as a space and spaces collapse.
    """
    if text.isascii():
        return " ".join(text.lower().translate(_ASCII_PUNCTUATION).split())
    # Folding the case may give letters that decompose again.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join([_folded(one) for one in text]).split())


def words(text: str) -> list[str]:
    """The words of a text, folded: letters and digits only. `L'Été, 5+5` is l, ete, 5, 5."""
    if not text.isascii():
        # Piece by piece: the few that are not ASCII come again and again.
        text = " ".join([one if one.isascii() else fold(one) for one in text.split()])
    return [one if len(one) <= LONGEST_WORD else one[:LONGEST_WORD] for one in _WORD.findall(text.lower())]


def _folded(letter: str) -> str:
    if letter in _LIGATURES:
        return _LIGATURES[letter]
    kind = unicodedata.category(letter)[0]
    return "" if kind == "M" else " " if kind == "P" else letter
