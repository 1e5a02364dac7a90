"""As whom do scripts, tests and one-tap tiles act? The personas of the demo region, and for how long."""

from __future__ import annotations

from datetime import timedelta

from common import errors
from hub.seed import small
from identity import tokens

PERSON_LIFETIME = timedelta(hours=12)
SYSTEM_LIFETIME = timedelta(hours=1)


def persona(name: str, *, client: str = "", scopes: tuple[str, ...] = ()) -> tokens.Identity:
    """The identity of a persona of the demo region, alone or through a software. Raises NotFound for other names."""
    found = small.PERSONAS.get(name)
    if found is None:
        raise errors.NotFound(f"persona inconnu : {name} ; choix : {', '.join(small.PERSONAS)}")
    also = (found.practitioner,) if found.practitioner else ()
    return tokens.Identity("person", found.actor, also, client, scopes, found.display)
