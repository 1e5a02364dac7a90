"""What does a flow need at hand?

The record, the settings, the clock and the secret, passed to every flow, so that a test or a replay gives its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from common import clock
from fhir_server import access, query, store
from fhir_server.r4 import load
from hub import settings

Resource = dict[str, Any]
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Room:
    """Handed to each flow; holds nothing of one message."""

    store: store.Store
    definitions: load.Definitions
    settings: settings.Settings
    now: clock.Clock
    secret: bytes

    async def find(self, type: str, *, caller: access.Caller = access.SYSTEM, **params: str) -> list[Resource]:
        """Resources matching FHIR search parameters (`part_of` stands for `part-of`), 100 at most.

        Newest first, unless `_sort` says otherwise.
        """
        pairs = [(_name(given), value) for given, value in params.items()]
        parsed = query.parse(type, [*pairs, ("_count", "100")], self.definitions.search, now=self.now())
        page = await self.store.search(parsed.query, caller=caller)
        return [_decode(row.body) for row in page.rows]

    async def read(self, ref: str, *, caller: access.Caller = access.SYSTEM) -> Resource:
        """One resource by `Type/id`. Raises NotFound or Gone."""
        type, _, id = ref.partition("/")
        stored = await self.store.read(type, id, caller=caller)
        found: Resource = _decode(stored.body)
        return found


def _name(given: str) -> str:
    """`part_of` is `part-of`, `name__exact` is `name:exact`, `_sort` stays."""
    rest = given.lstrip("_").replace("__", ":").replace("_", "-")
    return f"_{rest}" if given.startswith("_") else rest
