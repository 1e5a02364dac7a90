"""Who hears at once that something changed?"""

from __future__ import annotations

import asyncio

from fhir_server import access, store
from hub.feed import Feed

NADIA = access.person("PractitionerRole/nadia")
LIMITED = access.person("PractitionerRole/nadia", scopes=("user/Observation.rs",))
PAUL = access.person("PractitionerRole/paul")


async def test_only_readers_hear_and_only_of_types_that_their_scopes_name() -> None:
    async def shows(event: store.Event, caller: access.Caller) -> bool:
        is_reader = bool(access.way(access.sight(caller, 0), event))
        return is_reader and access.can(caller, "r", event.type)

    feed = Feed(shows)
    heard: dict[str, list[str]] = {"nadia": [], "limited": [], "paul": []}

    async def listen(name: str, caller: access.Caller) -> None:
        async for change in feed.subscribe(caller):
            heard[name].append(change.type)

    listening = (("nadia", NADIA), ("limited", LIMITED), ("paul", PAUL))
    tasks = [asyncio.create_task(listen(*one)) for one in listening]
    await asyncio.sleep(0)
    readers = frozenset({access.key("PractitionerRole/nadia")})
    feed.publish(
        [
            store.Event(n, type, "x", 1, "POST", readers, 0, 0, b"{}")
            for n, type in enumerate(("Patient", "Observation"))
        ]
    )
    await asyncio.sleep(0.01)
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert heard == {"nadia": ["Patient", "Observation"], "limited": ["Observation"], "paul": []}
