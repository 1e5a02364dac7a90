"""How does a doctor's software open the hub, or an app, on the patient that is on its screen? (LGC-08)

The software asks for somebody who is signed in there, with the token that it got to act for them: the person is that
of the token, the patient is named by a number (INS). It gets a `launch`, an opaque text that is good once, for minutes,
for that person and patient (SMART App Launch 2, EHR launch). The browser brings it to the hub's own app, which needs no
second sign-in, or an app of somebody else brings it to `/oauth/authorize`.

A software that may open the hub acts there as the person, with all their rights: the scope `open-context` is given to
softwares of which that is expected, never to an app (see docs/security.md).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from common import errors
from common.events import Events, emit
from hub import profiles
from hub.oauth_forms import Refused, answered, needed
from hub.rights import worn
from hub.room import Resource, Room
from identity import clients, errands, tokens

OPEN = "open-context"
PAGE = "/connexion/contexte"
SESSION = timedelta(hours=1)  # nobody may tell us that the session there has ended: it is opened again from there
_KIND = "launch"
_LIFETIME = timedelta(minutes=5)
_NUMBER = re.compile(r"[^\s|,\\$]{1,200}\|[^\s|,\\$]{1,64}")


@dataclass(frozen=True, slots=True)
class Context:
    """Whom a `launch` opens what for: `software` asked, `name` under `hat` (`actor`) goes on with `patient`."""

    software: str
    actor: str
    name: str
    hat: str
    patient: Resource


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: tokens.Identity
    patient: str
    origin: bytes  # the digest of the token that asked


class Launches:
    """What was asked to be opened. `base` is our public FHIR address."""

    def __init__(self, room: Room, kept: tokens.Tokens, hats: worn.Hats, *, base: str) -> None:
        self._room = room
        self._tokens = kept
        self._hats = hats
        self._base = base
        self._errands = errands.Errands(kept.engine, room.now)
        self._clients = clients.Clients(kept.engine, room.now)

    async def post(self, form: Mapping[str, str], bearer: str) -> dict[str, Any]:
        """A `launch` for the person of this token and the patient of this number. Raises Refused."""
        try:
            person = await self._tokens.check(bearer)
        except errors.Unauthenticated:
            person = None
        if person is None or person.kind != "person":
            raise Refused("invalid_token", "send the access token that you got to act for a person", 401)
        if OPEN not in person.scopes:
            raise Refused("insufficient_scope", f"the token has not the scope {OPEN}", 403)
        number = needed(form, "patient")
        if not _NUMBER.fullmatch(number):
            raise Refused("invalid_request", "patient must be system|value, such as urn:oid:1.2.250.1.213.1.4.8|...")
        identity = replace(person, scopes=(), patient="", certificate="")
        found = await self._room.find("Patient", caller=await self._hats.caller(identity), identifier=number)
        if len(found) != 1:
            # The same words for whoever is not there and whoever is hidden.
            raise Refused("unknown_patient", "no patient that this person may see has this number", 404)
        patient = f"Patient/{found[0]['id']}"
        content = {"identity": asdict(identity), "patient": patient, "origin": errands.digest(bearer).hex()}
        launch = await asyncio.to_thread(self._errands.keep, _KIND, content, _LIFETIME)
        emit(Events.IDN_013, client=identity.client)
        url = f"{self._base.removesuffix('/fhir')}{PAGE}?{urlencode({'iss': self._base, 'launch': launch})}"
        return {"launch": launch, "url": url, "expires_in": int(_LIFETIME.total_seconds())}

    async def shown(self, launch: str, iss: str) -> Context:
        """What it opens; it stays good. Raises Forbidden when it opens nothing, or nothing any more."""
        if iss != self._base:
            raise errors.Forbidden("ce lien est celui d'un autre serveur")
        kept = await self._kept(launch)
        patient, identity = await self._patient(kept), kept.identity
        software = await asyncio.to_thread(self._clients.find, identity.client)
        role = await self._hats.resource(identity.actor)
        label = await profiles.work(role, self._room) if role else ""
        return Context(software.name if software else identity.client, identity.actor, identity.name, label, patient)

    async def open(self, launch: str, iss: str) -> str:
        """A session of that person, once; it ends with theirs at Pro Santé Connect. Raises Forbidden."""
        await self.shown(launch, iss)
        kept = await self._kept(launch)
        await self.take(launch)
        token = await asyncio.to_thread(self._tokens.mint, kept.identity, SESSION)
        # What ended while the session was made: its end has seen the new token, or is seen here.
        if not await asyncio.to_thread(self._tokens.remaining, kept.origin):
            await asyncio.to_thread(self._tokens.revoke, token)
            raise errors.Forbidden(_OVER)
        return token

    async def patient(self, launch: str, actor: str) -> Resource:
        """Whom an app is opened for by this person; the launch stays good. Raises Forbidden."""
        kept = await self._kept(launch)
        if kept.identity.actor != actor:
            raise errors.Forbidden("ce lien a été fait pour quelqu'un d'autre, ou pour un autre profil")
        return await self._patient(kept)

    async def take(self, launch: str) -> None:
        """It is used now. Raises Forbidden when it was before."""
        if not await asyncio.to_thread(self._errands.take, _KIND, launch):
            raise errors.Forbidden(_OVER)

    async def _kept(self, launch: str) -> _Kept:
        content = await asyncio.to_thread(self._errands.look, _KIND, launch)
        origin = bytes.fromhex(content["origin"]) if content else b""
        if content is None or not await asyncio.to_thread(self._tokens.remaining, origin):
            raise errors.Forbidden(_OVER)
        return _Kept(tokens.again(content["identity"]), content["patient"], origin)

    async def _patient(self, kept: _Kept) -> Resource:
        caller = await self._hats.caller(kept.identity)
        try:
            return await self._room.read(kept.patient, caller=caller)
        except (errors.NotFound, errors.Gone):
            raise errors.Forbidden("ce dossier ne vous est plus ouvert") from None


def router(launches: Launches) -> APIRouter:
    """The address that a doctor's software posts to."""
    made = APIRouter(tags=["oauth"])

    @made.post("/oauth/launch")
    async def launch(request: Request) -> Response:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else ""
        return await answered(request, lambda form: launches.post(form, token))

    return made


_OVER = "ce lien a expiré ou a déjà servi : ouvrez de nouveau le patient depuis votre logiciel"
