"""Plain French, and message text that never becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from web import words

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 23, 13, 5, tzinfo=UTC)  # Monday, 14:05 in Paris


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        ("2026-11-23T13:05:00Z", "aujourd'hui 14:05"),
        ("2026-11-22T23:30:00.000Z", "aujourd'hui 00:30"),  # another day in UTC
        ("2026-11-22T10:00:00+01:00", "hier 10:00"),
        ("2026-11-18T08:00:00Z", "mercredi 09:00"),
        ("2026-11-16T08:00:00Z", "16 novembre 09:00"),
        ("2026-08-01T08:00:00Z", "1er août 10:00"),
        ("2025-12-31T12:00:00Z", "31 décembre 2025 13:00"),
        ("2026-11-24T08:00:00Z", "24 novembre 09:00"),  # a sender's clock that runs ahead
        ("2026-11-23", ""),
        ("demain", ""),
    ],
)
def test_a_time_is_said_as_one_says_it(instant: str, said: str) -> None:
    assert words.moment(instant, NOW, PARIS) == said


@pytest.mark.parametrize(
    ("patient", "said"),
    [
        ({"birthDate": "1935-02-03", "gender": "female"}, "née le 03/02/1935 (91 ans)"),
        ({"birthDate": "1948-11-24", "gender": "male"}, "né le 24/11/1948 (77 ans)"),
        ({"birthDate": "2026-06-30", "gender": "male"}, "né le 30/06/2026 (4 mois)"),
        ({"birthDate": "1935-02"}, "né(e) en février 1935"),
        ({"birthDate": "1935", "gender": "female"}, "née en 1935"),
        ({}, ""),
    ],
)
def test_a_birth_date_stays_as_exact_as_it_is_known(patient: words.Resource, said: str) -> None:
    assert words.birth(patient, NOW) == said


def test_a_patient_is_named_by_the_name_in_use_and_the_birth_name() -> None:
    official = {"use": "official", "family": "Durand", "given": ["Jeanne", "Marie"]}
    usual = {"use": "usual", "family": "Delmas", "given": ["Jeanne"]}
    assert words.patient_name({"name": [official]}) == "DURAND Jeanne"
    assert words.patient_name({"name": [official, usual]}) == "DELMAS Jeanne (nom de naissance DURAND)"
    assert words.patient_name({}) == "Patient sans nom"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ({"family": "Lefebvre", "given": ["Paul"], "suffix": ["DR"]}, "Dr Paul Lefebvre"),
        ({"family": "Saucier", "given": ["Arthur"], "prefix": ["M"]}, "Arthur Saucier"),
        ({"family": "Saucier", "given": ["Anne"], "prefix": ["MME"], "suffix": ["PR"]}, "Pr Anne Saucier"),
        ({"text": "Dr Hélène Moreau", "family": "Moreau"}, "Dr Hélène Moreau"),
        ({}, ""),
    ],
)
def test_a_professional_is_named_as_one_says_it(name: words.Resource, said: str) -> None:
    assert words.human_name([name]) == said


def test_sizes_are_read_at_a_glance() -> None:
    assert [words.size(850), words.size(240_300), words.size(1_234_567)] == ["850 o", "240 Ko", "1,2 Mo"]


class _Markup(HTMLParser):
    """What a browser would make of it: the elements, their attributes, the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
@example("<script>alert(1)</script>")
@example('https://a.example/"onmouseover="alert(1)')
@example("https://a.example/'><img src=x onerror=alert(1)>")
@example("javascript:alert(1) http://x.example/?q=<b>&amp;lt;")
@example("&lt;b&gt; &amp; &#60;script&#62;")
def test_text_never_becomes_markup(text: str) -> None:
    read = _Markup()
    read.feed(str(words.text_markup(text)))
    read.close()
    assert read.text == text
    for tag, attributes in read.tags:
        assert tag == "a"
        assert set(attributes) == {"href", "target", "rel"}
        assert re.match(r"https?://", attributes["href"] or "", re.IGNORECASE)


def test_a_link_leaves_the_punctuation_of_the_sentence_out() -> None:
    shown = str(words.text_markup("Voir (https://www.has-sante.fr/plaies?a=1&b=2)."))
    assert 'href="https://www.has-sante.fr/plaies?a=1&amp;b=2"' in shown
    assert shown.endswith("</a>).")
