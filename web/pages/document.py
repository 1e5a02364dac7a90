"""One document, as bytes, with the rights of the person who opens it.

Uploaded content is hostile until proved otherwise: only known harmless kinds are shown in the browser, in a sandbox
without scripts; everything else is saved to disk.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from web import session
from web.room import Room

_SHOWN = frozenset({"application/pdf", "image/jpeg", "image/png", "image/gif", "image/webp"})
# Images are drawn by a page that the browser makes, whose own styles are inline. Its PDF reader works under this too.
_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


async def show(request: Request, room: Room) -> Response:
    """The bytes of a Binary. The last part of the path, if any, is only the name to save it under."""
    person = await session.signed_in(request, room)
    kind, content = await person.api.binary(request.path_params["id"])
    kind = kind.partition(";")[0].strip().lower()
    shown = kind in _SHOWN
    headers = {"Content-Disposition": "inline" if shown else "attachment", "Content-Security-Policy": _POLICY}
    return Response(content, media_type=kind if shown else "application/octet-stream", headers=headers)
