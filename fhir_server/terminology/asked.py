"""What was a terminology operation called with?

R4 operations.html#executing: parameters of the URL, or a Parameters resource, or the bare resource of a single
parameter. What an operation does not know is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from common import errors
from fhir_server import access
from fhir_server.operations import OperationRequest
from fhir_server.r4 import validate
from fhir_server.terminology.library import Library
from fhir_server.terminology.systems import System, value_of

Resource = dict[str, Any]
Kind = Literal["text", "flag", "number", "Coding", "CodeableConcept", "resource"]
_LONGEST_SHOWN = 60


class Asked:
    """The parameters of one call, by name."""

    def __init__(self, values: dict[str, list[Any]]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text, "" when it was not given."""
        return str(self._one(name) or "")

    def texts(self, name: str) -> list[str]:
        """All texts of a parameter that may repeat."""
        return [str(one) for one in self._values.get(name, ())]

    def flag(self, name: str) -> bool | None:
        """True or false, None when it was not given."""
        found: bool | None = self._one(name)
        return found

    def number(self, name: str) -> int | None:
        """A number from 0, None when it was not given."""
        found: int | None = self._one(name)
        return found

    def part(self, name: str) -> Resource | None:
        """A Coding, a CodeableConcept or a resource, None when it was not given."""
        found: Resource | None = self._one(name)
        return found

    def has(self, name: str) -> bool:
        """Was it given?"""
        return name in self._values

    def canonical(self, url: str, version: str) -> str:
        """`url|version` of two parameters, the url alone without the second."""
        found = self.text(url)
        return f"{found}|{self.text(version)}" if self.text(version) and "|" not in found else found

    def _one(self, name: str) -> Any:
        found = self._values.get(name, ())
        if len(found) > 1:
            raise refused(f"{name} : donné plusieurs fois", name)
        return found[0] if found else None


def read(call: OperationRequest, kinds: Mapping[str, Kind], *, bare: str = "") -> Asked:
    """The parameters of a call; `bare` names the one that may come as the whole body.

    Raises Unreadable with every parameter that is unknown or of the wrong kind.
    """
    values: dict[str, list[Any]] = {}
    problems: list[errors.Issue] = []
    for name, given in _given(call, bare):
        try:
            if name not in kinds:
                known = ", ".join(kinds)
                raise refused(f"Paramètre inconnu : {name[:_LONGEST_SHOWN]} (possibles : {known})", name)
            values.setdefault(name, []).append(_value(name, given, kinds[name]))
        except errors.Unreadable as problem:
            problems += problem.issues
    if problems:
        raise errors.Unreadable(problems[0].text, issues=tuple(problems))
    return Asked(values)


def _given(call: OperationRequest, bare: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = list(call.params)
    body = call.body
    if body is None:
        return found
    if body.get("resourceType") != "Parameters":
        if not bare or body.get("resourceType", "").lower() != bare.lower():
            raise errors.Unreadable("Une ressource Parameters est attendue", at="Parameters")
        return [*found, (bare, body)]
    parts = body.get("parameter", [])
    if not isinstance(parts, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in parts
    ):
        raise errors.Unreadable("Parameters.parameter : une liste d'éléments avec name est attendue", at="Parameters")
    return [*found, *((one["name"], one["resource"] if "resource" in one else value_of(one)) for one in parts)]


def _value(name: str, given: Any, kind: Kind) -> Any:
    expected, fits = _FORMS[kind]
    if not fits(given):
        raise refused(f"{name} : attendu {expected}", name, "value")
    if kind == "flag":
        return given in (True, "true")
    return int(given) if kind == "number" else given


def _is_number(given: object) -> bool:
    digits = str(given)
    return isinstance(given, (int, str)) and digits.isascii() and digits.isdigit() and len(digits) <= 9


def _is_coding(given: object) -> bool:
    names = ("system", "code", "version", "display")
    return isinstance(given, dict) and all(isinstance(given.get(name, ""), str) for name in names)


def _is_concept(given: object) -> bool:
    codings = given.get("coding", []) if isinstance(given, dict) else None
    return isinstance(codings, list) and all(map(_is_coding, codings))


_FORMS: dict[Kind, tuple[str, Callable[[object], bool]]] = {
    "text": ("un texte", lambda given: isinstance(given, str) and given != ""),
    "flag": ("true ou false", lambda given: isinstance(given, bool) or given in ("true", "false")),
    "number": ("un nombre entier", _is_number),
    "Coding": ("un Coding", _is_coding),
    "CodeableConcept": ("un CodeableConcept", _is_concept),
    "resource": ("une ressource", lambda given: isinstance(given, dict) and isinstance(given.get("resourceType"), str)),
}


async def value_set(call: OperationRequest, asked: Asked, library: Library) -> Resource:
    """The value set that the call is about: by id, in the call itself, or by url. Raises NotFound, Unreadable."""
    if call.id is not None:
        return await library.instance("ValueSet", call.id)
    if given := asked.part("valueSet"):
        return checked(call, given, "ValueSet")
    canonical = asked.canonical("url", "valueSetVersion")
    if not canonical:
        raise refused("Donnez url, ou valueSet, ou appelez l'opération sur un ValueSet enregistré", "url", "required")
    found = await library.value_set(canonical)
    if found is None and canonical.startswith(f"{call.base}/ValueSet/"):
        found = await library.instance("ValueSet", canonical.rpartition("/")[2])
    if found is None:
        raise unknown("Jeu de valeurs", canonical)
    return found


def checked(call: OperationRequest, resource: Resource, kind: str) -> Resource:
    """A resource that came with the call, valid: what reads it may trust its form. Raises Unreadable, Invalid."""
    if resource.get("resourceType") != kind:
        raise refused(f"une ressource {kind} est attendue", kind)
    if problems := validate.Validator(call.store.definitions).check(resource):
        raise errors.Invalid("ressource non valide", issues=tuple(problems))
    return resource


async def system(library: Library, canonical: str) -> System:
    """A code system by its address. Raises NotFound."""
    found = await library.system(canonical)
    if found is None:
        raise unknown("Système de codes", canonical)
    return found


def may_read(call: OperationRequest, kind: str) -> None:
    """Raise Forbidden for a caller without any right on this kind of resource."""
    access.may(call.caller, "r", kind)


def unknown(what: str, canonical: str) -> errors.NotFound:
    """The refusal for an address that names nothing here."""
    return errors.NotFound(f"{what} inconnu : {canonical[:200]}")


def refused(text: str, name: str, code: str = "invalid") -> errors.Unreadable:
    """The refusal of one parameter."""
    return errors.Unreadable(text, at=name, issues=(errors.Issue(text, f"Parameters.{name}"[:100], code),))


def answer(*parts: tuple[str, str, Any]) -> Resource:
    """A Parameters resource of (name, value[x], value), without those that are None or empty."""
    told = [{"name": name, kind: value} for name, kind, value in parts if value is not None and value != ""]
    return {"resourceType": "Parameters", "parameter": told}
