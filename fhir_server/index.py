"""What does the store keep beside a resource so that it is found?

Equality values become 64-bit keys: a search hashes what it looks for in the same way, so index and query share the
forms below. Strings and dates are ranges and keep their value. FHIR R4 search, https://hl7.org/fhir/R4/search.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from fhir_server import conditions, dates, fulltext, index_values, plain_text
from fhir_server.keys import key, told
from fhir_server.r4 import extract
from fhir_server.r4.search_leaves import Sink, relative
from fhir_server.r4.search_params import Param, SearchTables
from fhir_server.rights import facts, sharing

Resource = dict[str, Any]

GENERATION = 4  # raise it whenever rows() gives other rows for the same resource: stored rows must then be made again

# Longest text kept for string search, in characters: a B-tree entry of PostgreSQL must stay below 2,700 bytes.
LONGEST = 400


class Definitions(Protocol):
    """The part of load.Definitions that is needed here."""

    @property
    def search(self) -> SearchTables: ...


# ---- keys ----------------------------------------------------------------------------------------------------------
# One sign after the parameter's name tells the form; a NUL, which no valid value has, parts system and code.
# Even keys are looked up; odd ones only tell something of a row that is already found (`conditions.Keys.is_told`).


NOTHING = key("")  # no resource has it: a search value that can never match


def present_key(type: str, param: str) -> int:
    """The resource has a value for this parameter (`:missing`)."""
    return told(f"{type}.{param}!")


def reference_key(type: str, param: str, reference: str) -> int:
    """Refers to `Type/id`, or to a foreign address, a urn or a canonical."""
    return reference_mask(type, param) ^ address(reference)


def reference_mask(type: str, param: str) -> int:
    """What a reference of this parameter adds to the address of its target; exclusive-or, so that SQL can do it too."""
    return key(f"{type}.{param}>")


def address(reference: str) -> int:
    """What `Type/id`, a foreign address or a canonical is known by, whoever refers to it."""
    return key(reference)


def id_key(type: str, param: str, id: str) -> int:
    """Refers to that id, of whatever type; only for parameters that are not `few_targets`."""
    return key(f"{type}.{param}#{id}")


def token_key(type: str, param: str, system: str | None, code: str | None) -> int:
    """`system` None: any, "": none. `code` None: any code of the system."""
    return _token_key(f"{type}.{param}", system, code)


def identifier_key(type: str, param: str, system: str | None, code: str | None) -> int:
    """Refers by an identifier (`subject:identifier=…`); system and code as in `token_key`."""
    return _token_key(f"{type}.{param}:identifier", system, code)


def uri_key(type: str, param: str, uri: str) -> int:
    """Has exactly this uri."""
    return key(f"{type}.{param}={uri}")


def _token_key(name: str, system: str | None, code: str | None) -> int:
    if code is None:
        # Whose identifiers they are is asked alone; other systems come with a patient or a date.
        return (key if name.endswith("identifier") else told)(f"{name}@{system}")
    if system is None:
        return key(f"{name}*{code}")
    return key(f"{name}={system}\0{code}")


# ---- normal forms --------------------------------------------------------------------------------------------------


fold = plain_text.fold


def trunk(uri: str) -> str:
    """What `:below` goes on from: the address without a slash at its end."""
    return uri.rstrip("/") if "://" in uri else uri


def above(uri: str) -> list[str]:
    """The address itself and those above it (`:above`), by whole segments of the path; a urn has none above it."""
    found = [uri]
    address, bar, version = uri.partition("|")
    while bar and "." in version:
        version = version.rpartition(".")[0]
        found.append(f"{address}|{version}")
    if bar:
        found.append(address)
    scheme, mark, rest = address.partition("://")
    rest = rest.rstrip("/")
    while mark and rest:
        found += [f"{scheme}://{rest}", f"{scheme}://{rest}/"]
        rest = rest.rstrip("/").rpartition("/")[0]
    return list(dict.fromkeys(found))


_PHONE = re.compile(r"\+?[\d\s().\-/]+", re.ASCII)


def contact(value: str) -> str:
    """A phone number without punctuation and French prefix, a mail address in lower case."""
    if "@" in value:
        return value.lower()
    if not _PHONE.fullmatch(value):
        return value
    number = "".join([one for one in value.replace("(0)", "") if one in "+0123456789"])
    for abroad in ("+33", "0033"):
        if number.startswith(abroad):
            return "0" + number[len(abroad) :]
    return number


# ---- rows ----------------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """What rows() needs of a type: where to look for the patient, and the number of its main clinical date, if any."""

    patient_params: tuple[str, ...]
    clinical: tuple[int, ...]


class Indexer:
    """Index rows for resources that have been validated.

    `base` is our own public FHIR address: references to it count as relative ones.
    """

    def __init__(self, definitions: Definitions, *, base: str = "") -> None:
        self._tables = definitions.search
        self._base = base.rstrip("/")
        self._extractor = extract.Extractor(self._tables, base=self._base)
        self._plans: dict[str, _Plan] = {}

    def rows(self, resource: Resource) -> conditions.Rows:
        """Everything that the store keeps to find this resource."""
        found = self._extractor.values(resource)
        plan = self._plan(resource["resourceType"])
        eq, ordered = _keys(found)
        strings = dict.fromkeys([(param.number, fold(raw)[:LONGEST], raw[:LONGEST]) for param, raw in found.strings])
        if found.uris:
            strings.update(
                dict.fromkeys([(param.number, uri[:LONGEST], "") for param, uri in found.uris if "\0" not in uri])
            )
        spans = dict.fromkeys([(param.number, lo, hi) for param, lo, hi in found.dates])
        if found.points:
            spans.update(dict.fromkeys(index_values.places(found)))
        if found.typed or found.sounds:
            eq.update(dict.fromkeys(index_values.keys(found)))
        amounts = index_values.measured(found) if found.numbers or found.quantities else {}
        for param, parts in found.composites:
            keys, rows = index_values.composite(param, parts, _part_keys)
            eq.update(dict.fromkeys(keys))
            amounts.update(dict.fromkeys(rows))
        return conditions.Rows(
            eq=tuple(eq),
            ordered=tuple(ordered),
            strings=tuple(strings),
            dates=tuple(spans),
            sort_date=_clinical(spans, plan),
            patient=self._patient(resource, found, plan),
            amounts=tuple(amounts),
            links=_links(found),
            texts=fulltext.texts(resource, found.texts),
            sharing=sharing.code(resource),
            standing=facts.of(resource, self._base),
        )

    def patient(self, resource: Resource) -> str | None:
        """The id of the patient in whose compartment this resource is.

        The first Patient of this server in `patient`, then `subject`, then the other parameters of the compartment; of
        a Binary its securityContext. None for a Patient itself.
        """
        plan = self._plan(resource["resourceType"])
        for code in plan.patient_params:
            if (id := self._patient(resource, self._extractor.values(resource, only=code), plan)) is not None:
                return id
        return self._patient(resource, None, plan)

    def patient_masks(self, types: tuple[str, ...]) -> tuple[int, ...]:
        """The masks of the references by which resources of these types say whose they are.

        None when some of them do not say it; a Patient is nobody's but itself.
        """
        found: list[int] = []
        for type in types:
            params = self._plan(type).patient_params
            if not params and type != "Patient":
                return ()
            found += [reference_mask(type, param) for param in params]
        return tuple(found)

    def references(self, resource: Resource, param: str) -> list[str]:
        """The resources of this server that one reference parameter points to: `Type/id`, each once, in order."""
        found = self._extractor.values(resource, only=param)
        return extract.local(target for _, target, _ in found.references)

    def canonicals(self, resource: Resource, param: str) -> list[str]:
        """The canonical addresses, `url` or `url|version`, in a reference parameter: each once, in order."""
        found = [to for _, to, _ in self._extractor.values(resource, only=param).references]
        named = dict.fromkeys(one for one in found if one and not extract.is_local(one))
        # Each `url|version` was followed by its `url`, for searches.
        bare = {one.rpartition("|")[0] for one in named if "|" in one}
        return [one for one in named if one not in bare]

    def _plan(self, type: str) -> _Plan:
        plan = self._plans.get(type)
        if plan is None:
            # The first one alone: `_sort` by it must not be mixed with the dates of what does not have it.
            clinical = (self._tables.param(type, code) for code in self._tables.sort_date(type)[:1])
            patient = () if type == "Patient" else self._tables.patient_params(type)
            plan = self._plans[type] = _Plan(patient, tuple(param.number for param in clinical if param))
        return plan

    def _patient(self, resource: Resource, found: Sink | None, plan: _Plan) -> str | None:
        if resource["resourceType"] == "Binary":
            return _patient_id(relative(resource.get("securityContext", {}).get("reference", ""), self._base))
        for code in plan.patient_params if found else ():
            for param, target, _ in found.references if found else ():
                if param.code == code and (id := _patient_id(target)):
                    return id
        return None


def _patient_id(target: str | None) -> str | None:
    return target[8:] if target and target.startswith("Patient/") else None


def _clinical(spans: Iterable[tuple[int, int, int]], plan: _Plan) -> int | None:
    """The start of the main clinical date, or its end when the start is open."""
    for number in plan.clinical:
        if mine := [(lo, hi) for param, lo, hi in spans if param == number]:
            lo, hi = min(mine)
            return lo if lo != dates.BEGINNING else hi
    return None


def _links(found: Sink) -> tuple[tuple[int, int], ...]:
    local = ((param.number, address(to)) for param, to, _ in found.references if to and extract.is_local(to))
    return tuple(dict.fromkeys(local))


def _keys(found: Sink) -> tuple[dict[int, None], dict[int, None]]:
    """All equality keys, and those of them for the ordered table; dicts serve as ordered sets."""
    eq: dict[int, None] = {}
    ordered: dict[int, None] = {}
    for param, system, code, _ in found.tokens:
        eq[told(f"{param.name}!")] = None
        for one in _token_keys(param, system, code):
            eq[one] = None
            if param.ordered:
                ordered[one] = None
        if system and not param.plain:
            eq[_token_key(param.name, system, None)] = None
    for param, target, identifier in found.references:
        eq[told(f"{param.name}!")] = None
        if target is not None:
            for one in _reference_keys(param, target):
                eq[one] = ordered[one] = None
        if identifier is not None:
            eq.update(dict.fromkeys(_identifier_keys(param, *identifier)))
    for param, uri in found.uris:
        eq[told(f"{param.name}!")] = None
        eq[key(f"{param.name}={uri}")] = None
    return eq, ordered


def _token_keys(param: Param, system: str | None, code: str | None) -> tuple[int, ...]:
    if code is None:
        return ()
    if param.contact:
        code = contact(code)
    if param.plain:
        return (_token_key(param.name, None, code),)
    return _token_key(param.name, None, code), _token_key(param.name, system or "", code)


def _part_keys(part: index_values.Values) -> Iterator[int]:
    """The keys by which the part of a composite is asked for, if it is a token or a reference."""
    tokens, references, *_ = part
    for param, system, code, _ in tokens:
        yield from _token_keys(param, system, code)
        if param.plain:
            yield told(f"{param.name}!")
        elif system:
            yield _token_key(param.name, system, None)
    for param, target, _ in references:
        if target is not None:
            yield from _reference_keys(param, target)


def _reference_keys(param: Param, target: str) -> tuple[int, ...]:
    typed = key(f"{param.name}>") ^ address(target)
    if param.few_targets or not extract.is_local(target):
        return (typed,)
    return typed, key(f"{param.name}#{target.partition('/')[2]}")


def _identifier_keys(param: Param, system: str | None, value: str | None) -> Iterator[int]:
    name = f"{param.name}:identifier"
    if value is not None:
        yield _token_key(name, None, value)
        yield _token_key(name, system or "", value)
    if system:
        yield _token_key(name, system, None)
