"""What may somebody see under the hat that they wear? (ACC-13)

A hat is a PractitionerRole: it says where somebody works and as what. Circles of care and consents name the hat, the
person or the structure; the profession narrows which kinds of data a circle shares with them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from fhir_server import access, limits, store
from fhir_server.scopes import OF_PATIENT
from hub.rights import matrix
from identity import tokens
from mapping import systems

Resource = dict[str, Any]
_decode = msgspec.json.Decoder().decode

REMEMBERED_SECONDS = 5.0
REMEMBERED_HATS = 20_000


@dataclass(frozen=True, slots=True)
class Hat:
    """Where (`Organization/x`) and as what (TRE-G15 code) somebody works; empty when the directory does not say.

    `offices` are what they do for others besides (`systems.OFFICE`): they read what is meant for that office.
    """

    structure: str = ""
    profession: str = ""
    offices: tuple[str, ...] = ()


class Hats:
    """The hats of those who ask; a change in the directory is known within seconds."""

    def __init__(self, record: store.Store) -> None:
        self._record = record
        self._limits = limits.Limits(record.definitions.search)
        self._known: dict[str, tuple[float, Hat]] = {}

    async def caller(self, identity: tokens.Identity) -> access.Caller:
        """The rights of an identity: everything for the machine's operator, those of the hat, or open data alone."""
        hat = await self.hat(identity.actor) if identity.actor and identity.kind != "system" else Hat()
        delegate = identity.delegate.partition(" ")[0]
        found = caller(identity, hat, await self.hat(delegate) if delegate else None)
        left = self._limits.of(identity.scopes) if identity.scopes else ()
        return replace(found, limits=left) if left else found

    async def hat(self, actor: str) -> Hat:
        """What the directory says of `PractitionerRole/x`. Raises Unavailable."""
        found = self._known.get(actor)
        if found and found[0] > time.monotonic():
            return found[1]
        hat = await self._read(actor)
        if len(self._known) >= REMEMBERED_HATS:
            self._known.clear()
        self._known[actor] = (time.monotonic() + REMEMBERED_SECONDS, hat)
        return hat

    async def _read(self, actor: str) -> Hat:
        role = await self.resource(actor)
        if role.get("resourceType") == "Organization":
            return Hat(structure=actor)
        profession = _coded(role.get("code", ()), systems.PROFESSION)[:1]
        if not profession and (practitioner := role.get("practitioner", {}).get("reference", "")):
            person = await self.resource(practitioner)
            qualified = [one.get("code", {}) for one in person.get("qualification", ())]
            profession = _coded(qualified, systems.PROFESSION)[:1]
        offices = _coded(role.get("code", ()), systems.OFFICE)
        return Hat(role.get("organization", {}).get("reference", ""), "".join(profession), offices)

    async def resource(self, ref: str) -> Resource:
        """The resource of a reference, empty when there is none."""
        found = (await self._record.many([ref], caller=access.SYSTEM)).get(ref)
        body: Resource = _decode(found.body) if found else {}
        return body


@lru_cache(maxsize=8192)
def caller(identity: tokens.Identity, hat: Hat, acting: Hat | None = None) -> access.Caller:
    """The same for a known hat. Who acts for another (`acting`) may what both of their professions may."""
    client, scopes, name = identity.client, identity.scopes, identity.name
    if identity.kind == "system":
        return access.Caller(None, client, memberships=None, scopes=scopes, name=name)
    if not identity.actor:
        return access.Caller(None, client, scopes=scopes, name=name)
    person = access.person(
        identity.actor, *identity.also, client=client or None, scopes=scopes, name=name, structure=hat.structure
    )
    line = matrix.line(hat.profession)
    confined = any(one.startswith(OF_PATIENT) for one in scopes)
    person = replace(person, patient=identity.patient if confined else "")
    if acting is None:
        # What is done for others besides, under one's own hat: a delegate does not stand in for it.
        offices = (access.key(f"office:{one}") for one in hat.offices)
        person = replace(person, memberships=(*(person.memberships or ()), *offices))
        return replace(person, kinds=line.kinds, writes=line.writes, corps=line.corps)
    own, delegate = matrix.line(acting.profession), identity.delegate.partition(" ")[0]
    kinds, writes, corps = line.kinds & own.kinds, line.writes & own.writes, line.corps | own.corps
    return replace(person, kinds=kinds, writes=writes, corps=corps, delegate=delegate)


def _coded(concepts: Any, system: str) -> tuple[str, ...]:
    codings = (coding for one in concepts for coding in one.get("coding", ()))
    return tuple(str(one.get("code", "")) for one in codings if one.get("system") == system)
