"""Send a message: text, documents, or both, once and only once.

The browser makes the message's identifier before it sends; whatever it has to repeat finds the message by it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from common import clock, errors
from web import layout, names, session, thread, upload
from web.room import Room

Resource = dict[str, Any]

MAX_FILES = 10
MAX_BYTES = 15 * 1024 * 1024
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORBIDDEN = {code: None for code in range(32) if chr(code) not in "\t\n"}  # a FHIR string holds no control characters


@dataclass(frozen=True, slots=True)
class Sent:
    """What the form held, checked: `key` a UUID, `text` maybe empty, `files` (title, content type, bytes)."""

    key: str
    text: str
    files: list[tuple[str, str, bytes]]


async def send(request: Request, room: Room) -> Response:
    """Post the message of the form; our script gets the message as markup, a plain form the conversation again."""
    person = await session.signed_in(request, room)
    async with request.form(max_files=MAX_FILES, max_fields=10, max_part_size=1024 * 1024) as form:
        session.check_form(str(form.get("csrf", "")), person.token)
        sent = await _read(form)
    id = request.path_params["id"]
    stored = await _post(person, id, sent, room)
    if "hub-script" not in request.headers:
        return RedirectResponse(f"/conversations/{id}#fin", 303)
    messages = await thread.shown(person, room, [stored])
    return layout.page(room, "fragment_message.html", person=person, status=201, message=messages[0])


async def _read(form: FormData) -> Sent:
    key = str(form.get("cle", "")).lower()
    if not _UUID.fullmatch(key):
        raise errors.Unreadable("la page est incomplète : rechargez-la, votre texte est gardé")
    text = str(form.get("texte", "")).replace("\r\n", "\n").replace("\r", "\n").translate(_FORBIDDEN).strip()
    uploads = [one for one in form.getlist("fichiers") if isinstance(one, UploadFile) and one.size]
    if sum(one.size or 0 for one in uploads) > MAX_BYTES:
        raise errors.TooLarge("l'envoi dépasse 15 Mo : retirez un document ou réduisez-le")
    files = [(_title(one.filename), *upload.cleaned(await one.read())) for one in uploads]
    if not text and not files:
        raise errors.Invalid("écrivez un message ou joignez un document")
    return Sent(key, text, files)


async def _post(person: session.SignedIn, id: str, sent: Sent, room: Room) -> Resource:
    header = await person.api.read("Communication", id)
    identifier = {"system": names.URI, "value": f"urn:uuid:{sent.key}"}
    condition = f"identifier={names.URI}|urn:uuid:{sent.key}"
    message: Resource = {
        "resourceType": "Communication",
        "identifier": [identifier],
        "status": "completed",
        "partOf": [{"reference": f"Communication/{id}"}],
        "medium": [names.concept(names.MEDIUM, "app")],
        "sent": clock.instant(room.now()),
        "sender": {"reference": person.actor},
        "payload": [{"contentString": sent.text}] if sent.text else [],
    }
    if "subject" in header:
        message["subject"] = {"reference": names.reference(header["subject"])}
    if not sent.files:
        return await person.api.create(message, if_none_exist=condition)
    # A Binary has no identifier to be found by: a repeated send must not store its documents a second time.
    found = await person.api.search("Communication", [("identifier", f"{names.URI}|urn:uuid:{sent.key}")])
    if found.matches:
        return found.matches[0]
    answer = await person.api.transaction(_entries(message, header, sent, condition))
    return await person.api.read("Communication", _id_of(answer[-1]))


def _entries(message: Resource, header: Resource, sent: Sent, condition: str) -> list[Resource]:
    """Each document's bytes and reference, then the message that cites them; one commit."""
    entries: list[Resource] = []
    for number, file in enumerate(sent.files, 1):
        binary, document = f"urn:uuid:{_part(sent.key, 2 * number)}", f"urn:uuid:{_part(sent.key, 2 * number + 1)}"
        entries.append(_entry(binary, _binary(file, message)))
        entries.append(_entry(document, _document(file, binary, message)))
        message["payload"].append({"contentReference": {"reference": document, "display": file[0]}})
    return [*entries, _entry(f"urn:uuid:{_part(sent.key, 1)}", message, condition)]


def _binary(file: tuple[str, str, bytes], message: Resource) -> Resource:
    _, kind, content = file
    binary: Resource = {"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(content).decode()}
    return {**binary, "securityContext": message["subject"]} if "subject" in message else binary


def _document(file: tuple[str, str, bytes], binary: str, message: Resource) -> Resource:
    title, kind, content = file
    attachment = {
        "contentType": kind,
        "url": binary,
        "size": len(content),
        "hash": base64.b64encode(sha1(content, usedforsecurity=False).digest()).decode(),  # FHIR fixes the algorithm
        "title": title,
        "creation": message["sent"],
    }
    document: Resource = {
        "resourceType": "DocumentReference",
        "status": "current",
        "date": message["sent"],
        "author": [message["sender"]],
        "description": title,
        "content": [{"attachment": attachment}],
        "context": {"related": message["partOf"]},
    }
    return {**document, "subject": message["subject"]} if "subject" in message else document


def _entry(url: str, resource: Resource, condition: str = "") -> Resource:
    request = {"method": "POST", "url": resource["resourceType"]}
    if condition:
        request["ifNoneExist"] = condition
    return {"fullUrl": url, "resource": resource, "request": request}


def _part(key: str, number: int) -> str:
    """The UUID of a part within the bundle: counted on from the message's own, which stays an identifier alone."""
    return f"{key[:-4]}{(int(key[-4:], 16) + number) % 0x10000:04x}"


def _id_of(entry: Resource) -> str:
    """The logical id in a response entry's location, `[base/]Type/id[/_history/v]`."""
    return str(entry["response"]["location"]).partition("/_history/")[0].rpartition("/")[2]


def _title(file_name: str | None) -> str:
    """The file's own name without folders and control characters, never empty."""
    name = (file_name or "").replace("\\", "/").rpartition("/")[2].translate(_FORBIDDEN).strip()
    return name[:200] or "Document"
