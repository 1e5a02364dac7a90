"""Which representation is asked for or was sent, and how are bytes read safely?

R4 http.html#mime-type, #parameters and binary.html. JSON answers are never parsed here; XML and `_pretty` are.

One limit of the JSON reader is known: the sign of an integer minus zero is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

from common import errors
from fhir_server import repeated
from fhir_server.changes import Resource
from fhir_server.exchange import Params, Prefer, Request, Server
from fhir_server.r4 import xml

# The deepest official example nests 17 levels. The validator, the extractors and the encoder recurse: a cap far below
# Python's recursion limit keeps a hostile body a plain 400.
MOST_LEVELS = 100
MOST_PARAMETERS = 500

_JSON = frozenset({"application/fhir+json", "application/json", "text/json", "json", "application/json+fhir"})
_XML = frozenset({"application/fhir+xml", "application/xml", "text/xml", "xml", "application/xml+fhir"})
_FHIR = frozenset({"application/fhir+json", "application/fhir+xml", "application/json+fhir", "application/xml+fhir"})
_ANY = {"*/*": "application/fhir+json", "application/*": "application/fhir+json", "text/*": "text/json"}
_SHORT = {"json": "application/fhir+json", "xml": "application/fhir+xml"}
_VERSIONS = frozenset({"4.0", "4.0.1"})

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
encode = msgspec.json.Encoder(decimal_format="number").encode

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = bytes.maketrans(b"[]", b"{}")


@dataclass(frozen=True, slots=True)
class Format:
    """A representation of a resource: how to write it and what to call it."""

    kind: Literal["json", "xml"]
    content_type: bytes


JSON = Format("json", b"application/fhir+json; charset=utf-8")


@lru_cache(maxsize=512)
def negotiate(accept: bytes, asked: str) -> Format:
    """The format for an `Accept` header and a `_format` parameter (which wins); both may be empty.

    A generic type is answered with its own name, as R4 asks. Raises NotAcceptable when nothing fits.
    """
    if asked:
        name, parameters = _media_type(asked.replace(" ", "+"))  # an unescaped + of application/fhir+json
        chosen = _format(_SHORT.get(name, name), parameters)
        if chosen is None or name in _ANY:
            raise errors.NotAcceptable(f"_format={asked[:80]} : formats servis : json, xml", at="http._format")
        return Format(chosen.kind, JSON.content_type if chosen.kind == "json" else _XML_TYPE)
    if not accept:
        return JSON
    ranked = [_media_type(one) for one in accept.decode("latin-1").split(",")]
    ranked.sort(key=_quality, reverse=True)  # stable: the client's order among equals
    for name, parameters in ranked:
        if _quality((name, parameters)) > 0 and (found := _format(_ANY.get(name, name), parameters)):
            return found
    raise errors.NotAcceptable(
        "Accept : ce serveur répond en application/fhir+json ou application/fhir+xml (fhirVersion=4.0)",
        at="http.Accept",
    )


def asks_for_fhir(accept: bytes, asked: str) -> bool:
    """Does a reader of a Binary want the resource, not its raw content? Only FHIR's own types ask for it."""
    if asked:
        return True
    return any(_media_type(one)[0] in _FHIR for one in accept.decode("latin-1").split(","))


def content_kind(content_type: str) -> Literal["json", "xml", "form", "other"]:
    """What a request body is. Raises UnsupportedMedia for another charset than UTF-8 or another FHIR version."""
    name, parameters = _media_type(content_type)
    if name == "application/x-www-form-urlencoded":
        return "form"
    if name not in _JSON and name not in _XML:
        return "other"
    charset = parameters.get("charset", "utf-8").strip('"').lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise errors.UnsupportedMedia(f"Content-Type : charset {charset[:40]} refusé, UTF-8 attendu", at=_CONTENT_TYPE)
    if parameters.get("fhirversion", "4.0") not in _VERSIONS:
        raise errors.UnsupportedMedia("Content-Type : seule la version fhirVersion=4.0 est lue", at=_CONTENT_TYPE)
    return "json" if name in _JSON else "xml"


def is_ndjson(content_type: str) -> bool:
    """One resource per line?"""
    return _media_type(content_type)[0] in ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")


def is_fhir(content_type: str) -> bool:
    """Is this one of FHIR's own content types, not a generic one?"""
    return _media_type(content_type)[0] in _FHIR


def content(server: Server, request: Request) -> Resource:
    """The resource that a request carries.

    Raises Unreadable when the bytes are no resource, UnsupportedMedia for a content type that is not read here.
    """
    if request.resource is not None:
        return request.resource
    content_type = request.header(b"content-type")
    match content_kind(content_type):
        case "json":
            return read_json(request.body)
        case "xml":
            return xml.read(request.body, server.definitions)
    raise errors.UnsupportedMedia(
        f"Content-Type {content_type[:80] or 'absent'} : attendu application/fhir+json ou application/fhir+xml",
        at=_CONTENT_TYPE,
    )


def read_json(body: bytes) -> Resource:
    """A JSON object with exact decimals.

    Raises Unreadable for anything else: malformed, NaN or Infinity, lone surrogates, NUL characters, deeper than
    `MOST_LEVELS`, no object, a key given twice.
    """
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError) as problem:
        raise errors.Unreadable(f"JSON illisible{_place(problem)}") from None
    # The parser guards its own stack; what comes after it gets a lower bound. Few brackets cannot nest deeply.
    if body.count(b"{") + body.count(b"[") > MOST_LEVELS and _depth(body) > MOST_LEVELS:
        raise _too_deep()
    if b"\\u0000" in body and _NUL.search(body):
        raise errors.Unreadable("JSON : le caractère nul (\\u0000) est interdit dans FHIR")
    if not isinstance(value, dict):
        raise errors.Unreadable("JSON : un objet est attendu")
    if twice := repeated.place(body, value):
        raise errors.Unreadable("JSON : cette clé est donnée deux fois", at=twice)
    return value


def parameters(raw: bytes) -> Params:
    """The decoded pairs of a query string or form, in order. Raises Unreadable for bad UTF-8, NUL or too many pairs."""
    if not raw:
        return []
    if raw.count(b"&") >= MOST_PARAMETERS:
        raise errors.Unreadable(f"Paramètres : {MOST_PARAMETERS} au plus")
    if b"%00" in raw or b"\0" in raw:
        raise errors.Unreadable("Paramètres : le caractère nul est interdit")
    try:
        pairs = [one.partition("=") for one in raw.decode().split("&") if one]
        return [(_unescaped(name), _unescaped(value)) for name, _, value in pairs]
    except UnicodeDecodeError:
        raise errors.Unreadable("Paramètres : l'encodage attendu est l'UTF-8") from None


def _unescaped(text: str) -> str:
    """Form encoding, as `urllib.parse.parse_qsl` reads it; most names and values need nothing."""
    if "+" in text:
        text = text.replace("+", " ")
    return unquote(text, errors="strict") if "%" in text else text


@lru_cache(maxsize=256)
def prefer(header: bytes) -> Prefer:
    """The preferences of a request; what is unknown is ignored, as RFC 7240 wants."""
    wishes: dict[str, str] = {}
    for one in header.decode("latin-1").replace(";", ",").split(","):
        name, _, value = one.partition("=")
        wishes.setdefault(name.strip().lower(), value.strip().strip('"'))
    returns: Any = wishes.get("return", "")
    known = returns in ("minimal", "representation", "OperationOutcome")
    return Prefer(returns if known else "", wishes.get("handling") == "lenient", "respond-async" in wishes)


def indented(body: bytes) -> bytes:
    """`_pretty`: the same JSON for human eyes; numbers keep their digits."""
    return msgspec.json.format(body, indent=2)


_XML_TYPE = b"application/fhir+xml; charset=utf-8"
_CONTENT_TYPE = "http.Content-Type"


def _media_type(text: str) -> tuple[str, dict[str, str]]:
    name, *rest = text.split(";")
    pairs = (one.partition("=") for one in rest)
    return name.strip().lower(), {key.strip().lower(): value.strip() for key, _, value in pairs}


def _quality(ranked: tuple[str, dict[str, str]]) -> float:
    try:
        return float(ranked[1].get("q", "1"))
    except ValueError:
        return 0.0


def _format(name: str, parameters: dict[str, str]) -> Format | None:
    version = parameters.get("fhirversion", "")
    if version and version not in _VERSIONS:
        return None
    suffix = b"; charset=utf-8" + (b"; fhirVersion=4.0" if version else b"")
    if name in _JSON:
        return Format("json", name.encode() + suffix)
    if name in _XML:
        return Format("xml", name.encode() + suffix)
    return None


def _depth(body: bytes) -> int:
    """How deep well-formed JSON nests: strings out, brackets only, then pairs fold away level by level."""
    brackets = _STRINGS.sub(b"", body).translate(_OPENING, _NOT_BRACKETS)
    levels = 0
    while brackets and levels <= MOST_LEVELS:
        brackets = brackets.replace(b"{}", b"")
        levels += 1
    return levels


def _too_deep() -> errors.Unreadable:
    return errors.Unreadable(f"Contenu imbriqué sur plus de {MOST_LEVELS} niveaux")


def _place(problem: Exception) -> str:
    found = re.search(r"\(byte (\d+)\)", str(problem))
    return f" à l'octet {found[1]}" if found else ""
