"""May this app have what it asks of this person?

The authorization request of RFC 6749 section 4.1.1 as SMART App Launch 2 has it (app-launch): PKCE with S256, `state`
and `aud` always, an answer that says who gives it (RFC 9207). What is wrong goes back to the app, unless the app or its
address is not the registered one: then nobody is sent anywhere. The pages show it (`web/pages/authorize.py`) and the
person decides; here it is judged what may be asked, and for which patient.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn
from urllib.parse import urlencode, urlsplit

from common import errors
from fhir_server import access, presence
from fhir_server.scopes import OF_PATIENT, narrowed
from hub import profiles
from hub.codes import METHOD, Allowed, Codes, is_challenge
from hub.launch import Launches
from hub.rights import worn
from hub.room import Resource, Room
from identity import clients, tokens

LAUNCHED, PICKED = "launch", "launch/patient"
_MOST_STATE = 512
_MOST_SCOPES = 100
Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person is asked: `scopes` for the `app`, which goes on at `place` (an origin), under which `hat`.

    `patient` is the one that it is opened for, if any; `picks`: the person says which. `back` is where the browser has
    to go at once instead, "" otherwise.
    """

    app: str = ""
    place: str = ""
    scopes: tuple[str, ...] = ()
    hat: str = ""
    patient: Resource | None = None
    picks: bool = False
    back: str = ""


class _Asked(NamedTuple):
    """A request that can be answered; scopes as they were asked for."""

    client: clients.Client
    redirect_uri: str
    state: str
    challenge: str
    scopes: tuple[str, ...]
    launch: str

    @property
    def picks(self) -> bool:
        """Has the person to say which patient it is about?"""
        return PICKED in self.scopes and not self.launch

    def granted(self, *, has_patient: bool) -> tuple[str, ...]:
        """What of it may be given, as far as the app is registered for it.

        Next to `patient/` scopes, which confine the whole token to that patient, `user/` ones stay for the directory
        alone: nothing is said to be given that is not.
        """
        given = tuple(dict.fromkeys(one for asked in self.scopes for one in narrowed(asked, self.client.scopes)))
        of_people = [one for one in given if one.startswith("user/")]
        of_patient = [one for one in given if one.startswith(OF_PATIENT)] if has_patient else []
        if of_patient:
            of_people = [one for one in of_people if one[len("user/") :].partition(".")[0] in access.OPEN_TYPES]
        context = [PICKED] if self.picks and has_patient else [LAUNCHED] if self.launch else []
        return (*of_patient, *of_people, *context) if of_patient or of_people else ()


class _Back(Exception):
    """An error of RFC 6749 section 4.1.2.1 that the app hears."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class _Person(NamedTuple):
    identity: tokens.Identity
    caller: access.Caller


class Apps:
    """Apps that people open. `base` is our public FHIR address, and the issuer's name."""

    def __init__(self, room: Room, kept: tokens.Tokens, launches: Launches, hats: worn.Hats, *, base: str) -> None:
        self._room = room
        self._tokens = kept
        self._launches = launches
        self._hats = hats
        self._base = base
        self._clients = clients.Clients(kept.engine, room.now)
        self._codes = Codes(kept, room.now)

    async def called(self, client: str) -> str:
        """The name of a registered software, for people; of anything else what it was called by."""
        found = await asyncio.to_thread(self._clients.find, client)
        return found.name if found else client

    async def check(self, params: Params) -> str:
        """Where to send the browser when the request is not answerable, "" when it is.

        Raises Unreadable when nobody may be sent anywhere.
        """
        try:
            await self._asked(params)
        except _Back as back:
            return back.url
        return ""

    async def consent(self, params: Params, token: str) -> Consent:
        """What to ask the person of this session. Raises Unreadable, Unauthenticated, Forbidden."""
        try:
            asked = await self._asked(params)
            person = await self._person(token)
            patient = await self._launched(asked, person)
            scopes = self._granted(asked, has_patient=asked.picks or patient is not None)
        except _Back as back:
            return Consent(back=back.url)
        role = await self._hats.resource(person.identity.actor)
        label = await profiles.work(role, self._room) if role else ""
        place = origin(asked.redirect_uri)
        return Consent(asked.client.name, place, scopes, label, patient, asked.picks)

    async def allow(self, params: Params, token: str, picked: str = "") -> str:
        """The person agreed: where the browser goes on, with a code. `picked` is the id of the patient they chose.

        Raises Unreadable, Unauthenticated, Forbidden, NotFound for a patient whom the person may not see.
        """
        try:
            asked = await self._asked(params)
            person = await self._person(token)
            patient = await self._launched(asked, person)
            if asked.picks:
                patient = await self._picked(picked, person)
            scopes = self._granted(asked, has_patient=patient is not None)
        except _Back as back:
            return back.url
        if asked.launch:
            await self._launches.take(asked.launch)
        ref = f"Patient/{patient['id']}" if patient else ""
        identity = replace(person.identity, client=asked.client.id, scopes=scopes, patient=ref, certificate="")
        allowed = Allowed(identity, token, asked.redirect_uri, asked.challenge, bool(asked.launch))
        return self._answer(asked.redirect_uri, code=await self._codes.make(allowed), state=asked.state)

    async def deny(self, params: Params) -> str:
        """The person did not agree: where the browser goes on. Raises Unreadable."""
        try:
            asked = await self._asked(params)
        except _Back as back:
            return back.url
        return self._answer(asked.redirect_uri, error="access_denied", state=asked.state)

    async def _asked(self, params: Params) -> _Asked:
        given = dict(params)
        named = [name for name, _ in params]
        client = await asyncio.to_thread(self._clients.find, given.get("client_id", ""))
        redirect_uri, state = given.get("redirect_uri", ""), given.get("state", "")
        is_sure = all(named.count(one) == 1 for one in ("client_id", "redirect_uri"))
        if client is None or not is_sure or redirect_uri not in client.redirect_uris:
            text = "cette application, ou l'adresse où elle veut vous renvoyer, n'est pas enregistrée ici"
            raise errors.Unreadable(text)
        wrong = self._wrong(given, named)
        if wrong:
            self._refuse(redirect_uri, state, *wrong)
        scopes = tuple(given["scope"].split()[:_MOST_SCOPES])
        challenge, launch = given["code_challenge"], given.get("launch", "")
        return _Asked(client, redirect_uri, state, challenge, scopes, launch)

    def _wrong(self, given: dict[str, str], named: Sequence[str]) -> tuple[str, str] | None:
        """The error and its words, the first that is found."""
        state, scopes = given.get("state", ""), given.get("scope", "").split()
        rules = (
            (len(set(named)) < len(named), "invalid_request", "a parameter is given twice"),
            (not 0 < len(state) <= _MOST_STATE, "invalid_request", f"state is missing or over {_MOST_STATE} long"),
            (given.get("response_type") != "code", "unsupported_response_type", "response_type must be code"),
            (given.get("response_mode", "query") != "query", "invalid_request", "response_mode must be query"),
            ("request" in given, "request_not_supported", "no request object is read"),
            ("request_uri" in given, "request_uri_not_supported", "no request object is read"),
            (given.get("aud") != self._base, "invalid_request", f"aud must be {self._base}"),
            (
                given.get("code_challenge_method") != METHOD,
                "invalid_request",
                f"code_challenge_method must be {METHOD}",
            ),
            (not is_challenge(given.get("code_challenge", "")), "invalid_request", "code_challenge is no SHA-256"),
            (not scopes, "invalid_scope", "scope is missing"),
            ("launch" in given and LAUNCHED not in scopes, "invalid_request", "scope launch goes with launch"),
        )
        return next(((error, text) for is_wrong, error, text in rules if is_wrong), None)

    async def _person(self, token: str) -> _Person:
        """Who decides: somebody in a session of their own, never an app with the token that it was given."""
        told = await asyncio.to_thread(self._tokens.told, token)
        if told is None:
            raise errors.Unauthenticated("connectez-vous")
        if told.identity.kind != "person" or told.identity.scopes:
            raise errors.Forbidden("cette session est celle d'une application : connectez-vous vous-même")
        return _Person(told.identity, await self._hats.caller(told.identity))

    async def _launched(self, asked: _Asked, person: _Person) -> Resource | None:
        if not asked.launch:
            return None
        try:
            return await self._launches.patient(asked.launch, person.identity.actor)
        except errors.Forbidden:
            text = "launch is unknown, was used, has expired or is for somebody else"
            self._refuse(asked.redirect_uri, asked.state, "invalid_request", text)

    async def _picked(self, id: str, person: _Person) -> Resource:
        if not presence.is_ref("Patient", id):
            raise errors.NotFound("patient inconnu")
        return await self._room.read(f"Patient/{id}", caller=person.caller)

    def _granted(self, asked: _Asked, *, has_patient: bool) -> tuple[str, ...]:
        granted = asked.granted(has_patient=has_patient)
        if not granted:
            text = f"nothing of it can be given; this app has: {' '.join(asked.client.scopes)}"
            self._refuse(asked.redirect_uri, asked.state, "invalid_scope", text)
        return granted

    def _refuse(self, redirect_uri: str, state: str, error: str, text: str) -> NoReturn:
        known = {"state": state} if 0 < len(state) <= _MOST_STATE else {}
        raise _Back(self._answer(redirect_uri, error=error, error_description=text, **known))

    def _answer(self, redirect_uri: str, **values: str) -> str:
        sign = "&" if urlsplit(redirect_uri).query else "?"
        return f"{redirect_uri}{sign}{urlencode({**values, 'iss': self._base})}"


def origin(address: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
