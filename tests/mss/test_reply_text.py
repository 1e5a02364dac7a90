"""Cutting quotations: the rules that the twelve clients do not show, and the law that no written line is lost."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss import reply_text

ATTRIBUTION = "Le 23/11/2026 à 09:12, Nadia Roux, infirmière (via Spico Hub) a écrit :"
UNTIMED = "Le 23 novembre, Nadia Roux a écrit :"
BLOCK = """De : Nadia Roux <conv@hub.example>
Envoyé : lundi 23 novembre 2026 09:12
À : Paul Lefebvre
Objet : Plaie du talon [#K7F2Q]

La plaie suinte.
Température ?"""
OURS = f"{reply_text.SEPARATOR}\n\nNadia Roux :\n\nTempérature ?\n\n___\n{reply_text.FOOTER.format('K7F2Q')}"


def quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.split("\n"))


def test_a_mail_that_quotes_nothing_is_all_reply() -> None:
    cut = reply_text.cut("Bonjour,\n\nTout va bien.")
    assert cut == reply_text.Cut("Bonjour,\n\nTout va bien.", "", "")


@pytest.mark.parametrize(
    "mark",
    [
        BLOCK,
        f"________________________________\n{BLOCK}",
        f"-----Message d'origine-----\n{BLOCK}",
        f"----- Mail original -----\n{BLOCK}",
        f"-------- Message initial --------\nExpéditeur : x@y.fr\n\n{OURS}",
        f"*{BLOCK.replace(' :', ' :*', 1)}",
        BLOCK.replace(" :", "\xa0:"),
        f"From: Nadia <conv@hub.example>\nSent: Monday 09:12\nTo: Paul\nSubject: x\n\n{OURS}",
        f"{ATTRIBUTION}\n{quoted(OURS)}",
        f"Le lun. 23 nov. 2026 à 09:12, Nadia Roux <conv@hub.example> a\nécrit :\n\n{quoted(OURS)}",
        f"On Mon, Nov 23, 2026 at 9:12 AM Nadia <conv@hub.example> wrote:\n\n{quoted(OURS)}",
        f"Nadia Roux a écrit le 23/11/2026 09:12 :\n{quoted(OURS)}",
        f"Le 23 novembre 2026 09:12:33 GMT+01:00, Nadia <conv@hub.example> a écrit :\n{OURS}",
        OURS,
        f"> {ATTRIBUTION}\n> \n{quoted(OURS)}",
    ],
)
def test_what_stands_below_a_programs_mark_is_quotation(mark: str) -> None:
    cut = reply_text.cut(f"Pas de fièvre.\nCordialement\n\n{mark}\n")
    assert cut.reply == "Pas de fièvre.\nCordialement"
    assert cut.quoted.strip() == mark.strip()
    assert not cut.interleaved


@pytest.mark.parametrize(
    "text",
    [
        f"{ATTRIBUTION}\n> Température ?\n38,4",
        f"{ATTRIBUTION}\n> Température ?\n38,4\n> Tension ?\n12/8",
        f"Bonjour\n\n{ATTRIBUTION}\n> Température ?\n38,4\n> Tension ?",
        f"Mes réponses ci-dessous\n\n{BLOCK}\n38,4",
        f"Voir en rouge dans le texte.\n\n{BLOCK}\n38,4",
        f"{BLOCK}\n38,4",
        f"{ATTRIBUTION}\n{quoted(OURS).replace('> ___', '38,4' + chr(10) + '> ___')}\nMerci",
    ],
)
def test_nothing_is_hidden_when_answers_may_stand_between_the_lines(text: str) -> None:
    cut = reply_text.cut(text)
    assert cut.interleaved
    assert "38,4" in cut.reply
    assert "Température ?" in cut.reply


def test_below_one_of_our_mails_quoted_whole_only_the_answer_is_shown() -> None:
    cut = reply_text.cut(f"{ATTRIBUTION}\n{quoted(OURS)}\n\n38,4 ce matin.\n\n-- \nDr Lefebvre")
    assert (cut.reply, cut.signature, cut.interleaved) == ("38,4 ce matin.", "-- \nDr Lefebvre", False)


def test_a_letter_typed_with_a_header_of_its_own_is_not_a_quotation() -> None:
    text = (
        "Bonjour,\n\nDe : service de cardiologie\nÀ : Dr Martin\nDate : novembre\nObjet : suivi\n\nCher confrère, RAS."
    )
    assert reply_text.cut(text).reply == text


def test_an_attribution_written_by_hand_hides_nothing() -> None:
    text = "Le 23/11/2026 à 14:05, le Dr Paul a écrit :\nparacétamol 1 g\n\nJe confirme."
    assert reply_text.cut(text).reply == text


def test_an_attribution_without_an_hour_is_believed_when_only_quoted_lines_follow() -> None:
    cut = reply_text.cut(f"Pas de fièvre.\n\n{UNTIMED}\n> Température ?\n>\n\n> Tension ?\n")
    assert (cut.reply, cut.interleaved) == ("Pas de fièvre.", False)
    assert cut.quoted == f"{UNTIMED}\n> Température ?\n>\n\n> Tension ?"


@pytest.mark.parametrize(
    "text",
    [
        f"Bonjour\n\n{UNTIMED}\n> Température ?\n38,4",
        f"Bonjour\n\n{UNTIMED}\n38,4\n> Température ?",
        f"Bonjour\n\n{UNTIMED}\n> Température ?\n38,4\n> Tension ?",
        f"Bonjour\n\n{UNTIMED}\n38,4",
        f"Bonjour\n\n{UNTIMED}\n\n> 38,4",
        f"{UNTIMED}\n> 38,4",
        "Constantes :\n> 38,4\n> 12/8",
    ],
)
def test_an_attribution_without_an_hour_hides_nothing_otherwise(text: str) -> None:
    assert "38,4" in reply_text.cut(text).reply


def test_a_forwarded_mail_is_content() -> None:
    below = "---------- Forwarded message ---------\nDe : Labo <labo@x.fr>\nDate : 23/11/2026 09:12\nÀ : moi\n\nINR 2,4"
    cut = reply_text.cut(f"Pour avis.\n\n{below}")
    assert cut.forwarded
    assert "INR 2,4" in cut.reply
    assert "INR 2,4" in reply_text.cut(f"Pour avis\n\n{BLOCK}\nINR 2,4", forwarded=True).reply


@pytest.mark.parametrize(
    "line",
    [
        "Envoyé de mon iPhone",
        "Envoyé depuis mon smartphone Samsung Galaxy.",
        "Envoyé à partir de Outlook pour Android",
        "Envoyé de mon appareil mobile",
        "Obtenir Outlook pour iOS",
        "Provenance : Courrier pour Windows",
        "Garanti sans virus. www.avast.com",
    ],
)
def test_what_a_telephone_adds_is_not_the_reply(line: str) -> None:
    cut = reply_text.cut(f"D'accord.\n\n{line}\n")
    assert (cut.reply, cut.signature.strip()) == ("D'accord.", line)


@pytest.mark.parametrize(
    "text",
    [
        "Envoyé par fax au laboratoire ce matin",
        "Envoyée depuis les urgences avec son dossier",
        "Traitement :\n--\nDoliprane 1 g x 3\nLovenox 0,4",
        "> 38,5 : paracétamol\n> 40 : appeler le 15",
        "Constantes :\n> 100 systolique\n> 95 % de saturation\n> 12 de fréquence",
        "A écrit : rien",
    ],
)
def test_clinical_lines_that_look_like_marks_stay(text: str) -> None:
    assert reply_text.cut(text).reply == text


def test_dashes_above_a_visiting_card_start_a_signature() -> None:
    cut = reply_text.cut("Oui.\n--\nDr Lefebvre\nCabinet des Tilleuls\nTél. 03 00 00 00 00")
    assert cut.reply == "Oui."


def test_html_is_used_only_when_there_is_no_text() -> None:
    assert reply_text.cut("texte", "<p>html").reply == "texte"
    assert reply_text.cut(" \n", "<p>html<p>deux").reply == "html\n\ndeux"


line = st.sampled_from(
    [
        "", " ", ">", "> x", ">> y", "38,4", "Bonjour", "--", "-- ", ATTRIBUTION, UNTIMED, BLOCK, OURS, quoted(OURS),
        "ci-dessous", "Envoyé de mon iPhone", "De : a@b.fr", "Envoyé : 09:12", "À : x", "Objet : y", "_" * 32,
        reply_text.SEPARATOR,
        "Le 23/11/2026 à 09:12, x <a@b.fr> a", "écrit :", "---------- Message transféré ---------",
        "Dr X, tél. 0300000000",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(line | st.text(max_size=30).filter(lambda text: "\n" not in text), max_size=25))
def test_every_line_with_content_is_in_exactly_one_part(lines: list[str]) -> None:
    text = "\n".join(lines)
    cut = reply_text.cut(text)
    parts = "\n".join((cut.reply, cut.quoted, cut.signature)).split("\n")
    assert sorted(one for one in text.split("\n") if one.strip()) == sorted(one for one in parts if one.strip())
    if cut.interleaved:
        assert not cut.quoted


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n>", exclude_categories=["C", "Z"])), max_size=20))
def test_a_text_without_any_mark_loses_nothing(lines: list[str]) -> None:
    words = [one for one in lines if ":" not in one and "-" not in one]
    assert reply_text.cut("\n".join(words)).quoted == ""


def test_a_very_long_text_is_cut_in_reasonable_time() -> None:
    text = "\n".join(["Le 23/11/2026 a@b.fr mot " * 4] * 50_000) + "x" * 500_000
    start = time.process_time()
    reply_text.cut(text)
    assert time.process_time() - start < 10
