"""May this mail address be somebody's? (ACC-04)

One person, one address: what several people read (contact@, secretariat@, cabinet@) opens no account, since whoever
holds the address could sign in. A private address is as good as a professional one. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from common import errors
from mss import address

# Functions: wherever such a word stands, several people read the mail (`cardio.secretariat@`, `martin-accueil@`).
_ANYWHERE = frozenset(
    "accueil administratif administration admission admissions comptabilite contact contacts courrier courriel "
    "direction dpo facturation gestion hotline infos information informations jobs mailing mailer newsletter "
    "noreply nepasrepondre planning postmaster reception recrutement regulation rendezvous reservation "
    "secretaire secretaires secretariat secretariats standard support urgence urgences webmaster".split()
)
# Places and short words, which are also surnames or follow a name: shared when the address begins with them
# (`cabinet.martin@`), not when a person does (`marie.cabinet@`).
_FIRST = frozenset(
    "abuse admin assistance bal boite bureau cabinet centre clinique coordination cpts dac ehpad equipe had hopital "
    "info labo laboratoire mail maison msp officine pharmacie pole rdv residence rh service services ssiad team".split()
)
# Professions: somebody's with a name beside them (`dr.martin@`), nobody's alone (`medecins@`).
_ALONE = frozenset(
    "aide docteur docteurs dr ide idel infirmier infirmiere infirmieres infirmiers kine kines kinesitherapeute le la "
    "les liberal medecin medecins medical pharmacien pharmaciens psy sage sante social soignant soignants".split()
)
# Long enough to be found at the beginning of words written together (`secretariatcardio@`, `cabinetmartin@`).
_GLUED = tuple(sorted(one for one in _ANYWHERE | _FIRST if len(one) >= 7))
_NO_REPLY = re.compile(r"\A(no|ne|do|pas)[._-]?(not|pas)?[._-]?(reply|repondre|reponse)")

GENERIC = (
    "Cette adresse semble partagée par plusieurs personnes, or un compte est à une seule. Donnez votre adresse "
    "nominative, ou une adresse privée : personne ne la verra."
)


def personal(text: str, *, own_domain: str = "") -> str:
    """The address as it is kept. Raises Invalid (at `mail`) with what to do when it cannot be one person's.

    `own_domain` is that of the hub's mailbox, whose addresses lead back to the hub.
    """
    try:
        found = address.normalise(text)
    except errors.Invalid as problem:
        raise _refused(problem.message) from None
    local, _, domain = found.rpartition("@")
    if "." not in domain or domain.startswith("["):
        raise _refused("Cette adresse de courriel n'est pas de la forme nom@domaine.fr.")
    if own_domain and domain == own_domain.lower():
        raise _refused("Cette adresse est celle de la messagerie elle-même. Donnez la vôtre.")
    if is_generic(local):
        raise _refused(GENERIC)
    return found


def is_generic(local: str) -> bool:
    """Does the part before the @ name a function or a place, and no person?"""
    name = _plain(local).partition("+")[0].strip('"')
    words = [one for one in re.split(r"[^a-z]+", name) if one]
    if not words or _NO_REPLY.match(name):
        return True
    if any(word in _ANYWHERE for word in words) or words[0] in _FIRST:
        return True
    if all(word in _ALONE or word in _FIRST or len(word) == 1 for word in words):
        return not _is_initials(words)
    return words[0].startswith(_GLUED)


def _is_initials(words: list[str]) -> bool:
    """`m@`, `j.b@`: short, and somebody's."""
    return all(len(word) == 1 for word in words)


def _plain(text: str) -> str:
    """Lower case without accents."""
    kept = unicodedata.normalize("NFKD", text.lower())
    return "".join(one for one in kept if not unicodedata.combining(one))


def _refused(text: str) -> errors.Invalid:
    return errors.Invalid(text, at="mail", issues=(errors.Issue(text, "mail", "business-rule"),))
