"""How does a national identity become somebody who acts here?

Pro Santé Connect says who a person is (`identity.openid`); the directory says as what they work here: each active
PractitionerRole is a hat, and with several the person chooses one. What the browser carries meanwhile is sealed with
the hub's secret and good for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from common import errors
from fhir_server import cursors
from hub import people, settings
from hub.room import Resource, Room
from identity import openid, tokens, used
from mapping import systems

CAME_BACK = "/connexion/psc/retour"
LIFETIME = timedelta(hours=4)  # as long as a session lasts there
_MARKED_SECONDS = 3600  # an end is remembered for longer than a sign-in or a choice takes
_MOST_BACK, _MOST_HATS = 512, 20  # what a cookie has room for
_UNDER_WAY = timedelta(minutes=10)
_TO_CHOOSE = timedelta(minutes=5)
_NUMBER = re.compile(r"[A-Za-z0-9/._-]{1,64}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Hat:
    """One way of working: `actor` is the PractitionerRole, `label` says which it is."""

    actor: str
    label: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody who was recognised: their hats, where they wanted to go, and a `ticket` to put one on."""

    hats: tuple[Hat, ...]
    ticket: str
    back: str


class National:
    """Sign-in through Pro Santé Connect. `origin` is our public address, without a path."""

    def __init__(self, provider: openid.Provider, room: Room, kept: tokens.Tokens, *, origin: str) -> None:
        self._provider = provider
        self._room = room
        self._tokens = kept
        self._used = used.Used(kept.engine, room.now)
        self._redirect = f"{origin}{CAME_BACK}"
        self._seal = cursors.Seal(blake2b(key=room.secret, person=b"hub sign-in").digest()[: cursors.SECRET_BYTES])

    async def begin(self, back: str) -> tuple[str, str]:
        """Where to send the person, and what their browser has to bring back. Raises Unavailable."""
        url, begun = await self._provider.begin(self._redirect)
        back = back if len(back) <= _MOST_BACK else "/"
        return url, self._close({"begun": asdict(begun), "back": back}, _UNDER_WAY)

    async def finish(self, answer: Mapping[str, str], sealed: str) -> Arrived:
        """Who came back, and as what they may work.

        Raises Unauthenticated when that cannot be believed, Forbidden when nobody here is that person, Unavailable.
        """
        kept = self._open(sealed, "begun")
        signed_in = await self._provider.finish(answer, openid.Begun(**kept["begun"]), self._redirect)
        practitioner = await self._practitioner(signed_in.claims)
        hats = [await self._hat(role) for role in await self._roles(practitioner)]
        name, _ = await people.name(f"Practitioner/{practitioner['id']}", self._room)
        ticket = {
            "practitioner": f"Practitioner/{practitioner['id']}",
            "actors": [one.actor for one in hats],
            "name": name,
            "subject": signed_in.subject,
            "session": signed_in.session,
        }
        return Arrived(tuple(hats), self._close({"ticket": ticket}, _TO_CHOOSE), kept["back"])

    async def wear(self, ticket: str, actor: str) -> str:
        """A token for one of the hats of a ticket, once. Raises Unauthenticated, Forbidden for another hat."""
        content = self._open(ticket, "ticket")
        kept, until = content["ticket"], int(content["until"])
        if actor not in kept["actors"]:
            raise errors.Forbidden("ce profil n'est pas l'un des vôtres")
        if not await asyncio.to_thread(self._used.once, f"ticket\0{ticket}", until):
            raise errors.Unauthenticated("cette connexion a déjà servi : recommencez")
        identity = tokens.Identity(
            "person",
            actor,
            (kept["practitioner"],),
            client="psc",
            name=kept["name"],
            subject=kept["subject"],
            session=kept["session"],
        )
        token = await asyncio.to_thread(self._tokens.mint, identity, LIFETIME)
        if await asyncio.to_thread(self._has_ended, identity, until - int(_TO_CHOOSE.total_seconds())):
            await asyncio.to_thread(self._tokens.revoke, token)
            raise errors.Unauthenticated("cette session Pro Santé Connect est terminée : recommencez")
        return token

    async def behind(self, access_token: str, clients: Collection[str], role: str = "") -> tokens.Identity:
        """The person whose access token of Pro Santé Connect a software shows, in one of their hats.

        `clients` are the software's ids at Pro Santé Connect: a token given to another is refused.

        `role` says which (`PractitionerRole/x`), and must when there are several. Raises Unauthenticated, Forbidden,
        Conflict when the hat is not said, Unavailable.
        """
        signed_in = await self._provider.behind(access_token, clients)
        practitioner = await self._practitioner(signed_in.claims)
        actors = [f"PractitionerRole/{one['id']}" for one in await self._roles(practitioner)]
        if role and role not in actors:
            raise errors.Forbidden("ce profil n'est pas l'un des vôtres")
        if not role and len(actors) > 1:
            raise errors.Conflict(" ".join(actors))
        also = f"Practitioner/{practitioner['id']}"
        name, _ = await people.name(also, self._room)
        subject, session = signed_in.subject, signed_in.session
        return tokens.Identity("person", role or actors[0], (also,), name=name, subject=subject, session=session)

    async def ended(self, logout_token: str) -> None:
        """The session ended there: it ends here. Raises Unauthenticated, Unavailable."""
        signed_in = await self._provider.ended(logout_token)
        # First the mark, then the tokens: one that is being made meanwhile sees the mark (`wear`).
        until = int(self._room.now().timestamp()) + _MARKED_SECONDS
        await asyncio.to_thread(self._used.mark, f"ended\0{signed_in.session or signed_in.subject}", until)
        await asyncio.to_thread(self._tokens.end, signed_in.subject, signed_in.session)

    async def _practitioner(self, claims: Mapping[str, Any]) -> Resource:
        numbers = list(_numbers(claims))
        searched = [f"urn:oid:{systems.PROFESSIONALS}|{one}" for one in numbers]
        searched += [f"{systems.RPPS}|{one[1:]}" for one in numbers if one.startswith("8") and len(one) == 12]
        found = await self._room.find("Practitioner", identifier=",".join(searched)) if searched else []
        active = [one for one in found if one.get("active", True) and self._has_one(one, searched)]
        if not active:
            raise errors.Forbidden("vous n'avez pas encore de compte ici : demandez-le à votre structure ou au DAC")
        if len(active) > 1:
            raise errors.Forbidden(
                "vos identifiants désignent plusieurs personnes de l'annuaire : appelez l'assistance"
            )
        return active[0]

    def _has_one(self, practitioner: Resource, searched: Collection[str]) -> bool:
        """Is one of these numbers theirs now? One that a letter or a mail said of them is not (`use` temp)."""
        held = [one for one in practitioner.get("identifier", ()) if one.get("use") not in ("temp", "old")]
        return any(
            f"{one.get('system')}|{one.get('value')}" in searched and self._is_current(one.get("period"))
            for one in held
        )

    async def _roles(self, practitioner: Resource) -> list[Resource]:
        roles = await self._room.find("PractitionerRole", practitioner=f"Practitioner/{practitioner['id']}")
        active = [one for one in roles if one.get("active", True) and self._is_current(one.get("period"))]
        if not active:
            raise errors.Forbidden("l'annuaire ne vous connaît aucune situation d'exercice active")
        return sorted(active, key=_id)[:_MOST_HATS]

    def _is_current(self, period: Resource | None) -> bool:
        today = f"{self._room.now():%Y-%m-%d}"
        begin, end = ((period or {}).get(name, "")[:10] for name in ("start", "end"))
        return (not begin or begin <= today) and (not end or end >= today[: len(end)])

    async def _hat(self, role: Resource) -> Hat:
        profession = next((str(one.get("text", "")) for one in role.get("code", ())), "")
        place = ""
        with contextlib.suppress(errors.NotFound, errors.Gone):  # a structure that is elsewhere, or not there any more
            if structure := role.get("organization", {}).get("reference"):
                place, _ = await people.name(structure, self._room)
        label = ", ".join(part for part in (profession, place) if part) or str(role["id"])
        return Hat(f"PractitionerRole/{role['id']}", label)

    def _has_ended(self, identity: tokens.Identity, since: int) -> bool:
        """Was it said that this session is over, or all of the subject's since then (in seconds since 1970)?"""
        if identity.session and self._used.until(f"ended\0{identity.session}"):
            return True
        return self._used.until(f"ended\0{identity.subject}") - _MARKED_SECONDS >= since

    def _close(self, content: dict[str, Any], lifetime: timedelta) -> str:
        until = (self._room.now() + lifetime).timestamp()
        return self._seal.close(json.dumps({**content, "until": until}))

    def _open(self, sealed: str, kind: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._seal.open(sealed))
        except errors.Unreadable:
            content = {}
        if kind not in content or content["until"] < self._room.now().timestamp():
            raise errors.Unauthenticated("cette connexion a expiré : recommencez")
        return content


def build(config: settings.Settings, room: Room, kept: tokens.Tokens, *, origin: str) -> National | None:
    """As set; None when no provider is. Raises Unreadable for settings that are not complete, or not safe."""
    if not config.psc_discovery:
        return None
    parts = urlsplit(config.psc_discovery)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise errors.Unreadable("psc_discovery : https attendu", at="psc_discovery")
    if not config.psc_client_id or config.psc_client_secret_file is None:
        raise errors.Unreadable("psc_client_id et psc_client_secret_file sont nécessaires", at="psc_client_id")
    secret = config.psc_client_secret_file.read_text().strip()
    registration = openid.Registration(config.psc_discovery, config.psc_client_id, secret, acr=config.psc_acr)
    return National(openid.Provider(registration, room.now), room, kept, origin=origin)


def _numbers(claims: Mapping[str, Any]) -> Iterable[str]:
    """Every national number of the person: an account may have been merged, any of them can be the one we know."""
    others = claims.get("otherIds")
    given = [claims.get("SubjectNameID"), claims.get("preferred_username")]
    given += [one.get("identifiant") for one in others if isinstance(one, dict)] if isinstance(others, list) else []
    return dict.fromkeys(one for one in given if isinstance(one, str) and _NUMBER.fullmatch(one))


def _id(resource: Resource) -> str:
    return str(resource["id"])
