"""How does a national identity become somebody who acts here?

Pro Santé Connect says who a person is (`identity.openid`), the directory as what they work here (`hub.profiles`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from common import errors
from hub import profiles, settings
from hub.joining import directory, opening
from hub.room import Resource, Room
from identity import openid, tokens, used
from mapping import systems

CAME_BACK = "/connexion/psc/retour"
TO_CORRECT = "/compte/a-corriger"  # the page that shows what is to be corrected
LIFETIME = timedelta(hours=4)  # as long as a session lasts there
_MOST_BACK = 512  # what a cookie has room for
_UNDER_WAY = timedelta(minutes=10)
_NUMBER = re.compile(r"[A-Za-z0-9/._-]{1,64}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class National:
    """Sign-in through Pro Santé Connect. `origin` is our public address, without a path."""

    def __init__(
        self, provider: openid.Provider, room: Room, kept: tokens.Tokens, hats: profiles.Profiles, *, origin: str
    ) -> None:
        self._provider = provider
        self._room = room
        self._tokens = kept
        self._used = used.Used(kept.engine, room.now)
        self._profiles = hats
        self._redirect = f"{origin}{CAME_BACK}"

    async def begin(self, back: str) -> tuple[str, str]:
        """Where to send the person, and what their browser has to bring back. Raises Unavailable."""
        url, begun = await self._provider.begin(self._redirect)
        back = back if len(back) <= _MOST_BACK else "/"
        return url, self._profiles.close("begun", {**asdict(begun), "back": back}, _UNDER_WAY)

    async def finish(self, answer: Mapping[str, str], sealed: str) -> profiles.Arrived:
        """Who came back, and as what they may work.

        Raises Unauthenticated when that cannot be believed, Forbidden when nobody here is that person, Unavailable.
        """
        kept, _ = self._profiles.opened("begun", sealed)
        back = kept.pop("back")
        signed_in = await self._provider.finish(answer, openid.Begun(**kept), self._redirect)
        if self._room.settings.accounts_at_once:
            opened = await opening.Opening(self._room).admit(signed_in.claims, _searched(signed_in.claims))
            back = TO_CORRECT if opened.to_correct else back
            return await self._profiles.arrived(opened.practitioner, _proved(signed_in), back)
        practitioner = await self._practitioner(signed_in.claims)
        return await self._profiles.arrived(f"Practitioner/{practitioner['id']}", _proved(signed_in), back)

    async def behind(self, access_token: str, clients: Collection[str], role: str = "") -> tokens.Identity:
        """The person whose access token of Pro Santé Connect a software shows, in one of their hats.

        `clients` are the software's ids at Pro Santé Connect: a token given to another is refused.

        `role` says which (`PractitionerRole/x`), and must when there are several. Raises Unauthenticated, Forbidden,
        Conflict when the hat is not said, Unavailable.
        """
        signed_in = await self._provider.behind(access_token, clients)
        practitioner = await self._practitioner(signed_in.claims)
        return await self._profiles.worn(f"Practitioner/{practitioner['id']}", role, _proved(signed_in))

    async def ended(self, logout_token: str) -> None:
        """The session ended there: it ends here. Raises Unauthenticated, also for what was said before; Unavailable."""
        signed_in = await self._provider.ended(logout_token)
        said = signed_in.claims
        once = f"logout\0{said['iss']}\0{said['jti']}"
        if await asyncio.to_thread(self._used.until, once):
            raise errors.Unauthenticated("ce jeton de déconnexion a déjà servi")
        # First the mark, then the tokens: one that is being made meanwhile sees the mark (`Profiles.wear`).
        await asyncio.to_thread(self._profiles.mark_ended, signed_in.session or signed_in.subject)
        await asyncio.to_thread(self._tokens.end, signed_in.subject, signed_in.session)
        # Only now, so that the provider may say it again when we could not end it.
        await asyncio.to_thread(self._used.mark, once, int(said["iat"]) + openid.LOGOUT_SECONDS + openid.SKEW_SECONDS)

    async def _practitioner(self, claims: Mapping[str, Any]) -> Resource:
        searched = _searched(claims)
        found = await self._room.find("Practitioner", identifier=",".join(searched)) if searched else []
        active = [one for one in found if one.get("active", True) and directory.holds(one, searched, self._room)]
        if not active:
            raise errors.Forbidden("vous n'avez pas encore de compte ici : demandez-le à votre structure ou au DAC")
        if len(active) > 1:
            raise errors.Forbidden(
                "vos identifiants désignent plusieurs personnes de l'annuaire : appelez l'assistance"
            )
        return active[0]


def build(
    config: settings.Settings, room: Room, kept: tokens.Tokens, hats: profiles.Profiles, *, origin: str
) -> National | None:
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
    return National(openid.Provider(registration, room.now), room, kept, hats, origin=origin)


def _numbers(claims: Mapping[str, Any]) -> Iterable[str]:
    """Every national number of the person: an account may have been merged, any of them can be the one we know."""
    others = claims.get("otherIds")
    given = [claims.get("SubjectNameID"), claims.get("preferred_username")]
    given += [one.get("identifiant") for one in others if isinstance(one, dict)] if isinstance(others, list) else []
    return dict.fromkeys(one for one in given if isinstance(one, str) and _NUMBER.fullmatch(one))


def _searched(claims: Mapping[str, Any]) -> list[str]:
    """The same as the directory may hold them, `system|value`."""
    numbers = list(_numbers(claims))
    searched = [f"urn:oid:{systems.PROFESSIONALS}|{one}" for one in numbers]
    return searched + [f"{systems.RPPS}|{one[1:]}" for one in numbers if one.startswith("8") and len(one) == 12]


def _proved(signed_in: openid.SignedIn) -> profiles.Proved:
    return profiles.Proved("psc", LIFETIME, signed_in.subject, signed_in.session)
