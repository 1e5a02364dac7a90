"""What does this server say that it can do?

R4 capabilitystatement.html. Generated from what is registered (routes, search tables, operations), written down once;
only the address differs from one request to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from common import clock, errors
from fhir_server import bundle, exchange, media, page, patch, subset
from fhir_server.changes import Resource
from fhir_server.exchange import Answer, Request, Server
from fhir_server.r4 import load, xml
from fhir_server.r4.search_params import FULL_TEXT, Param

if TYPE_CHECKING:
    from fhir_server.operations import Operation

_OURS = "https://spico-hub.example/fhir/OperationDefinition"
# Stands for the address of the server until a request says what it is.
_BASE = "https://base.invalid/fhir"
_SOCKET = "wss://base.invalid/fhir"
_WEBSOCKET = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket"
_TOPIC = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
)


class Statement:
    """The CapabilityStatement of one server, as bytes."""

    def __init__(self, resource: Resource, definitions: load.Definitions) -> None:
        self._json = media.encode(resource)
        self._resource = resource
        self._definitions = definitions
        self._xml = b""

    def json(self, base: str) -> bytes:
        """The statement of the server at `base`, in JSON."""
        return _placed(self._json, base)

    def body(self, base: str, format: media.Format) -> bytes:
        """The same in one of both formats."""
        if format.kind == "json":
            return self.json(base)
        self._xml = self._xml or xml.write(self._resource, self._definitions)
        return _placed(self._xml, base)


def _placed(statement: bytes, base: str) -> bytes:
    socket = "ws" + base.removeprefix("http")
    return statement.replace(_BASE.encode(), base.encode()).replace(_SOCKET.encode(), socket.encode())


async def metadata(server: Server, request: Request) -> Answer:
    """`GET [base]/metadata`, the one interaction without a token."""
    cut = _asked(server, request)
    if cut is not None:
        return Answer(200, cut.body("CapabilityStatement", server.capability.json(request.base)))
    format = media.negotiate(request.headers.get(b"accept", b""), request.asked_format)
    body = server.capability.body(request.base, format)
    return Answer(200, body) if format.kind == "json" else Answer(200, body, media=format.content_type)


def _asked(server: Server, request: Request) -> subset.Subset | None:
    """What is wanted of the statement, None for all of it. Raises Unreadable: other modes are other resources."""
    for name, value in request.params:
        if name == "mode" and value != "full":
            raise exchange.unavailable(f"mode={value[:60]} : seul full est servi", at="http.mode")
        if name != "mode" and name not in subset.PARAMETERS and not request.prefer.lenient:
            raise errors.Unreadable(f"{name[:60]} : paramètre inconnu ici", at=f"http.{name[:60]}")
    return subset.asked(server.subsets, request, ("CapabilityStatement",))


def statement(
    definitions: load.Definitions,
    operations: Sequence[Operation],
    *,
    of_type: Sequence[str],
    of_system: Sequence[str],
    security: Resource | None,
    since: datetime,
    topics: Iterable[str] = (),
    has_socket: bool = False,
) -> Statement:
    """The statement for these definitions, operations and interactions; `since` is when the server started."""
    rest = _rest(definitions, operations, of_type=of_type, of_system=of_system)
    if security:
        rest["security"] = security
    if has_socket:
        rest["extension"] = [{"url": _WEBSOCKET, "valueUri": f"{_SOCKET}/ws"}]
    named = [{"url": _TOPIC, "valueCanonical": one} for one in topics]
    for one in rest["resource"]:
        if named and one["type"] == "Subscription":
            one["extension"] = named
    resource: Resource = {
        "resourceType": "CapabilityStatement",
        "url": f"{_BASE}/metadata",
        "name": "SpicoHub",
        "title": "Spico Hub, API FHIR",
        "status": "active",
        "date": clock.instant(since),
        "publisher": "Spico Hub",
        "kind": "instance",
        "software": {"name": "Spico Hub"},
        "implementation": {"description": "Dossier partagé FHIR R4", "url": _BASE},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": list(patch.FORMATS),
        "rest": [rest],
    }
    return Statement(resource, definitions)


def _rest(
    definitions: load.Definitions, operations: Sequence[Operation], *, of_type: Sequence[str], of_system: Sequence[str]
) -> Resource:
    rest: Resource = {"mode": "server", "documentation": _DOCUMENTATION}
    rest["resource"] = [_type(definitions, one, operations, of_type) for one in definitions.types]
    rest["interaction"] = [{"code": code} for code in of_system]
    shared = [one for one in definitions.search.searchable(definitions.types[0]) if one.code.startswith("_")]
    rest["searchParam"] = [_parameter(one) for one in shared]
    rest["searchParam"] += [{"name": name, "type": kind, "documentation": text} for name, kind, text in _ON_EVERYTHING]
    rest["compartment"] = [
        f"http://hl7.org/fhir/CompartmentDefinition/{code.lower()}" for code in sorted(definitions.search.compartments)
    ]
    if listed := _operations(one for one in operations if one.level == "system"):
        rest["operation"] = listed
    return rest


def _type(
    definitions: load.Definitions, type: str, operations: Sequence[Operation], of_type: Sequence[str]
) -> Resource:
    searchable = definitions.search.searchable(type)
    described: Resource = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "interaction": [{"code": code} for code in of_type],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical"],
    }
    if includes := [f"{type}:{one.code}" for one in searchable if one.kind == "reference"]:
        described["searchInclude"] = ["*", f"{type}:*", *includes]
    described["searchRevInclude"] = ["*", *_referring(definitions, type)]
    if listed := [_parameter(one) for one in searchable]:
        described["searchParam"] = listed
    own = (one for one in operations if one.level != "system" and one.type in (None, type))
    if listed := _operations(own):
        described["operation"] = listed
    return described


def _referring(definitions: load.Definitions, type: str) -> list[str]:
    """What refers to a type by name. References to any type are told once, in words: 83 for each of the 146 types."""
    every = (one for source in definitions.types for one in definitions.search.searchable(source))
    return [f"{one.type}:{one.code}" for one in every if one.kind == "reference" and type in one.targets]


def _parameter(one: Param) -> Resource:
    described: Resource = {"name": one.code, "definition": one.url, "type": one.kind}
    if one.code in FULL_TEXT:
        described["documentation"] = _FULL_TEXT
    return described


def _operations(found: Iterable[Operation]) -> list[Resource]:
    """Each name once: an operation of several levels is one entry. What nobody else has defined is ours."""
    named: dict[str, str] = {}
    for one in found:
        named[one.name] = one.definition or named.get(one.name) or f"{_OURS}/{one.name}"
    return [{"name": name, "definition": definition} for name, definition in named.items()]


# What every search takes besides the parameters of its types.
_ON_EVERYTHING = (
    ("_type", "token", "À la racine et dans un compartiment : les types cherchés"),
    ("_has", "string", "_has:Type:référence:paramètre, imbriqué ou suivi d'un chaînage"),
    ("_list", "string", "Ce que désignent les entrées d'une List, par son id"),
    ("_filter", "special", "Expression de filtre (R4 search_filter) : and avant or, not(…), chaînages"),
)

_FULL_TEXT = (
    'Tous les mots, sans accents ni casse ; "mots qui se suivent", début*, -exclu, un OR autre (la virgule aussi).'
)
_DOCUMENTATION = (
    "Paramètre de recherche inconnu : refusé (400), sauf Prefer: handling=lenient. Dates sans fuseau : Paris. "
    "Suppression d'une ressource absente : 204. Les identifiants sont attribués par le serveur : PUT d'une ressource "
    "inconnue ou non visible répond 404, créez par POST (seuls les comptes système choisissent l'identifiant). "
    "Prefer: respond-async : recherches, historiques, opérations (sauf GraphQL et vues), lots et transactions "
    "répondent 202, résultat à l'adresse Content-Location. Contenu lisible mais invalide : 422. Créations et "
    "modifications renvoient la ressource, sauf Prefer: return=minimal ; dans un Bundle, seulement si elle est "
    "demandée. Suppression conditionnelle : une ressource au plus, 412 pour plusieurs ou sans critère. PATCH : droits "
    "de lecture et de mise à jour ; une partie narrative générée que le patch ne corrige pas est retirée. Les "
    "références ne sont pas vérifiées à l'écriture, et une ressource référencée peut être supprimée. Historique d'un "
    "type ou du système : Bundle.meta.lastUpdated, redonné comme _since, ne manque aucune version ; les dernières "
    "secondes peuvent revenir. $meta-add et $meta-delete créent une version. _revinclude suit aussi les références à "
    "tout type (Provenance:target…). Localisations (near) : 10 km sans distance, km sans unité. _sort par code, "
    "référence, uri : 20 000 résultats au plus ; une quantité est triée par sa valeur écrite. "
    f"Bundle à traiter : {bundle.MOST_ENTRIES} entrées au plus ; ce qui dépasserait {page.MOST_BYTES >> 20} Mio de "
    "réponse n'est pas fait (too-costly) et se demande à part."
)
