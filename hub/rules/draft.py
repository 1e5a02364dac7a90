"""What would the record say if the commit under construction were done?

Rules look resources up here, so that a header and its first message in one transaction behave as two separate posts.
"""

from __future__ import annotations

import msgspec

from common import errors
from fhir_server import access, changes, store
from hub import conversations

Resource = conversations.Resource
_decode = msgspec.json.Decoder().decode


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
        found: Resource = _decode(stored.body)
        return found

    async def present(self, refs: list[str]) -> dict[str, tuple[int | None, Resource]]:
        """As `stored`, but what this commit writes comes first, without a version."""
        held: dict[str, tuple[int | None, Resource]] = {
            **await self.stored([ref for ref in refs if ref not in self._pending])
        }
        return held | {ref: (None, self._pending[ref].body) for ref in refs if ref in self._pending}

    async def stored(self, refs: list[str]) -> dict[str, tuple[int, Resource]]:
        """What the record holds of these references, with versions, whoever commits; what is missing is left out."""
        rows = await self.view.many(refs)
        return {ref: (row.version, _decode(row.body)) for ref, row in rows.items()}
