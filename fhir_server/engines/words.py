"""How does each engine write words: to keep them, and to look for them?

Words are letters and digits (and the mark of a display), folded and cut by `plain_text.words`: no sign of either query
language can be in them. Both engines find the same, on phrases too.
"""

from __future__ import annotations

from fhir_server.conditions import Alternative, FullText, Phrase

_LAST_PLACE = 16_383  # of PostgreSQL: beyond, words are found, phrases no more
_MOST_PLACES = 255  # of one word, as PostgreSQL has it


def match(condition: FullText) -> str:
    """The query of FTS5."""
    ways = " OR ".join(f"({_fts5(way)})" for way in condition.any_of)
    return f"{{narrative}} : ({ways})" if condition.narrative else ways


def _fts5(way: Alternative) -> str:
    wanted = " AND ".join(_fts5_phrase(one) for one in way.all_of)
    without = " OR ".join(_fts5_phrase(one) for one in way.none_of)
    return f"({wanted}) NOT ({without})" if without else wanted


def _fts5_phrase(phrase: Phrase) -> str:
    return f'"{" ".join(phrase.words)}"' + (" *" if phrase.prefix else "")


def tsquery(condition: FullText) -> str:
    """The query of PostgreSQL; weight A is the narrative."""
    weight = "A" if condition.narrative else ""
    return " | ".join(f"({_tsquery(way, weight)})" for way in condition.any_of)


def _tsquery(way: Alternative, weight: str) -> str:
    wanted = [_tsquery_phrase(one, weight) for one in way.all_of]
    without = [f"!{_tsquery_phrase(one, weight)}" for one in way.none_of]
    return " & ".join([*wanted, *without])


def _tsquery_phrase(phrase: Phrase, weight: str) -> str:
    labels = [f":{weight}" if weight else ""] * len(phrase.words)
    if phrase.prefix:
        labels[-1] = f":*{weight}"
    words = [f"'{word}'{label}" for word, label in zip(phrase.words, labels, strict=True)]
    return f"({' <-> '.join(words)})"


def tsvector(texts: tuple[str, str, str]) -> str:
    """The words with their places, as PostgreSQL reads them; between two texts a place is left free."""
    places: dict[str, list[str]] = {}
    place = 0
    for text, weight in zip(texts, "ABC", strict=True):
        for word in text.split(" ") if text else ():
            place += 1
            if word == "·":
                continue
            known = places.setdefault(word, [])
            if len(known) < _MOST_PLACES:
                known.append(f"{min(place, _LAST_PLACE)}{weight}")
        place += 1
    return " ".join([f"'{word}':{','.join(known)}" for word, known in places.items()])
