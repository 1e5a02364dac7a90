"""What does the API look like to a tool that knows OpenAPI but not FHIR?

OpenAPI 3.1, made from the same tables as the CapabilityStatement: the interactions that are registered, the search
parameters of each type, the operations. R4 has no OpenAPI form of its own; resources are described by their type only,
their rules are in the R4 definitions (`$validate` checks a body against them).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server import routes
from fhir_server.operations import Operation
from fhir_server.r4 import load
from fhir_server.r4.search_params import Param

Node = dict[str, Any]

MEDIA = ("application/fhir+json", "application/fhir+xml")

# What one path does, by the code of the interaction: method, path under the type or the base, summary.
_OF_TYPE: dict[str, tuple[str, str, str]] = {
    "read": ("get", "/{id}", "Lire une ressource"),
    "vread": ("get", "/{id}/_history/{version}", "Lire une version"),
    "update": ("put", "/{id}", "Remplacer une ressource"),
    "patch": ("patch", "/{id}", "Modifier une partie d'une ressource"),
    "delete": ("delete", "/{id}", "Supprimer une ressource"),
    "history-instance": ("get", "/{id}/_history", "Versions d'une ressource"),
    "history-type": ("get", "/_history", "Versions des ressources d'un type"),
}
_OF_SYSTEM: dict[str, tuple[str, str, str]] = {
    "transaction": ("post", "/", "Transaction ou lot (Bundle)"),
    "search-system": ("get", "/", "Chercher dans plusieurs types (_type)"),
    "history-system": ("get", "/_history", "Versions de tout"),
}
_PATCHES = ("application/json-patch+json", *MEDIA)
_COMMON = {
    "_count": "Ressources par page",
    "_sort": "Tri : noms de paramètres, « - » devant pour décroître",
    "_include": "Ressources désignées à joindre",
    "_revinclude": "Ressources qui désignent celles trouvées, à joindre",
    "_summary": "Partie de chaque ressource : true, text, data, count, false",
    "_elements": "Éléments à donner, séparés par des virgules",
    "_total": "Compter : none, estimate, accurate",
}


def document(definitions: load.Definitions, operations: Sequence[Operation], *, base_path: str) -> Node:
    """The OpenAPI document of the FHIR surface under `base_path`; paths outside it are the caller's to add."""
    types = list(definitions.types)
    paths: Node = {f"{base_path}/metadata": {"get": _metadata()}}
    for code in routes.interactions(routes.OF_SYSTEM):
        if code in _OF_SYSTEM:
            method, path, summary = _OF_SYSTEM[code]
            _add(paths, base_path + path, method, _call(summary, "Bundle" if method == "post" else None))
    for code in routes.interactions(routes.OF_TYPE):
        if code in _OF_TYPE:
            method, path, summary = _OF_TYPE[code]
            described = _call(summary, "Resource" if method in ("put", "patch") else None)
            if method == "patch":
                described["requestBody"] = _body("Any", _PATCHES)
            described["parameters"] = [_type_parameter(types), *_path_parameters(path)]
            _add(paths, f"{base_path}/{{type}}{path}", method, described)
    for type in types:
        _add(paths, f"{base_path}/{type}", "get", _search(type, definitions.search.searchable(type)))
        _add(paths, f"{base_path}/{type}", "post", _call(f"Créer une ressource {type}", "Resource"))
    for one in operations:
        _add_operation(paths, base_path, one, types)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Spico Hub, API FHIR R4", "version": "4.0.1"},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": _COMPONENTS,
    }


def _add(paths: Node, path: str, method: str, described: Node) -> None:
    paths.setdefault(path, {})[method] = described


def _metadata() -> Node:
    return _call("Ce que le serveur sait faire (CapabilityStatement)", None) | {"security": []}


def _search(type: str, params: Iterable[Param]) -> Node:
    own = [_query(one.code, one.expression or one.kind) for one in params]
    return _call(f"Chercher des ressources {type}", None) | {
        "parameters": own + [_query(name, text) for name, text in _COMMON.items()]
    }


def _add_operation(paths: Node, base_path: str, one: Operation, types: list[str]) -> None:
    place = {"system": "", "type": f"/{one.type or '{type}'}", "instance": f"/{one.type or '{type}'}/{{id}}"}[one.level]
    path = f"{base_path}{place}/${one.name}"
    parameters = ([_type_parameter(types)] if "{type}" in path else []) + _path_parameters(path)
    for method in ("get", "post") if one.action in "rs" else ("post",):
        described = _call(f"Opération ${one.name}", "Resource" if method == "post" else None)
        if method == "post":
            described["requestBody"]["required"] = False
        if parameters:
            described["parameters"] = parameters
        _add(paths, path, method, described)


def _call(summary: str, body: str | None) -> Node:
    described: Node = {"summary": summary, "responses": _RESPONSES}
    if body:
        described["requestBody"] = _body(body, MEDIA[:1])
    return described


def _body(schema: str, media: Sequence[str]) -> Node:
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for kind in media}
    return {"required": True, "content": content}


def _type_parameter(types: list[str]) -> Node:
    return {"name": "type", "in": "path", "required": True, "schema": {"type": "string", "enum": types}}


def _path_parameters(path: str) -> list[Node]:
    forms = {"id": r"^[A-Za-z0-9\-.]{1,64}$", "version": r"^[1-9][0-9]{0,8}$"}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": form}}
        for name, form in forms.items()
        if f"{{{name}}}" in path
    ]


def _query(name: str, text: str) -> Node:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


_RESPONSES: Node = {
    "2XX": {"description": "Fait", "content": {kind: {} for kind in MEDIA}},
    "default": {
        "description": "Refusé : un OperationOutcome dit pourquoi, et où",
        "content": {MEDIA[0]: {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}, MEDIA[1]: {}},
    },
}


def _resource(type: str | None = None) -> Node:
    name: Node = {"type": "string"} | ({"const": type} if type else {})
    return {"type": "object", "required": ["resourceType"], "properties": {"resourceType": name}}


_COMPONENTS: Node = {
    "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    "schemas": {
        "Any": {},
        "Resource": _resource(),
        "Bundle": _resource("Bundle"),
        "OperationOutcome": _resource("OperationOutcome"),
    },
}
