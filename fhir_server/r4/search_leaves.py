"""How does a FHIR value become search values?

One small function for each pair of parameter kind and FHIR type; `LEAVES` is the list. It is given the parameter, the
code system that a `code` implies there, the value, and where to put what it finds. FHIR R4 search,
https://hl7.org/fhir/R4/search.html#ptypes, section by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

from fhir_server import dates
from fhir_server.r4.search_params import Param

Token = tuple[Param, str | None, str | None, str | None]  # system, code, display or text
Reference = tuple[Param, str | None, tuple[str | None, str | None] | None]  # target; system and value of its identifier
String = tuple[Param, str]
Date = tuple[Param, int, int]  # dates.Span
Uri = tuple[Param, str]
Number = tuple[Param, Decimal, Decimal]  # lowest, highest
# …, system, code, unit; which end is excluded: ">" the lowest, "<" the highest, "" none
Quantity = tuple[Param, Decimal, Decimal, str | None, str | None, str | None, str]
Typed = tuple[Param, str, str, str]  # an identifier: system and code of its type, value
Point = tuple[Param, Decimal, Decimal]  # latitude, longitude


class Sink:
    """The values found in one resource, by kind."""

    __slots__ = (
        "base",
        "composites",
        "dates",
        "numbers",
        "points",
        "quantities",
        "references",
        "resource",
        "sounds",
        "strings",
        "texts",
        "tokens",
        "typed",
        "uris",
    )

    def __init__(self, resource: dict[str, Any], base: str) -> None:
        self.resource = resource
        self.base = base
        self.tokens: list[Token] = []
        self.references: list[Reference] = []
        self.strings: list[String] = []
        self.dates: list[Date] = []
        self.uris: list[Uri] = []
        self.numbers: list[Number] = []
        self.quantities: list[Quantity] = []
        self.typed: list[Typed] = []
        self.sounds: list[String] = []
        self.points: list[Point] = []
        self.composites: list[tuple[Param, tuple[Sink, ...]]] = []  # the values of each part, one element each
        self.texts: list[String] = []  # what people read beside a token or a reference (`:text`)


Leaf = Callable[[Param, str | None, Any, Sink], None]


def relative(reference: str, base: str) -> str:
    """A reference as it is indexed and asked for: without version, and relative when it is on our own `base`."""
    if "/_history/" in reference:
        reference = reference[: reference.index("/_history/")]
    if base and reference.startswith(base):
        rest = reference[len(base) :]
        if rest[:1] == "/":
            return rest[1:]
    return reference


# ---- token ---------------------------------------------------------------------------------------------------------


def _coding(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.tokens.append((param, value.get("system"), value.get("code"), value.get("display")))
    if display := value.get("display"):
        sink.texts.append((param, display))


def _concept(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    for coding in value.get("coding", ()):
        sink.tokens.append((param, coding.get("system"), coding.get("code"), coding.get("display")))
        if display := coding.get("display"):
            sink.texts.append((param, display))
    if text := value.get("text"):
        sink.tokens.append((param, None, None, text))
        sink.texts.append((param, text))


def _identifier(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    number, kind = value.get("value"), value.get("type", {})
    sink.tokens.append((param, value.get("system"), number, None))
    if text := kind.get("text"):
        sink.texts.append((param, text))
    if number and kind:
        for coding in kind.get("coding", ()):
            if code := coding.get("code"):
                sink.typed.append((param, coding.get("system", ""), code, number))


def _contact(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    """`telecom=phone|…` and `telecom=home|…`: both the system and the use may qualify, their codes never coincide."""
    number = value.get("value")
    sink.tokens.append((param, value.get("system"), number, None))
    if use := value.get("use"):
        sink.tokens.append((param, use, number, None))


def _code(param: Param, system: str | None, value: Any, sink: Sink) -> None:
    sink.tokens.append((param, system, value, None))


def _boolean(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.tokens.append((param, None, "true" if value else "false", None))


def _deceased(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    """Given the Patient: dead with a date of death, or by the plain statement. Everybody else counts as alive."""
    dead = "deceasedDateTime" in value or value.get("deceasedBoolean") is True
    sink.tokens.append((param, None, "true" if dead else "false", None))


# ---- reference and uri ---------------------------------------------------------------------------------------------


def _reference(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    target = value.get("reference")
    if target is not None:
        # What is contained has no address of its own.
        target = None if target[:1] == "#" else relative(target, sink.base)
    identifier = value.get("identifier")
    if identifier is not None:
        identifier = (identifier.get("system"), identifier.get("value"))
    sink.references.append((param, target, identifier))
    if display := value.get("display"):
        sink.texts.append((param, display))


def _canonical_reference(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    for form in _canonical_forms(value):
        sink.references.append((param, form, None))


def _resource(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    """A resource in a Bundle, as if it were referred to."""
    type, id = value["resourceType"], value.get("id")
    if type in param.targets:
        sink.references.append((param, f"{type}/{id}" if id else None, None))


def _uri(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.uris.append((param, value))


def _canonical(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    for form in _canonical_forms(value):
        sink.uris.append((param, form))


def _canonical_forms(canonical: str) -> Iterator[str]:
    """`url|1.0` is found by that and by `url`, which means any version."""
    yield canonical
    if "|" in canonical:
        yield canonical[: canonical.rindex("|")]


# ---- string --------------------------------------------------------------------------------------------------------


def _string(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.strings.append((param, value))


def _name(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    _parts(("text", "family", "given", "prefix", "suffix"), param, value, sink)


def _address(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    _parts(("text", "line", "city", "district", "state", "postalCode", "country"), param, value, sink)


def _parts(names: tuple[str, ...], param: Param, value: Any, sink: Sink) -> None:
    for name in names:
        part = value.get(name)
        if type(part) is str:
            sink.strings.append((param, part))
        elif part is not None:
            sink.strings.extend([(param, one) for one in part if one is not None])


# ---- date ----------------------------------------------------------------------------------------------------------


def _moment(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    with suppress(ValueError):  # 2025-02-30 has the form of a date but is none
        sink.dates.append((param, *dates.span(value)))


def _period(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    start, end = value.get("start"), value.get("end")
    if start or end:
        with suppress(ValueError):
            sink.dates.append((param, *dates.period(start, end)))


def _timing(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    """The outer bounds of the events and of the period in which they repeat."""
    bounds = value.get("repeat", {}).get("boundsPeriod", {})
    start, end = bounds.get("start"), bounds.get("end")
    with suppress(ValueError):
        spans = [dates.span(one) for one in value.get("event", ()) if one is not None]
        if start or end:
            spans.append(dates.period(start, end))
        if spans:
            sink.dates.append((param, min(lo for lo, _ in spans), max(hi for _, hi in spans)))


# ---- number and quantity -------------------------------------------------------------------------------------------

_LEAST, _MOST = Decimal("-Infinity"), Decimal("Infinity")
_CURRENCIES = "urn:iso:std:iso:4217"


def _number(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    exact = Decimal(value)
    sink.numbers.append((param, exact, exact))


def _number_range(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.numbers.append((param, *_bounds(value)))


def _quantity(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    """A stored `<5` is everything below 5, without 5."""
    if (number := value.get("value")) is None:
        return
    exact, comparator = Decimal(number), value.get("comparator", "")
    low = _LEAST if comparator[:1] == "<" else exact
    high = _MOST if comparator[:1] == ">" else exact
    excluded = comparator if len(comparator) == 1 else ""
    sink.quantities.append((param, low, high, value.get("system"), value.get("code"), value.get("unit"), excluded))


def _money(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    if (number := value.get("value")) is not None:
        exact = Decimal(number)
        sink.quantities.append((param, exact, exact, _CURRENCIES, value.get("currency"), None, ""))


def _quantity_range(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    unit = value.get("low") or value.get("high") or {}
    sink.quantities.append((param, *_bounds(value), unit.get("system"), unit.get("code"), unit.get("unit"), ""))


def _bounds(value: Any) -> tuple[Decimal, Decimal]:
    low, high = value.get("low", {}).get("value"), value.get("high", {}).get("value")
    return _LEAST if low is None else Decimal(low), _MOST if high is None else Decimal(high)


# ---- how it sounds, where it is ------------------------------------------------------------------------------------


def _sound(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    sink.sounds.append((param, value))


def _name_sound(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    for part in (value.get("text"), value.get("family"), *value.get("given", ())):
        if part:
            sink.sounds.append((param, part))


def _point(param: Param, _: str | None, value: Any, sink: Sink) -> None:
    latitude, longitude = value.get("latitude"), value.get("longitude")
    if latitude is not None and longitude is not None:
        sink.points.append((param, Decimal(latitude), Decimal(longitude)))


def leaf(param: Param, type: str) -> Leaf:
    """What reads the values of a parameter from a FHIR type."""
    return SOUNDS[type] if param.is_phonetic else LEAVES[param.kind, type]


SOUNDS: dict[str, Leaf] = {"string": _sound, "HumanName": _name_sound}
LEAVES: dict[tuple[str, str], Leaf] = {
    ("token", "Coding"): _coding,
    ("token", "CodeableConcept"): _concept,
    ("token", "Identifier"): _identifier,
    ("token", "ContactPoint"): _contact,
    ("token", "boolean"): _boolean,
    ("token", "Deceased"): _deceased,
    **{("token", type): _code for type in ("code", "id", "string", "uri")},
    ("reference", "Reference"): _reference,
    ("reference", "Resource"): _resource,
    ("reference", "canonical"): _canonical_reference,
    ("reference", "uri"): _canonical_reference,
    ("string", "string"): _string,
    ("string", "markdown"): _string,
    ("string", "HumanName"): _name,
    ("string", "Address"): _address,
    **{("date", type): _moment for type in ("date", "dateTime", "instant")},
    ("date", "Period"): _period,
    ("date", "Timing"): _timing,
    **{("uri", type): _uri for type in ("uri", "url", "oid")},
    ("uri", "canonical"): _canonical,
    **{("number", type): _number for type in ("decimal", "integer", "positiveInt", "unsignedInt")},
    ("number", "Range"): _number_range,
    **{("quantity", type): _quantity for type in ("Quantity", "Age", "Duration", "Count", "Distance")},
    **{("quantity", type): _quantity for type in ("SimpleQuantity", "MoneyQuantity")},
    ("quantity", "Money"): _money,
    ("quantity", "Range"): _quantity_range,
    ("special", "Position"): _point,
}
