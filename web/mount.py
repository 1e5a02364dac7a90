"""How does the conductor get the pages without knowing them?

It names `web.mount:build` and calls it with plain values; the pages reach the record only through the FHIR application.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp

from web import app, fhir, room
from web.requests import Requests

# The FHIR application is called in this process; the host of the address is never looked up.
IN_PROCESS = "http://hub.invalid/fhir"


def build(
    application: ASGIApp,
    feed: room.Feed,
    sign_in: room.SignIn,
    personas: Iterable[tuple[str, str, str]],
    *,
    requests: Requests | None = None,
) -> ASGIApp:
    """The web app on `application`. `personas` are the demo's tiles (name, label, what they do); none means no demo."""
    cast = [room.Persona(*persona) for persona in personas]
    return app.build(fhir.in_process(application, IN_PROCESS), feed, sign_in, cast, requests=requests)
