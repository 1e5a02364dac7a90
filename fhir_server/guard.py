"""How does somebody stand towards a patient, asked outside of a search?

For rules, for who explains, for who tells open pages of a change: the same rows and the same tables as the engines join
in their queries.
"""

from __future__ import annotations

from collections.abc import Iterable

from common import clock
from fhir_server import access, index, presence
from fhir_server.access import Caller
from fhir_server.engine import Engine
from fhir_server.rights import standing
from fhir_server.rows import Event, Row


class Guard:
    """The rights of now. Its functions are those of `store.Store`."""

    def __init__(self, engine: Engine, now: clock.Clock) -> None:
        self._engine = engine
        self._now = now

    def sight(self, caller: Caller) -> access.Sight | None:
        """What the caller sees now, as the engines ask for it."""
        return access.sight(caller, clock.micros(self._now()))

    async def bits(self, patient: str, who: Iterable[int]) -> int:
        """How any of these keys stands now towards `Patient/x`, together (`rights.standing`)."""
        return await self._engine.bits(index.address(patient), (standing.ANYONE, *who), clock.micros(self._now()))

    async def shows(self, event: Event, caller: Caller) -> bool:
        """May the caller see now what changed?"""
        seen, may = self.sight(caller), access.can(caller, "r", event.type)
        if seen is None or not may:
            return may
        if any(one.type == event.type for one in seen.limits):  # the row knows what a query asks for, an event does not
            return bool(await self._engine.get([(event.type, event.id)], seen))
        table = access.way(seen, event)
        who = (standing.ANYONE, *seen.circles)
        return bool(table) and standing.opens(table, await self._engine.bits(event.patient, who, seen.now))

    async def rows(self, refs: Iterable[str]) -> dict[str, Row]:
        """The rows of what is or was there, by `Type/id`, whoever asks."""
        wanted = [(ref.partition("/")[0], ref.partition("/")[2]) for ref in dict.fromkeys(refs)]
        named = [one for one in wanted if presence.is_ref(*one)]
        return {row.ref: row for row in await self._engine.get(named, None)} if named else {}
