"""The web mailbox: what a doctor without an account at the hub uses. Server-rendered, French, usable on a telephone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from conformance.simulators.mail_operator import api, moments, reading, switches, writing
from conformance.simulators.mail_operator.service import Operator

_HERE = Path(__file__).parent
# A mail is somebody else's HTML: no script, no form, no request leaves the page that shows it.
_SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_OWN = "default-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'none'"
STYLES = {
    "outlook": "Outlook (cite sous un en-tête)",
    "thunderbird": "Thunderbird (cite avec « > », répond dessous)",
    "bare": "Sans citation",
}


class Pages:
    """One method for each page."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.templates = Jinja2Templates(_HERE / "templates")
        self.templates.env.filters |= {"listed": lambda at: moments.listed(at, time.time()), "long": moments.long}

    def routes(self) -> list[Route]:
        """All pages."""
        one = "/boites/{address}/{id:int}"
        return [
            Route("/", self.home),
            Route("/style.css", self.asset),
            Route("/relever.js", self.asset),
            Route("/service", self.service, methods=["GET", "POST"]),
            Route("/boites/{address}", self.folder),
            Route("/boites/{address}/ecrire", self.write, methods=["GET", "POST"]),
            Route(one, self.message),
            Route(f"{one}/repondre", self.reply, methods=["GET", "POST"]),
            Route(f"{one}/source", self.source),
            Route(f"{one}/html", self.html),
            Route(f"{one}/piece/{{number:int}}", self.piece),
        ]

    async def home(self, request: Request) -> Response:
        return self._page(request, "accueil.html", mailboxes=self.operator.kept.mailboxes())

    async def asset(self, request: Request) -> Response:
        return FileResponse(_HERE / "templates" / request.url.path.removeprefix("/"))

    async def service(self, request: Request) -> Response:
        if request.method == "POST":
            async with request.form() as form:
                mode, seconds = _text(form, "mode"), _text(form, "seconds")
            try:
                self.operator.switches.set(mode, float(seconds or 2))
            except ValueError as error:
                raise HTTPException(400, str(error)) from error
            return RedirectResponse("/service", 303)
        return self._page(request, "service.html", modes=switches.MODES, queue=self.operator.kept.queue()[:30])

    async def folder(self, request: Request) -> Response:
        author = self._author(request)
        folder = "sent" if request.query_params.get("dossier") == "envoyes" else "inbox"
        mails = self.operator.kept.messages(author.address, folder)
        states = {mail.id: self.operator.kept.states(mail.id) for mail in mails} if folder == "sent" else {}
        return self._page(request, "dossier.html", author=author, folder=folder, mails=mails, states=states)

    async def message(self, request: Request) -> Response:
        author = self._author(request)
        kept, view = api.found(self.operator, request)
        self.operator.kept.mark_seen(kept.id)
        states = self.operator.kept.states(kept.id) if kept.folder == "sent" else []
        return self._page(request, "courriel.html", author=author, kept=kept, view=view, states=states)

    async def source(self, request: Request) -> Response:
        kept, _ = api.found(self.operator, request)
        return Response(kept.raw, media_type="text/plain; charset=utf-8", headers=_safe("source.txt"))

    async def html(self, request: Request) -> Response:
        _, view = api.found(self.operator, request)
        return Response(view.html, media_type="text/html", headers={"Content-Security-Policy": _SANDBOX})

    async def piece(self, request: Request) -> Response:
        _, view = api.found(self.operator, request)
        number = request.path_params["number"]
        if number >= len(view.pieces):
            raise HTTPException(404, "pièce inconnue")
        piece = view.pieces[number]
        name = piece.filename.encode("utf-8", "replace")
        quoted = "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in name)
        headers = _safe() | {"Content-Disposition": f"attachment; filename*=utf-8''{quoted}"}
        return Response(piece.data, media_type=piece.media_type, headers=headers)

    async def write(self, request: Request) -> Response:
        author = self._author(request)
        if request.method == "GET":
            return self._page(request, "ecrire.html", author=author, draft=writing.Draft("", "", ""), original=None)
        self.operator.write(author, await _draft(request))
        return RedirectResponse(f"/boites/{author.address}?dossier=envoyes", 303)

    async def reply(self, request: Request) -> Response:
        author = self._author(request)
        kept, view = api.found(self.operator, request)
        if request.method == "GET":
            empty = writing.answer_to(view, writing.Draft("", "", ""))
            page = {"author": author, "draft": empty, "original": view, "kept": kept, "styles": STYLES}
            return self._page(request, "ecrire.html", **page)
        self.operator.reply(author, view, await _draft(request))
        return RedirectResponse(f"/boites/{author.address}?dossier=envoyes", 303)

    def _author(self, request: Request) -> writing.Author:
        author = self.operator.author(request.path_params["address"].lower())
        if author is None:
            raise HTTPException(404, "boîte inconnue")
        return author

    def _page(self, request: Request, template: str, **values: Any) -> Response:
        shared = {"domain": self.operator.domain, "mode": self.operator.switches.mode, "modes": switches.MODES}
        headers = {"Content-Security-Policy": _OWN, "Cache-Control": "no-store"}
        return self.templates.TemplateResponse(request, template, shared | values, headers=headers)


async def _draft(request: Request) -> writing.Draft:
    async with request.form() as form:
        words = {name: _text(form, name) for name in ("to", "subject", "text", "signature", "style")}
        pieces = [
            reading.Piece(part.filename, part.content_type or "application/octet-stream", await part.read())
            for part in form.getlist("pieces")
            if isinstance(part, UploadFile) and part.filename
        ]
    if words["style"] not in ("", *writing.STYLES) or not writing.recipients(words["to"]):
        raise HTTPException(400, "il manque un destinataire")
    return writing.Draft(
        words["to"], words["subject"], words["text"], words["signature"], words["style"] or "outlook", tuple(pieces)
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


def _safe(name: str = "") -> dict[str, str]:
    return {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": _SANDBOX}
