"""What can a developer do with the API? The CapabilityStatement, as a page to read.

No sign-in: it shows what the server can do, nothing of what it holds.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from web import layout, session
from web.room import Room


async def page(request: Request, room: Room) -> Response:
    """The page."""
    statement = await room.api("", session.correlation(request)).metadata()
    rest = statement["rest"][0]
    return layout.page(
        room,
        "api.html",
        base=str(request.url.replace(path="/fhir", query="")),
        statement=statement,
        rest=rest,
        operations=rest.get("operation", []),
    )
