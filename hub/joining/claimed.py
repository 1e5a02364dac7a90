"""What does Pro Santé Connect say of a person's work, and how does that look in the directory?

Claims `SubjectRefPro.exercices[]` with their `activities[]` (national referential; empty texts where there is nothing).
Repeated lines are one. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hub import conversations, professions
from hub.joining import numbers
from mapping import systems

Resource = dict[str, Any]
_LONGEST = 200
_MOST_WORKS = 20
_CODE = re.compile(r"\A[A-Za-z0-9]{1,8}\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody works: a FINESS or SIRET `number` and a name, either may be empty."""

    number: str = ""
    name: str = ""
    postcode: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """One situation d'exercice: a TRE-G15 profession code, R38 know-how, mode (L, S, B) and place."""

    profession: str
    know_how: str = ""
    mode: str = ""
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Claims:
    """A person as claimed; `number` is the national identifier (IDNPS), "" when it is not one of the register."""

    number: str
    family: str
    given: str
    is_woman: bool
    works: tuple[Work, ...]


def read(claims: Mapping[str, Any]) -> Claims:
    """The claims that matter here; what has another form than it should is as if it were not there."""
    exercises = [one for one in _list(_map(claims.get("SubjectRefPro")).get("exercices")) if isinstance(one, dict)]
    first = exercises[0] if exercises else {}
    number = _text(claims.get("SubjectNameID"))
    return Claims(
        number if numbers.is_registration(number) else "",
        _text(first.get("nomDexercice")) or _text(claims.get("family_name")),
        _name(_text(first.get("prenomDexercice")) or _text(claims.get("given_name"))),
        _text(_map(claims.get("SubjectRefPro")).get("codeCivilite")) in ("MME", "MLLE"),
        tuple(dict.fromkeys(work for one in exercises for work in _works(one)))[:_MOST_WORKS],
    )


def practitioner(said: Claims) -> Resource:
    """The person as a directory entry."""
    identifiers = [{"use": "official", "system": f"urn:oid:{systems.PROFESSIONALS}", "value": said.number}]
    if said.number.startswith("8"):
        identifiers.append({"use": "official", "system": systems.RPPS, "value": said.number[1:]})
    held = dict.fromkeys(one.profession for one in said.works)
    return {
        "resourceType": "Practitioner",
        "identifier": identifiers,
        "active": True,
        "name": [{"family": said.family, "given": [said.given]} if said.given else {"family": said.family}],
        "qualification": [{"code": _profession(one, is_woman=said.is_woman)} for one in held],
    }


def role(work: Work, practitioner: str, structure: str, *, is_woman: bool) -> Resource:
    """One place of work as a directory entry; a place without a number is its name alone."""
    found: Resource = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": conversations.reference(practitioner),
        "code": [_profession(work.profession, is_woman=is_woman)],
    }
    if work.know_how:
        found["specialty"] = [conversations.concept(systems.KNOW_HOW, work.know_how)]
    if structure:
        found["organization"] = conversations.reference(structure)
    elif work.place.name:
        found["organization"] = {"display": work.place.name}
    return found


def organization(place: Place, number: str) -> Resource:
    """A structure that only its national number (`system|value`) and its name are known of."""
    system, _, value = number.partition("|")
    found: Resource = {
        "resourceType": "Organization",
        "identifier": [{"use": "official", "system": system, "value": value}],
        "active": True,
        "name": place.name or value,
    }
    if place.postcode:
        found["address"] = [{"postalCode": place.postcode, "country": "FRA"}]
    return found


def _works(exercise: Mapping[str, Any]) -> Iterable[Work]:
    profession = _text(exercise.get("codeProfession"))
    # Students (E) act under somebody's responsibility: no account of their own by the card alone.
    if not _CODE.match(profession) or _text(exercise.get("codeCategorieProfessionnelle")) == "E":
        return
    know_how = _text(exercise.get("codeSavoirFaire"))
    know_how = know_how if _CODE.match(know_how) else ""
    activities = [one for one in _list(exercise.get("activities")) if isinstance(one, dict)]
    for one in activities or [{}]:
        yield Work(profession, know_how, _text(one.get("codeModeExercice")), _place(one))


def _place(activity: Mapping[str, Any]) -> Place:
    given = [_text(activity.get(one)) for one in ("numeroFinessSite", "numeroSiretSite")]
    number = next((one for one in given if (found := numbers.read(one)) and found.structure), "")
    name = _text(activity.get("enseigneCommercialeSite")) or _text(activity.get("raisonSocialeSite"))
    return Place(number, name, _text(activity.get("codePostal"))[:10])


def _profession(code: str, *, is_woman: bool) -> Resource:
    found = conversations.concept(systems.PROFESSION, code)
    if names := professions.all().get(code):
        found["text"] = names.woman if is_woman else names.man
    return found


def _name(text: str) -> str:
    """Cards write given names in capitals: `JEAN-PAUL` is Jean-Paul."""
    return text.title() if text.isupper() else text


def _text(value: object) -> str:
    return " ".join(value.split())[:_LONGEST] if isinstance(value, str) and value.isprintable() else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
