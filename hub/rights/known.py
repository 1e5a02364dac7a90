"""Under which keys do circles of care and consents know somebody who is not asking?

A decision may name the hat, the person or the structure: whoever is written to, added or asked about is known by all
three, as a caller is (`worn`).
"""

from __future__ import annotations

import msgspec

from fhir_server import access, store

_decode = msgspec.json.Decoder().decode


async def keys(ref: str, view: store.View) -> tuple[int, ...]:
    """The keys of `PractitionerRole/x`, of its person and its structure; of any other reference its own alone."""
    return tuple(access.key(one) for one in await references(ref, view))


async def references(ref: str, view: store.View) -> list[str]:
    """The same as references, the given one first."""
    if not ref.startswith("PractitionerRole/"):
        return [ref]
    found = (await view.many([ref])).get(ref)
    if found is None:
        return [ref]
    role = _decode(found.body)
    also = (role.get(name, {}).get("reference", "") for name in ("practitioner", "organization"))
    return [ref, *(one for one in also if one)]
