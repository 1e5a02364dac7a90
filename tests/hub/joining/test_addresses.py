"""Which addresses open an account? The table of ACC-04."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import errors
from hub.joining import addresses

PERSONAL = """
jeanne.martin@orange.fr
j.martin@ch-rodez.example
martin@free.example
jm@gmail.example
drmartin@wanadoo.example
dr.martin@cabinet.example
docteur.martin@cabinet.example
infirmiere.dupont@laposte.example
marie.cabinet@outlook.example
jean.bureau@orange.example
lucie.residence@free.example
claire+spico@free.example
o.contat@free.example
MARIE.DURAND@DAC12.EXAMPLE
helene.lefèvre@orange.example
j.b@free.example
jean-paul_roux12@hotmail.example
nadia.roux@infirmiers.mssante.fr
paul.urgent@free.example
standa.marek@free.example
""".split()

SHARED = """
contact@cabinet.example
contact2@cabinet.example
secretariat@clinique.example
Secrétariat@clinique.example
secretariat.cardio@ch-rodez.example
cardio.secretariat@ch-rodez.example
martin-secretariat@cabinet.example
secretariatcardio@ch-rodez.example
cabinet@orange.example
cabinet.martin@orange.example
cabinetmartin@orange.example
accueil@ehpad.example
info@cpts.example
infos-rdv@cpts.example
direction@ehpad.example
direction.soins@ch.example
medecins@maison.example
pharmacie.du.marche@orange.example
pharmaciedumarche@orange.example
contact+jeanne@cabinet.example
no-reply@ch.example
ne_pas_repondre@ch.example
webmaster@ch.example
dr@cabinet.example
12@cabinet.example
idel@orange.example
""".split()


def test_the_table_has_forty_addresses_and_more() -> None:
    assert len({*PERSONAL, *SHARED}) >= 40


@pytest.mark.parametrize("mail", PERSONAL)
def test_somebodys_address_is_kept_folded(mail: str) -> None:
    assert addresses.personal(f" {mail} ") == mail.lower()


@pytest.mark.parametrize("mail", SHARED)
def test_a_shared_address_is_refused_with_a_way_out(mail: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        addresses.personal(mail)
    assert refusal.value.message == addresses.GENERIC
    assert "adresse privée" in refusal.value.message


@pytest.mark.parametrize("mail", ["", "jeanne", "jeanne@", "@orange.fr", "jeanne@orange", "a b@c.fr", "a@[127.0.0.1]"])
def test_what_is_no_address_is_said_so(mail: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        addresses.personal(mail)
    assert refusal.value.at == "mail"


def test_the_hubs_own_mailboxes_are_nobodys() -> None:
    with pytest.raises(errors.Invalid):
        addresses.personal("jeanne.martin@hub.demo.mssante.fr", own_domain="hub.demo.mssante.fr")


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_refusal(text: str) -> None:
    try:
        kept = addresses.personal(text)
    except errors.Invalid:
        return
    assert addresses.personal(kept) == kept


@given(
    st.sampled_from(["contact", "secretariat", "accueil", "direction"]), st.integers(0, 9999), st.sampled_from("._-+")
)
def test_numbers_and_case_hide_nothing(word: str, number: int, mark: str) -> None:
    for local in (word, word.upper(), f"{word}{number}", f"{word}{mark}{number}", f"{word}{mark}x"):
        assert addresses.is_generic(local)
