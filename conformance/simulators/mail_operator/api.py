"""The JSON face of the mailboxes, for tests and scripts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from conformance.simulators.mail_operator import reading, store, writing
from conformance.simulators.mail_operator.service import Operator


def routes(operator: Operator) -> list[Route]:
    """All under /api, and /health."""

    def route(path: str, answer: Callable[[Operator, Request], Any], *methods: str) -> Route:
        async def handle(request: Request) -> Response:
            found = await answer(operator, request)
            return found if isinstance(found, Response) else JSONResponse(found)

        return Route(path, handle, methods=list(methods))

    return [
        route("/health", _health, "GET"),
        route("/api/mailboxes", _mailboxes, "GET"),
        route("/api/mailboxes/{address}/messages", _messages, "GET"),
        route("/api/mailboxes/{address}/messages", _write, "POST"),
        route("/api/mailboxes/{address}/messages/{id:int}", _message, "GET"),
        route("/api/mailboxes/{address}/messages/{id:int}/raw", _raw, "GET"),
        route("/api/mailboxes/{address}/reply", _reply, "POST"),
        route("/api/queue", _queue, "GET"),
        route("/api/switches", _switches, "GET"),
        route("/api/switches", _switch, "POST"),
    ]


def found(operator: Operator, request: Request) -> tuple[store.Kept, reading.View]:
    """The mail that the path names. Raises HTTPException 404."""
    kept = operator.kept.message(request.path_params["address"].lower(), request.path_params["id"])
    if kept is None:
        raise HTTPException(404, "courriel inconnu")
    return kept, reading.view(kept.raw)


async def _health(operator: Operator, request: Request) -> Any:
    return {"status": "ok", "mode": operator.switches.mode}


async def _mailboxes(operator: Operator, request: Request) -> Any:
    return [{"address": at, "name": name, "unread": unread} for at, name, unread in operator.kept.mailboxes()]


async def _messages(operator: Operator, request: Request) -> Any:
    folder = request.query_params.get("folder", "inbox")
    return [_line(kept) for kept in operator.kept.messages(request.path_params["address"].lower(), folder)]


async def _message(operator: Operator, request: Request) -> Any:
    kept, view = found(operator, request)
    operator.kept.mark_seen(kept.id)
    files = [
        {"filename": one.filename, "media_type": one.media_type, "size": len(one.data), "base64": _encoded(one.data)}
        for one in view.pieces
    ]
    words = {"text": view.text, "html": view.html, "from": view.sender, "reply_to": view.reply_to, "to": view.to}
    return {**_line(kept), **words, "headers": view.headers, "attachments": files, "sending": _sending(operator, kept)}


async def _raw(operator: Operator, request: Request) -> Any:
    return Response(found(operator, request)[0].raw, media_type="message/rfc822")


async def _write(operator: Operator, request: Request) -> Any:
    body = await _body(request)
    author = operator.author(request.path_params["address"].lower())
    if author is None:
        raise HTTPException(404, "boîte inconnue")
    return JSONResponse({"id": operator.write(author, _draft(body))}, 201)


async def _reply(operator: Operator, request: Request) -> Any:
    body = await _body(request)
    author = operator.author(request.path_params["address"].lower())
    id = body.get("id")
    kept = operator.kept.message(author.address, id) if author and isinstance(id, int) else None
    if author is None or kept is None:
        raise HTTPException(404, "courriel inconnu")
    return JSONResponse({"id": operator.reply(author, reading.view(kept.raw), _draft(body))}, 201)


async def _queue(operator: Operator, request: Request) -> Any:
    return [{key: value for key, value in asdict(one).items() if key != "raw"} for one in operator.kept.queue()]


async def _switches(operator: Operator, request: Request) -> Any:
    return {"mode": operator.switches.mode, "seconds": operator.switches.seconds}


async def _switch(operator: Operator, request: Request) -> Any:
    body = await _body(request)
    try:
        seconds = None if body.get("seconds") is None else float(body["seconds"])
        operator.switches.set(str(body.get("mode", operator.switches.mode)), seconds)
    except (ValueError, TypeError) as error:
        raise HTTPException(400, str(error)) from error
    return await _switches(operator, request)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, "JSON attendu") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "objet JSON attendu")
    return body


def _draft(body: dict[str, Any]) -> writing.Draft:
    words = {name: str(body.get(name, "")) for name in ("to", "subject", "text", "signature")}
    style = str(body.get("style", "outlook"))
    if style not in writing.STYLES:
        raise HTTPException(400, f"style inconnu : {style}")
    try:
        pieces = tuple(
            reading.Piece(str(one["filename"]), str(one.get("media_type", "application/octet-stream")), _decoded(one))
            for one in body.get("attachments", ())
        )
    except (KeyError, TypeError, binascii.Error) as error:
        raise HTTPException(400, "pièce jointe illisible") from error
    return writing.Draft(words["to"], words["subject"], words["text"], words["signature"], style, pieces)


def _decoded(piece: dict[str, Any]) -> bytes:
    return base64.b64decode(piece["base64"], validate=True)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _line(kept: store.Kept) -> dict[str, Any]:
    line = {"id": kept.id, "folder": kept.folder, "seen": kept.seen, "attachment_count": kept.summary.attachments}
    return line | {name: value for name, value in asdict(kept.summary).items() if name != "attachments"}


def _sending(operator: Operator, kept: store.Kept) -> list[dict[str, Any]]:
    states = operator.kept.states(kept.id) if kept.folder == "sent" else []
    return [{"recipient": one.recipient, "state": one.state, "answer": one.answer} for one in states]
