"""What does a code system say: its codes, their names, their order?

https://hl7.org/fhir/R4/codesystem.html. A CodeSystem resource becomes a table by code; the hierarchy is that of the
nested concepts and of the properties `parent`, `child` and `subsumedBy`, whichever are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhir_server import plain_text

Resource = dict[str, Any]
_INACTIVE = frozenset(("retired", "inactive"))
WHOLE = frozenset(("complete",))


@dataclass(slots=True, eq=False)
class Concept:
    """One code. `parents` and `children` are codes; `raw` is the concept as it was written, without its children."""

    code: str
    display: str
    raw: Resource
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)

    @property
    def designations(self) -> list[Resource]:
        """Other names, in other languages or for other uses."""
        return list(self.raw.get("designation", ()))

    @property
    def properties(self) -> list[Resource]:
        """As they are written: code and value[x]."""
        return list(self.raw.get("property", ()))

    @property
    def is_abstract(self) -> bool:
        """Not meant to be chosen."""
        return any(one["code"] in ("notSelectable", "abstract") and value_of(one) is True for one in self.properties)

    @property
    def is_inactive(self) -> bool:
        """No longer in use. What is only deprecated still is (concept-properties `status`)."""
        for one in self.properties:
            if one["code"] == "inactive" and value_of(one) is True:
                return True
            if one["code"] == "status" and value_of(one) in _INACTIVE:
                return True
        return False

    def name(self, language: str) -> str:
        """The display in a language (`fr` finds `fr-FR` too), the usual one when there is none."""
        for one in self.raw.get("designation", ()) if language else ():
            if speaks(one.get("language", ""), language):
                return str(one["value"])
        return self.display


def value_of(item: Resource) -> Any:
    """The value[x] of a property or parameter, None without one."""
    return next((value for name, value in item.items() if name.startswith("value")), None)


def speaks(language: str, wanted: str) -> bool:
    """Is `fr-FR` what somebody gets who wants `fr`?"""
    have, want = language.lower(), wanted.split(",")[0].split(";")[0].strip().lower()
    return bool(have) and (have == want or have.startswith(f"{want}-"))


class System:
    """A code system as a table."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.url = str(resource.get("url", ""))
        self.version = str(resource.get("version", ""))
        self.name = str(resource.get("name") or resource.get("title") or self.url)
        self.language = str(resource.get("language", ""))
        self.is_whole = resource.get("content") in WHOLE
        self.concepts: dict[str, Concept] = {}
        self._add(resource.get("concept", ()), None)
        self._link()
        self._folded: dict[str, str] | None = None
        if resource.get("caseSensitive") is False:
            self._folded = {code.lower(): code for code in reversed(self.concepts)}

    def find(self, code: str) -> Concept | None:
        """The concept of a code; upper and lower case count unless the system says that they do not."""
        found = self.concepts.get(code)
        if found is None and self._folded is not None:
            found = self.concepts.get(self._folded.get(code.lower(), ""))
        return found

    def below(self, code: str) -> dict[str, None]:
        """The code and all that it subsumes, each once."""
        return self._reach(code, "children")

    def above(self, code: str) -> dict[str, None]:
        """The code and all that subsume it, each once."""
        return self._reach(code, "parents")

    def has_name(self, concept: Concept, display: str) -> bool:
        """Is this one of the names of the concept? Case, accents and punctuation do not count."""
        wanted = plain_text.fold(display)
        names = [concept.display, *(one["value"] for one in concept.designations)]
        return any(plain_text.fold(one) == wanted for one in names)

    def _reach(self, code: str, side: str) -> dict[str, None]:
        found: dict[str, None] = {}
        waiting = [code]
        while waiting:
            one = waiting.pop()
            if one not in found and one in self.concepts:
                found[one] = None
                waiting += reversed(getattr(self.concepts[one], side))
        return found

    def _add(self, concepts: Iterable[Resource], parent: str | None) -> None:
        for one in concepts:
            raw = {name: value for name, value in one.items() if name != "concept"}
            mine = self.concepts.setdefault(one["code"], Concept(one["code"], str(one.get("display", "")), raw))
            if parent is not None:
                mine.parents.append(parent)
            self._add(one.get("concept", ()), one["code"])

    def _link(self) -> None:
        for concept in self.concepts.values():
            for one in concept.properties:
                if one["code"] in ("parent", "subsumedBy"):
                    _append(concept.parents, value_of(one))
                elif one["code"] == "child" and (child := self.concepts.get(str(value_of(one)))):
                    _append(child.parents, concept.code)
        for concept in self.concepts.values():
            for parent in concept.parents:
                if above := self.concepts.get(parent):
                    _append(above.children, concept.code)

    def properties_of(self, concept: Concept) -> Iterator[Resource]:
        """The written properties, then what follows from the hierarchy and the state, for `$lookup`."""
        written = {(one["code"], str(value_of(one))) for one in concept.properties}
        if definition := concept.raw.get("definition"):
            yield {"code": "definition", "valueString": definition}
        yield from concept.properties
        for name, codes in (("parent", concept.parents), ("child", concept.children)):
            yield from ({"code": name, "valueCode": one} for one in codes if (name, one) not in written)
        if not any(code == "inactive" for code, _ in written):
            yield {"code": "inactive", "valueBoolean": concept.is_inactive}


def _append(codes: list[str], code: object) -> None:
    if isinstance(code, str) and code not in codes:
        codes.append(code)
