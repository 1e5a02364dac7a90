"""Who is behind a reference: which name and profession does a page show?

Directory resources (PractitionerRole, Practitioner, Organization...) and patients, a few searches for a whole page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hub import conversations, professions
from web import fhir, names, words

Resource = dict[str, Any]
_SPOKEN = ("Patient", "Practitioner", "RelatedPerson")


@dataclass(frozen=True, slots=True)
class Person:
    """One member or sender as shown: `profession` and `place` may be empty; `by_mail` reached by MSSanté mail."""

    ref: str
    name: str
    profession: str = ""
    by_mail: bool = False

    @property
    def initials(self) -> str:
        """Two letters for the round badge."""
        return words.initials(self.name)


async def known(client: fhir.Client, references: Iterable[Resource]) -> dict[str, Person]:
    """Everyone behind these FHIR References, by `Type/id`. The unreadable keep the display they came with."""
    displays = {names.reference(one): str(one.get("display", "")) for one in references if one.get("reference")}
    ids: dict[str, list[str]] = {}
    for ref in displays:
        type, _, id = ref.partition("/")
        ids.setdefault(type, []).append(id)
    pages = await asyncio.gather(*(_fetch(client, type, some) for type, some in ids.items()))
    found = {ref: person for page in pages for ref, person in page.items()}
    return {ref: found.get(ref) or Person(ref, display or "Membre inconnu") for ref, display in displays.items()}


async def _fetch(client: fhir.Client, type: str, ids: list[str]) -> dict[str, Person]:
    params = [("_id", ",".join(ids)), ("_count", str(len(ids)))]
    if type == "PractitionerRole":
        params += [("_include", "PractitionerRole:practitioner"), ("_include", "PractitionerRole:organization")]
    page = await client.search(type, params)
    people = {}
    for resource in page.matches:
        ref = f"{type}/{resource['id']}"
        people[ref] = _role(ref, resource, page.included) if type == "PractitionerRole" else _plain(ref, resource)
    return people


def _role(ref: str, role: Resource, included: dict[str, Resource]) -> Person:
    person = included.get(names.reference(role.get("practitioner")), {})
    place = included.get(names.reference(role.get("organization")), {})
    name = words.human_name(person.get("name", []))
    name = name or str(role.get("practitioner", {}).get("display") or place.get("name") or "Membre inconnu")
    return Person(ref, name, _profession(role, person), conversations.wants_mail(role))


def _plain(ref: str, resource: Resource) -> Person:
    if resource["resourceType"] == "Patient":
        return Person(ref, words.patient_name(resource), "patient")
    if resource["resourceType"] in _SPOKEN:
        return Person(ref, words.human_name(resource.get("name", [])), _profession({}, resource))
    if resource["resourceType"] == "Device":
        return Person(ref, next((one["name"] for one in resource.get("deviceName", ())), "Logiciel"))
    return Person(ref, str(resource.get("name") or "Membre inconnu"))


def _profession(role: Resource, person: Resource) -> str:
    """The words that the directory gives, else the national profession code in words."""
    concepts = [*role.get("specialty", ()), *role.get("code", ())]
    concepts += [one.get("code", {}) for one in person.get("qualification", ())]
    for concept in concepts:
        shown = [concept.get("text"), *(coding.get("display") for coding in concept.get("coding", ()))]
        if text := next((one for one in shown if one), None):
            return _lowered(str(text))
        if label := professions.all().get(names.code(concept, names.PROFESSION)):
            return label.woman if person.get("gender") == "female" else label.man
    return ""


def _lowered(text: str) -> str:
    """ "Médecin généraliste" -> "médecin généraliste"; an abbreviation such as "IDEL" stays."""
    return text[0].lower() + text[1:] if text[1:2].islower() else text
