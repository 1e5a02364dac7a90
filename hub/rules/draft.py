"""What would the record say if the commit under construction were done?

Rules look resources up here, so that a header and its first message in one transaction behave as two separate posts.
"""

from __future__ import annotations

import msgspec

from common import clock, errors
from fhir_server import access, changes, index, store
from fhir_server.rights import facts, standing
from hub import conversations

Resource = conversations.Resource
decode = msgspec.json.Decoder().decode


class Draft:
    """What is written so far, and the record behind it. `caller` is who commits; look-ups obey their rights."""

    def __init__(self, so_far: list[changes.Change], caller: access.Caller, view: store.View) -> None:
        self.caller = caller
        self.view = view
        self._pending = {
            f"{one.type}/{one.id}": one for one in so_far if isinstance(one, changes.Create | changes.Update)
        }

    async def find(self, ref: str, *, at: str) -> Resource:
        """The resource as the caller may see it. Raises Invalid at `at` when there is none (for them)."""
        if ref in self._pending:
            return self._pending[ref].body
        type, _, id = ref.partition("/")
        try:
            stored = await self.view.read(type, id, caller=self.caller)
        except (errors.NotFound, errors.Gone):
            raise errors.Invalid(f"{ref} : inconnu, ou vous n'y avez pas accès", at=at) from None
        found: Resource = decode(stored.body)
        return found

    async def present(self, refs: list[str]) -> dict[str, tuple[int | None, Resource]]:
        """As `stored`, but what this commit writes comes first, without a version."""
        held: dict[str, tuple[int | None, Resource]] = {
            **await self.stored([ref for ref in refs if ref not in self._pending])
        }
        return held | {ref: (None, self._pending[ref].body) for ref in refs if ref in self._pending}

    async def bits(self, patient: str, who: tuple[int, ...]) -> int:
        """How any of these keys stands towards `Patient/x` (`rights.standing`) with what this commit writes."""
        found = await self.view.bits(patient, who)
        now, address = clock.micros(self.view.now()), index.address(patient)
        for body in (one.body for one in self._pending.values() if one.type in facts.TYPES):
            for row in facts.of(body):
                if row.patient == address and row.who in (standing.ANYONE, *who) and row.lo <= now <= row.hi:
                    found |= row.bit
        return found

    async def sees(self, ref: str) -> bool:
        """Is it there for the caller, or written by this commit?"""
        if ref in self._pending:
            return True
        return ref in await self.view.many([ref], caller=self.caller)

    def writes(self, ref: str) -> bool:
        """Is it written by this commit?"""
        return ref in self._pending

    @staticmethod
    def address(ref: str) -> int:
        """What a reference is known by in the index of rights."""
        return index.address(ref)

    async def wrote(self, ref: str) -> bool:
        """Is the caller its author?"""
        row = (await self.view.rows([ref])).get(ref)
        sight = access.sight(self.caller, 0)
        return row is not None and (sight is None or sight.author in row.readers)

    async def stored(self, refs: list[str]) -> dict[str, tuple[int, Resource]]:
        """What the record holds of these references, with versions, whoever commits; what is missing is left out."""
        rows = await self.view.many(refs)
        return {ref: (row.version, decode(row.body)) for ref, row in rows.items()}
