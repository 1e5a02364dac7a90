"""Asking as a client would, answered by the oracle: `found("Patient?name=x", {...}, {...})`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from common import clock
from fhir_server import index, query
from fhir_server.r4 import load
from fhir_server.r4.search_params import Param
from tests.fhir_server import oracle

DEFINITIONS = load.definitions()
TABLES = DEFINITIONS.search
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
BASE = "https://hub.example/fhir"
INDEXER = index.Indexer(DEFINITIONS, base=BASE)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def parse(url: str, *, lenient: bool = False, iterate: bool = False) -> query.Parsed:
    """`Type?a=b&c=d`, already decoded."""
    type, _, rest = url.partition("?")
    params = [(name, value) for name, _, value in (one.partition("=") for one in rest.split("&") if one)]
    return query.parse(type, params, TABLES, now=NOW, lenient=lenient, base=BASE, iterate=iterate)


def indexed(resource: dict[str, Any], number: int = 0) -> oracle.Indexed:
    id = resource.get("id", f"r{number}")
    updated = clock.micros(NOW) + number * 1_000_000
    body = msgspec.json.encode(resource)
    return oracle.Indexed(resource["resourceType"], id, number, updated, body, INDEXER.rows(resource))


def found(url: str, *resources: dict[str, Any]) -> list[str]:
    """The ids that match, in order."""
    stored = [indexed(resource, number) for number, resource in enumerate(resources)]
    return [one.id for one in oracle.matching(parse(url).query, stored)]


OF_MODIFIERS = {"missing": "true", "of-type": "s|c|v"}
_OF_KINDS = {"date": "2026", "number": "1", "quantity": "1||mg", "special": "48.85|2.35|5|km"}


def sensible(param: Param) -> str:
    """A value that a client could ask for."""
    if param.parts:
        return "$".join(sensible(TABLES.by_type[param.type][code]) for code in param.parts)
    return _OF_KINDS.get(param.kind, "x")


def finds(asked: str, /, **elements: Any) -> bool:
    return bool(found(asked, {"resourceType": asked.partition("?")[0], **elements}))


def escaped(value: str) -> str:
    """The value as a client writes it in a search."""
    for sign in "\\,|$":
        value = value.replace(sign, "\\" + sign)
    return value


def a_quantity(value: Any, code: str | None = "mg", **more: Any) -> dict[str, Any]:
    coded = {"system": UCUM, "code": code} if code else {}
    return {"value": Decimal(str(value)), **coded, **more}


def measured(value: Any, code: str | None = "mg", **more: Any) -> dict[str, Any]:
    return {"valueQuantity": a_quantity(value, code, **more)}


def coded(code: str, system: str | None = LOINC) -> dict[str, Any]:
    return {"coding": [{"code": code, **({"system": system} if system else {})}]}
