"""What was stored before rows knew how they are shared is shared once it is indexed again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from common import errors
from fhir_server import access, conditions, index, store
from fhir_server.r4 import load
from fhir_server.rights import facts
from hub.rules import consent
from tests.fhir_server import worlds
from tests.fhir_server.worlds import create


class Older(index.Indexer):
    """The indexer of a program that knew no circles."""

    def rows(self, resource: dict[str, Any]) -> conditions.Rows:
        return replace(super().rows(resource), sharing=0, standing=())


async def test_a_circle_of_before_counts_after_the_reindex(
    opened: Callable[..., Awaitable[store.Store]], definitions: load.Definitions
) -> None:
    old = await opened(indexer=Older(definitions), generation=index.GENERATION - 1)
    await create(old, worlds.a_patient(), id="x")
    said = consent.recorded("Patient/x", category=facts.DOSSIER, by="PractitionerRole/nadia", at="2026-01-01T00:00:00Z")
    await create(old, said)
    member = {"member": {"reference": "PractitionerRole/nadia"}, "period": {"start": "2026-01-01"}}
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": "Patient/x"}}
    await create(old, {**team, "participant": [member]})
    note = await create(old, worlds.an_observation("x"))
    nadia = access.person("PractitionerRole/nadia")
    with pytest.raises(errors.NotFound):
        await old.read("Observation", note.id, caller=nadia)
    await old.close()
    record = await opened()
    assert (await record.reindex()).done == 4
    assert await record.read("Observation", note.id, caller=nadia) == note
    with pytest.raises(errors.NotFound):
        await record.read("Observation", note.id, caller=access.person("PractitionerRole/paul"))
