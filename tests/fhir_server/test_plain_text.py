"""Are words cut and folded the same way however the text is written, and never into signs of a query language?"""

from __future__ import annotations

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fhir_server import conditions, fulltext, index, plain_text
from fhir_server.engines import words as written
from tests.fhir_server.searching import TABLES

texts = st.one_of(st.text(), st.text("aàÉœ'’-_+·1²ǅßİ \u0301", max_size=30))


@given(texts)
def test_words_are_letters_and_digits_of_the_folded_text(text: str) -> None:
    found = plain_text.words(text)
    assert [one[: plain_text.LONGEST_WORD] for one in re.findall(r"[^\W_]+", plain_text.fold(text))] == found
    assert all(one.isalnum() and one == plain_text.fold(one) for one in found)


@given(texts)
def test_the_way_accents_are_written_makes_no_difference(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert plain_text.words(composed) == plain_text.words(unicodedata.normalize("NFD", composed))


def test_french_words() -> None:
    assert plain_text.words("L'Été, cœur n°12 : 5+5") == ["l", "ete", "coeur", "n", "12", "5", "5"]
    assert index.fold("  Lefèvre-Œuf ") == "lefevre oeuf"


def test_a_very_long_text_keeps_its_first_words_and_stays_below_a_megabyte() -> None:
    long = " ".join(f"mot{n}" for n in range(200_000))
    found = fulltext.texts({"resourceType": "Basic", "note": [{"text": long}]}, [])
    kept = found[2].split(" ")
    assert kept == long.split(" ")[: len(kept)]
    assert 40_000 < len(kept) < 60_000
    assert len({*kept}) * 12 + sum(map(len, kept)) < 2**20


def test_what_nobody_reads_is_no_word() -> None:
    resource = {
        "resourceType": "Basic",
        "id": "secret",
        "meta": {"source": "secret"},
        "extension": [{"url": "http://secret.test", "valueString": "lisible"}],
        "subject": {"reference": "Patient/secret", "display": "Dominique"},
        "data": "c2VjcmV0",
        "at": "2026-11-23T08:59:59Z",
    }
    assert fulltext.texts(resource, [])[2] == "lisible · dominique · 2026 11 23"


def test_both_query_languages_get_the_same_question() -> None:
    asked = fulltext.wanted(['"mal de" dos* -tete OR pied'], "_text", narrative=True)
    assert asked.any_of[1] == conditions.Alternative((conditions.Phrase(("pied",)),))
    assert written.match(asked) == '{narrative} : ((("mal de" AND "dos" *) NOT ("tete")) OR ("pied"))'
    assert written.tsquery(asked) == "(('mal':A <-> 'de':A) & ('dos':*A) & !('tete':A)) | (('pied':A))"


def test_text_beside_a_value_is_marked_with_its_parameter() -> None:
    param = TABLES.by_type["Observation"]["code"]
    found = fulltext.texts({"resourceType": "Observation"}, [(param, "Poids du corps"), (param, "Pesée")])
    marked = [fulltext.mark(param.number, one) for one in ("poids", "du", "corps")]
    assert found[1] == f"{' '.join(marked)} · {fulltext.mark(param.number, 'pesee')}"
