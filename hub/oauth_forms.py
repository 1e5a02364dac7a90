"""How are the forms of OAuth read, and their answers and errors written?

RFC 6749: a form in, JSON out, errors of section 5.2 in English: they are read by whoever programs the other end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import Request, Response

from common import errors
from common.events import Events, emit

_MOST_BODY = 64 * 1024
_NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Ask = Callable[[dict[str, str]], Awaitable[dict[str, Any]]]


class Refused(Exception):
    """An error of RFC 6749 section 5.2. Never leaves the rooms of OAuth."""

    def __init__(self, error: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.error, self.text, self.status = error, text, status


async def answered(request: Request, ask: Ask) -> Response:
    """What `ask` makes of the form that was posted, or the error it raises, as JSON that nobody keeps."""
    try:
        try:
            return as_json(await ask(await form(request)), headers=_NEVER_KEPT)
        except errors.Unavailable:
            raise Refused("temporarily_unavailable", "the service or what it relies on does not answer", 503) from None
        except errors.HubError as problem:
            raise Refused("invalid_request", f"refused: {problem.code}", problem.status) from None
    except Refused as refused:
        emit(Events.IDN_011, path=request.url.path, error=refused.error)
        told = {"error": refused.error, "error_description": refused.text}
        headers = _NEVER_KEPT | ({"WWW-Authenticate": "Bearer"} if refused.status == 401 else {})
        return as_json(told, refused.status, headers=headers)


async def form(request: Request) -> dict[str, str]:
    """The parameters of a form. Raises Refused for another content, for too much of it, and for one given twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "send application/x-www-form-urlencoded")
    body = b""
    async for some in request.stream():
        body += some
        if len(body) > _MOST_BODY:
            raise Refused("invalid_request", "the form is too long", 413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=False, max_num_fields=50, errors="strict")
    except ValueError:
        raise Refused("invalid_request", "the form cannot be read") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused("invalid_request", "a parameter is given twice")
    return form


def needed(form: Mapping[str, str], name: str) -> str:
    """A parameter that has to be there. Raises Refused."""
    if name not in form:
        raise Refused("invalid_request", f"{name} is missing")
    return form[name]


def as_json(content: dict[str, Any], status: int = 200, *, headers: Mapping[str, str]) -> Response:
    """An answer."""
    return Response(msgspec.json.encode(content), status, dict(headers), media_type="application/json")
