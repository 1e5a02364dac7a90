"""How does a French or English name sound?

For `phonetic` searches (https://hl7.org/fhir/R4/patient.html#search leaves the method to the server). Words get a code
of consonants, of at most six signs; names that are written differently and heard alike share it: Dupont and Dupond,
Lefèvre and Lefebvre, Meyer and Maier, Philippe and Filip. Codes only ever narrow a search; who is meant is decided by
people.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LONGEST = 6
_MOST_WORDS, _LONGEST_WORD = 20, 40

# In this order, on words without accents, in capitals.
_RULES = [
    (re.compile(pattern), into)
    for pattern, into in (
        (r"OE|AE", "E"),
        (r"(?<=[AEIOUY])LH(?=[AEIOUY])", "L"),
        (r"BV(?=R)", "V"),
        (r"SCH|SH|TCH", "7"),
        (r"PH", "F"),
        (r"TH", "T"),
        (r"(?<=[AEIOU])CH(?=[TR])|CHR", "KR"),
        (r"CH", "7"),
        (r"GN", "N"),
        (r"G(?=[EIY])", "J"),
        (r"GU(?=[EIY])", "G"),
        (r"SC(?=[EIY])", "S"),
        (r"C(?=[EIY])", "S"),
        (r"QU|CK|[QC]", "K"),
        (r"X", "KS"),
        (r"Z", "S"),
        (r"W", "V"),
        (r"H", ""),
        (r"(?<=[AEIOUY])[TDSX]+$", ""),  # mute at the end
        (r"(?<=[NRL])[TDSP]+$", ""),
        (r"(?<=.)EZ$", ""),
        (r"M(?=[BP])", "N"),
    )
]
_DOUBLE = re.compile(r"(.)\1+")
_VOWELS = re.compile(r"(?<=.)[AEIOUY]")
_WORDS = re.compile(r"[A-Z]+")


@lru_cache(maxsize=8192)
def sounds(text: str) -> tuple[str, ...]:
    """The codes of the words of a name, each once; none when it has no Latin letters."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text.upper()) if not unicodedata.combining(one))
    words = _WORDS.findall(plain.replace("Œ", "OE").replace("Æ", "AE").replace("'", ""))
    return tuple(dict.fromkeys(code for word in words[:_MOST_WORDS] if (code := _sound(word[:_LONGEST_WORD]))))


def _sound(word: str) -> str:
    for pattern, into in _RULES:
        word = pattern.sub(into, word)
    if not word:
        return ""
    # Vowels sound too differently; the first one tells at least that there is one.
    first = "A" if word[0] in "AEIOUY" else word[0]
    return _DOUBLE.sub(r"\1", _VOWELS.sub("", first + word[1:]))[:_LONGEST]
