"""How does a software get a token, and what does SMART say of us?

SMART App Launch 2 (backend services), RFC 6749, 7523, 7662, 7009, 8693 and 8705: a software signs a statement with its
key (`identity.assertions`) or shows its certificate (`identity.certificates`), and gets a token of five minutes for
scopes that both it asked for and an operator allows. Alone it reads the directory and metadata; patient data needs
somebody who acts (LGC-14): then it shows the token that Pro Santé Connect gave it for that person, and gets one of a
quarter of an hour. An app that a person opens brings a code instead (`hub.codes`). Errors are the RFCs' JSON, in
English: they are read by whoever programs the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from common import errors
from common.events import Events, emit
from fhir_server import scopes
from hub import launch
from hub.codes import METHOD, Codes
from hub.national import National
from hub.oauth_forms import Refused, answered, as_json, needed
from identity import assertions, certificates, tokens
from identity.clients import Client

LIFETIME = timedelta(minutes=5)
# Nobody tells us when a session ends at Pro Santé Connect that the software began: so it has to show that it goes on.
LIFETIME_FOR_A_PERSON = timedelta(minutes=15)
ALONE, FOR_A_PERSON = "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"
BY_CODE = "authorization_code"
ACCESS_TOKEN, JWT = (f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("access_token", "jwt"))
_THUMBPRINT = "x5t#S256"
_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_SCOPES = ("system/*.rs", "system/*.read")
_MOST_SCOPES = 100
_OF_PEOPLE = ("user/*.rs", "user/*.cruds", "user/*.read", "user/*.write")
_OF_APPS = ("patient/*.rs", "patient/*.cruds", "patient/*.read", "patient/*.write", "launch", "launch/patient")
# What is really there (SMART App Launch 2, conformance); those of the second line where apps are opened by people.
_ALWAYS = ("client-confidential-asymmetric", "permission-v1", "permission-v2")
_FOR_APPS = ("launch-ehr", "launch-standalone", "client-public", "context-banner", "context-ehr-patient",
             "context-standalone-patient", "permission-patient", "permission-user")  # fmt: skip


class Authority:
    """The authorization server. `base` is our public FHIR address, whose origin the addresses under `/oauth` have."""

    def __init__(
        self,
        kept: tokens.Tokens,
        checked: assertions.Assertions,
        *,
        base: str,
        national: National | None = None,
        mutual_tls: bool = False,
        codes: Codes | None = None,
    ) -> None:
        self._tokens = kept
        self._mutual_tls = mutual_tls
        self._national = national
        self._codes = codes
        self._assertions = checked
        self._base = base
        origin = base.removesuffix("/fhir")
        names = ("token", "introspect", "revoke", *(("authorize", "launch") if codes else ()))
        self.addresses = {name: f"{origin}/oauth/{name}" for name in names}

    async def software(self, form: Mapping[str, str], at: str) -> Client:
        """Who sends this form to one of our addresses (RFC 7523, RFC 8705). Raises Refused."""
        if "client_secret" in form:
            raise Refused("invalid_client", f"no secret is shared here; one of: {' '.join(self._methods)}", 401)
        if "client_assertion" not in form:
            return await self._by_certificate(form)
        if form.get("client_assertion_type") != assertions.TYPE:
            raise Refused("invalid_client", f"client_assertion_type must be {assertions.TYPE}", 401)
        try:
            client = await self._assertions.check(form["client_assertion"], self.addresses[at])
        except errors.Unauthenticated as problem:
            raise Refused("invalid_client", problem.message, 401) from None
        if form.get("client_id", client.id) != client.id:
            raise Refused("invalid_client", "client_id is not the issuer of client_assertion", 401)
        return client

    async def _by_certificate(self, form: Mapping[str, str]) -> Client:
        came = certificates.presented.get()
        if came is None:
            also = " or a client certificate" if self._mutual_tls else ""
            raise Refused("invalid_client", f"client_assertion (private_key_jwt){also} expected", 401)
        try:
            return await asyncio.to_thread(self._assertions.clients.of, came, form.get("client_id", ""))
        except errors.Unauthenticated as problem:
            raise Refused("invalid_client", problem.message, 401) from None

    async def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """RFC 6749 section 4.4 with SMART's scopes, or RFC 8693, or a code. Raises Refused."""
        if form.get("grant_type") not in self.grants:
            raise Refused("unsupported_grant_type", f"grant_type must be one of: {' '.join(self.grants)}")
        if form["grant_type"] == BY_CODE and self._codes:
            app = await self._codes.public(form)
            client = app or await self.software(form, "token")
            return await self._codes.redeem(form, client, certificate="" if app else _bound(form, client))
        client = await self.software(form, "token")
        bound = _bound(form, client)
        if form["grant_type"] == ALONE:
            granted = _granted(form, client, "system/")
            identity = tokens.Identity("client", client=client.id, scopes=granted, name=client.name, certificate=bound)
            return await self._given(identity, LIFETIME)
        granted = _granted(form, client, "user/")
        person = await self._person(form, client)
        identity = replace(person, client=client.id, scopes=granted, certificate=bound)
        return {**await self._given(identity, LIFETIME_FOR_A_PERSON), "issued_token_type": ACCESS_TOKEN}

    @property
    def grants(self) -> list[str]:
        """What may be asked for: by exchange only where the national provider can be asked."""
        return [ALONE, *([FOR_A_PERSON] if self._national else ()), *([BY_CODE] if self._codes else ())]

    @property
    def _methods(self) -> list[str]:
        return ["private_key_jwt", "tls_client_auth"] if self._mutual_tls else ["private_key_jwt"]

    async def _person(self, form: Mapping[str, str], client: Client) -> tokens.Identity:
        """For whom a software acts. Raises Refused."""
        assert self._national
        if form.get("subject_token_type") not in (ACCESS_TOKEN, JWT):
            raise Refused("invalid_request", f"subject_token_type must be {ACCESS_TOKEN} or {JWT}")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN or "actor_token" in form:
            raise Refused("invalid_request", f"only {ACCESS_TOKEN} is issued, and no actor_token is read")
        if not client.psc_clients:
            raise Refused("unauthorized_client", "no client_id of Pro Sante Connect is registered for this software")
        token, role = needed(form, "subject_token"), form.get("practitioner_role", "")
        try:
            return await self._national.behind(token, client.psc_clients, role)
        except errors.Unauthenticated:
            raise Refused("invalid_grant", "subject_token is not, or no longer, good at Pro Sante Connect") from None
        except errors.Forbidden:
            raise Refused("access_denied", "nobody here is that person, or works as that practitioner_role") from None
        except errors.Conflict as several:
            raise Refused("invalid_target", f"say which practitioner_role: {several.message}") from None

    async def _given(self, identity: tokens.Identity, lifetime: timedelta) -> dict[str, Any]:
        try:
            text = await asyncio.to_thread(self._tokens.mint, identity, lifetime, registered=True)
        except errors.Unauthenticated as problem:
            raise Refused("invalid_client", problem.message, 401) from None
        emit(Events.IDN_010, client=identity.client, scopes=len(identity.scopes), person=bool(identity.actor))
        seconds, scope = int(lifetime.total_seconds()), " ".join(identity.scopes)
        return {"access_token": text, "token_type": "bearer", "expires_in": seconds, "scope": scope}

    async def introspect(self, form: Mapping[str, str]) -> dict[str, Any]:
        """RFC 7662: what a token stands for, told to the software that it was given to. Raises Refused."""
        client = await self.software(form, "introspect")
        found = await asyncio.to_thread(self._tokens.told, needed(form, "token"))
        if found is None or found.identity.client != client.id:
            return {"active": False}
        identity = found.identity
        told: dict[str, Any] = {
            "active": True,
            "client_id": identity.client,
            "scope": " ".join(identity.scopes),
            "iat": found.created // 1_000_000,
            "exp": found.expires // 1_000_000,
            "token_type": "bearer",
        }
        told |= {"cnf": {_THUMBPRINT: identity.certificate}} if identity.certificate else {}
        told |= {"patient": identity.patient.partition("/")[2]} if identity.patient else {}
        return told | ({"sub": identity.actor} if identity.actor else {})

    async def revoke(self, form: Mapping[str, str]) -> dict[str, Any]:
        """RFC 7009: the software gives a token of its own back; of others nothing is said or done. Raises Refused."""
        client = await self.software(form, "revoke")
        text = needed(form, "token")
        found = await asyncio.to_thread(self._tokens.told, text)
        if found is not None and found.identity.client == client.id:
            await asyncio.to_thread(self._tokens.revoke, text)
        return {}

    def configuration(self) -> dict[str, Any]:
        """What a client discovers (SMART App Launch 2, `.well-known/smart-configuration`): what is really there."""
        return self._of_apps() | {
            "token_endpoint": self.addresses["token"],
            "introspection_endpoint": self.addresses["introspect"],
            "revocation_endpoint": self.addresses["revoke"],
            "grant_types_supported": self.grants,
            "token_endpoint_auth_methods_supported": [*self._methods, *(["none"] if self._codes else ())],
            "token_endpoint_auth_signing_alg_values_supported": list(assertions.ALGORITHMS),
            "introspection_endpoint_auth_methods_supported": self._methods,
            "revocation_endpoint_auth_methods_supported": self._methods,
            "scopes_supported": self._scopes(),
            "code_challenge_methods_supported": [METHOD],
            "capabilities": [*_ALWAYS, *(_FOR_APPS if self._codes else ())],
            **({"tls_client_certificate_bound_access_tokens": True} if self._mutual_tls else {}),
        }

    def _of_apps(self) -> dict[str, Any]:
        if not self._codes:
            return {}
        return {
            "issuer": self._base,
            "authorization_endpoint": self.addresses["authorize"],
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,  # RFC 9207
            "launch_endpoint": self.addresses["launch"],  # our own: docs/software.md
        }

    def _scopes(self) -> list[str]:
        of_people = _OF_PEOPLE if self._national or self._codes else ()
        opening = [launch.OPEN] if self._national and self._codes else []
        return [*_SCOPES, *of_people, *(_OF_APPS if self._codes else ()), *opening]

    def security(self) -> dict[str, Any]:
        """The same for the CapabilityStatement (`rest.security`)."""
        known = ("authorize", "token", "introspect", "revoke")
        uris = [{"url": name, "valueUri": self.addresses[name]} for name in known if name in self.addresses]
        names = ["SMART-on-FHIR", *(["Certificates"] if self._mutual_tls else [])]
        services = [{"coding": [{"system": _SERVICES, "code": one, "display": one}]} for one in names]
        return {"extension": [{"url": _URIS, "extension": uris}], "service": services}


def router(authority: Authority, national: National | None = None) -> APIRouter:
    """The addresses under `/oauth`, and the one under the FHIR base; `national` hears of sessions that ended."""
    made = APIRouter(tags=["oauth"])

    @made.post("/oauth/token")
    async def token(request: Request) -> Response:
        return await answered(request, authority.token)

    @made.post("/oauth/introspect")
    async def introspect(request: Request) -> Response:
        return await answered(request, authority.introspect)

    @made.post("/oauth/revoke")
    async def revoke(request: Request) -> Response:
        return await answered(request, authority.revoke)

    @made.post("/oauth/backchannel-logout")
    async def logout(request: Request) -> Response:
        async def ended(form: Mapping[str, str]) -> dict[str, Any]:
            if national is None:
                raise Refused("invalid_request", "no national sign-in is set up here")
            try:
                await national.ended(needed(form, "logout_token"))
            except errors.Unauthenticated:
                raise Refused("invalid_request", "this logout_token is not to be believed") from None
            return {}

        return await answered(request, ended)

    @made.get("/fhir/.well-known/smart-configuration")
    async def configuration() -> Response:
        return as_json(authority.configuration(), headers={"Access-Control-Allow-Origin": "*"})

    return made


def _bound(form: Mapping[str, str], client: Client) -> str:
    """The thumbprint of the certificate that a token will go with, "" for none (RFC 8705 section 3). Raises Refused.

    Always when it stands for a key; else when the registration wants it, or the software itself (`cnf`, as the guide
    "API Pro Santé Connectées" has it).
    """
    if "client_assertion" in form and not client.bound and "cnf" not in form:
        return ""
    came = certificates.presented.get()
    if came is None or came.wrong:
        raise Refused(
            "invalid_request", came.wrong if came else "a client certificate is expected: the token goes with it"
        )
    if (client.certificate_subject or client.certificate_dns) and not client.has(came):
        raise Refused("invalid_request", "this certificate is not the one that is registered for this software")
    try:
        said = msgspec.json.decode(form.get("cnf", "{}"), type=dict[str, str]).get(_THUMBPRINT, "")
    except msgspec.DecodeError:
        said = ""
    if "cnf" in form and not certificates.is_thumbprint(said, came.thumbprint):
        raise Refused("invalid_request", "cnf must be the x5t#S256 of the certificate of this connection")
    return came.thumbprint


def _granted(form: Mapping[str, str], client: Client, kind: str) -> tuple[str, ...]:
    """The scopes of this kind that were asked for, as far as the software has them. Raises Refused for none."""
    asked = [one for one in form.get("scope", "").split() if one.startswith(kind)][:_MOST_SCOPES]
    granted = tuple(dict.fromkeys(one for scope in asked for one in scopes.narrowed(scope, client.scopes)))
    if kind == "user/" and launch.OPEN in form.get("scope", "").split() and launch.OPEN in client.scopes:
        granted += (launch.OPEN,)
    if not granted:
        allowed = " ".join(one for one in client.scopes if one.startswith(kind)) or f"none that begins with {kind}"
        raise Refused("invalid_scope", f"none of the scopes asked for is allowed; this software has: {allowed}")
    return granted
