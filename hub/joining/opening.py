"""How does somebody who signs in by their card get in at once? (ACC-03, ACC-15)

Pro Santé Connect has checked who they are and that they may practise: the first sign-in writes down the checks as a
completed request and, for somebody the directory does not know, makes their entry, one PractitionerRole for each place
of work. What the directory says otherwise is shown as to be corrected, and stops nobody. Two first sign-ins at once
make one account: the numbers are claimed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common import clock, errors
from fhir_server import access, changes
from fhir_server.rows import Taken
from hub.joining import checks, claimed, directory, notices, numbers, request
from hub.room import Resource, Room
from mapping import systems

CORRECT_AT = "https://annuaire.sante.fr/"
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """Who came in (`Practitioner/x`), and whether something of theirs is to be corrected, shown once."""

    practitioner: str
    to_correct: bool = False


class Opening:
    """Opens the accounts of those who come by their card."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def admit(self, claims: Mapping[str, Any], known: Sequence[str]) -> Opened:
        """The person of these claims; `known` are their numbers, as `system|value`.

        Raises Forbidden when the register says of nothing that they practise, when their entry here is closed, or when
        their numbers lead to several people.
        """
        for _ in range(_TRIES):
            practitioner = await self._found(known)
            if practitioner and await self._room.store.owner(_account(practitioner)):
                return Opened(practitioner)
            try:
                return await self._open(practitioner, claimed.read(claims), known)
            except Taken:
                continue  # another sign-in of theirs was first
        raise errors.Unavailable("deux connexions à la fois : recommencez")

    async def _found(self, known: Sequence[str]) -> str:
        found = await self._room.find("Practitioner", identifier=",".join(known)) if known else []
        theirs = [one for one in found if directory.holds(one, known, self._room)]
        if len(theirs) > 1:
            raise errors.Forbidden(
                "vos identifiants désignent plusieurs personnes de l'annuaire : appelez l'assistance"
            )
        if theirs and not theirs[0].get("active", True):
            raise errors.Forbidden("votre compte est fermé ici : appelez l'assistance pour le rouvrir")
        return f"Practitioner/{theirs[0]['id']}" if theirs else ""

    async def _open(self, practitioner: str, said: claimed.Claims, known: Sequence[str]) -> Opened:
        """Write the request, done, with whatever the directory lacks. Raises Taken, Forbidden."""
        room, wanted = self._room, list[changes.Change]()
        entry = await directory.person(known, room) if practitioner else None
        if not (entry and entry.roles) and not (said.works and said.number):
            raise errors.Forbidden(
                "ni l'annuaire ni Pro Santé Connect ne vous connaissent d'exercice actif : demandez un compte"
            )
        if not practitioner:
            body = claimed.practitioner(said)
            id = room.store.new_id("Practitioner", body)
            practitioner = f"Practitioner/{id}"
            wanted += [changes.Create("Practitioner", id, body)]
            wanted += [changes.Claim(f"Practitioner|{one}", "Practitioner", id) for one in known]
        if not (entry and entry.roles):
            wanted += await self._works(practitioner, said)
        found = checks.of_sign_in(room.now())
        if entry:
            found = checks.merged(found, await self._otherwise(entry, said))
        wanted += self._request(practitioner, found)
        await room.store.commit(wanted, caller=access.SYSTEM, cause="account")
        return Opened(practitioner, any(one.result == checks.TO_CORRECT for one in found))

    def _request(self, practitioner: str, found: Sequence[checks.Check]) -> list[changes.Change]:
        now = self._room.now()
        task = request.moved(request.made(request.Typed(), practitioner, found, now), request.OPEN, now)
        task["executionPeriod"]["start"] = clock.instant(now)
        id = self._room.store.new_id("Task", task)
        readers = frozenset({practitioner, notices.AGENTS})
        return [changes.Create("Task", id, task, readers), changes.Claim(_account(practitioner), "Task", id)]

    async def _works(self, practitioner: str, said: claimed.Claims) -> list[changes.Change]:
        """A PractitionerRole for each place of work, and the structures that the directory does not know yet."""
        wanted: list[changes.Change] = []
        made: dict[str, str] = {}
        for work in said.works:
            place = work.place
            ref = made.get(place.number, "") if place.number else ""
            if place.number and not ref:
                ref, new = await self._structure(place)
                made[place.number] = ref
                wanted += new
            role = claimed.role(work, practitioner, ref, is_woman=said.is_woman)
            wanted.append(changes.Create("PractitionerRole", self._room.store.new_id("PractitionerRole", role), role))
        return wanted

    async def _structure(self, place: claimed.Place) -> tuple[str, list[changes.Change]]:
        """The Organization of a national number, and what makes it, under a claim, when the directory has none."""
        number = numbers.read(place.number)
        known = number.structure if number else ()
        if held := await directory.structure(known, self._room):
            return f"Organization/{held['id']}", []
        key = f"Organization|{known[0]}"
        if owner := await self._room.store.owner(key):
            return owner, []
        body = claimed.organization(place, known[0])
        id = self._room.store.new_id("Organization", body)
        return f"Organization/{id}", [
            changes.Create("Organization", id, body),
            changes.Claim(key, "Organization", id),
        ]

    async def _otherwise(self, entry: directory.Entry, said: claimed.Claims) -> list[checks.Check]:
        """What the directory says that the sign-in contradicts."""
        at, found = clock.instant(self._room.now()), []

        def differs(code: str, text: str) -> None:
            found.append(checks.Check(code, checks.TO_CORRECT, checks.NATIONAL, at, text, CORRECT_AT))

        if not entry.roles:
            differs("registration", "L'annuaire du hub ne vous connaissait plus d'exercice actif.")
        held, told = directory.professions(entry.roles), {one.profession for one in said.works if one.profession}
        if held and told and held.isdisjoint(told):
            words = " ; ".join((await directory.known(entry, self._room)).professions)
            differs("profession", f"L'annuaire dit « {words} », votre carte dit autre chose.")
        here, there = await self._finess(entry), {one.place.number for one in said.works if one.place.number}
        if here and there and here.isdisjoint(there):
            names = " ; ".join(dict.fromkeys(one.place.name for one in said.works if one.place.name))
            differs("structure", f"Votre carte donne un autre lieu d'exercice{f' : {names}' if names else ''}.")
        return found

    async def _finess(self, entry: directory.Entry) -> set[str]:
        """National numbers of the places where the directory says they work."""
        refs = [one["organization"]["reference"] for one in entry.roles if "reference" in one.get("organization", {})]
        places: list[Resource] = []
        for ref in dict.fromkeys(refs):
            with contextlib.suppress(errors.NotFound, errors.Gone):  # a structure that is elsewhere, or gone
                places.append(await self._room.read(ref))
        identifiers = (one for place in places for one in place.get("identifier", ()))
        return {str(one.get("value")) for one in identifiers if one.get("system") in (systems.FINESS, systems.SIRENE)}


def _account(practitioner: str) -> str:
    return f"account|{practitioner}"
