"""How does raw content go in and out of the record?

R4 binary.html. Whoever asks for anything but FHIR receives the bytes themselves, in a way that no browser renders them
inside the origin of the API: no sniffing, as an attachment, in a sandbox.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from common import errors
from fhir_server import media
from fhir_server.changes import Resource, Stored
from fhir_server.exchange import Answer, Header, Request, Server

# What may stand in a Content-Type header; everything else is given out as plain octets.
_SAFE_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:; ?[A-Za-z0-9-]+=[A-Za-z0-9_.-]+)*")
_REFERENCE = re.compile(r"[A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_GUARDS: list[Header] = [
    (b"content-disposition", b"attachment"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]


class _Content(msgspec.Struct):
    contentType: str = ""  # noqa: N815 - FHIR's name
    data: str = ""


_read = msgspec.json.Decoder(_Content).decode


def raw(stored: Stored, headers: list[Header]) -> Answer:
    """The content of a stored Binary under its own content type; 204 when it has none."""
    content = _read(stored.body)
    name = content.contentType if _SAFE_TYPE.fullmatch(content.contentType) else "application/octet-stream"
    try:
        data = base64.b64decode(content.data)
    except binascii.Error:
        raise errors.NotAcceptable("Binary : contenu base64 illisible ; demandez-le en application/fhir+json") from None
    return Answer(200, data, headers + _GUARDS, media=name.encode())


def content(server: Server, request: Request) -> Resource:
    """The Binary that a request carries: a FHIR resource, or raw bytes that are wrapped here.

    A generic `application/json` or XML body is a resource only when it says so itself. `X-Security-Context` names the
    resource whose readers may read the raw content.
    """
    sent = request.header(b"content-type")
    if request.resource is not None or media.is_fhir(sent):
        return media.content(server, request)
    if not sent:
        raise errors.UnsupportedMedia("Content-Type absent : il devient celui du contenu", at="http.Content-Type")
    if sent.partition(";")[0].strip().lower() in ("application/json", "text/json"):
        try:
            found = media.read_json(request.body)
        except errors.Unreadable:
            found = {}
        if found.get("resourceType") == "Binary":
            return found
    if not _SAFE_TYPE.fullmatch(sent):
        raise errors.UnsupportedMedia(f"Content-Type {sent[:80]} : type de contenu illisible", at="http.Content-Type")
    resource: Resource = {"resourceType": "Binary", "contentType": sent}
    if request.method == "PUT":
        resource["id"] = request.segments[-1]
    if context := request.header(b"x-security-context"):
        resource["securityContext"] = {"reference": _local(context, request.base)}
    if request.body:
        resource["data"] = base64.b64encode(request.body).decode()
    return resource


def _local(context: str, base: str) -> str:
    reference = context.removeprefix(f"{base}/")
    if not _REFERENCE.fullmatch(reference):
        raise errors.Unreadable("X-Security-Context : une référence Type/id est attendue", at="http.X-Security-Context")
    return reference
