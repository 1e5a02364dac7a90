"""What can be asked of a FHIR server, of every door, about a random world?

Questions name ids at random: seen, unseen and unknown ones. Those that write come apart, because they change the world.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhir_server import access
from tests.fhir_server.http.samples import bundle, entry
from tests.fhir_server.http.twins import CODES, FAMILIES, KEYS, SET_URL, SYSTEM_URL, VALUES, World

NOBODY = "r999z"
CONDITIONS = {
    "Patient": (
        "family={family}", "identifier={key}", "birthdate=ge1980", "_id={id},{id},{id}", "general-practitioner={ref}",
        "_has:Observation:patient:code={code}", "_has:Encounter:subject:status=finished", "general-practitioner.family="
        "{family}", "_has:Observation:patient:_has:Observation:has-member:code={code}", "_has:Group:member:_id={id}",
        "_list={id}", "_has:List:item:status=current", "_filter=family eq \"{family}\" or identifier eq \"{key}\"",
    ),
    "Observation": (
        "code={code}", "subject=Patient/{id}", "patient.family={family}", "subject:Patient.identifier={key}",
        "value-quantity=gt{value}", "encounter.status=finished", "encounter.subject.family={family}", "date=ge2026-02",
        "has-member.code={code}", "performer:Practitioner.family={family}", "code-value-quantity={code}$ge{value}",
        "_has:Observation:has-member:code={code}", "code:in={set}", "_list={id}", "status:not=final",
        "_filter=code eq {code} and subject.family sw \"Pat\"", "combo-code={code}", "encounter:missing=true",
        "_filter=not (value-quantity gt {value})", "patient:identifier={key}", "code:text=a",
    ),
    "Encounter": ("status=planned", "subject.family={family}", "part-of.status=planned", "identifier={key}",
                  "_has:Observation:encounter:code={code}", "part-of.part-of.subject=Patient/{id}"),
    "Condition": ("code={code}", "subject.family={family}", "encounter={id}", "_filter=subject re Patient/{id}"),
    "List": ("item={id}", "item:Observation.code={code}", "status=current", "item:Patient.family={family}"),
    "Group": ("member=Patient/{id}", "member:Patient.family={family}", "actual=true"),
    "Practitioner": ("family={family}", "_has:Observation:performer:code={code}", "_has:Patient:general-practitioner:"
                     "family={family}", "identifier={key}"),
    "CodeSystem": ("url={system}", "status=active"),
    "ValueSet": ("url={set}", "reference={system}"),
}  # fmt: skip
ANYWHERE = ("_lastUpdated=ge2026-11-23T08:00:08Z", "_tag={code}", "_tag={mark}", "_text={mark}", "_content={mark}",
            "_text=et", "_content=et")  # fmt: skip
SHAPES = {
    "": ("_total=accurate", "_summary=count", "_count=2&_total=accurate", "_count=3", "_sort=_lastUpdated", "_sort=_id",
         "_elements=identifier", "_summary=true", "_summary=text"),
    "Patient": ("_revinclude=Observation:patient", "_revinclude=*", "_include=*", "_sort=family,-birthdate",
                "_revinclude=Encounter:subject&_revinclude:iterate=Observation:encounter", "_revinclude:iterate=*"),
    "Observation": ("_include=Observation:subject", "_include=*", "_include:iterate=*", "_sort=-date", "_sort=code",
                    "_include=Observation:encounter&_include:iterate=Encounter:subject", "_sort=-value-quantity",
                    "_include:iterate=Observation:has-member", "_revinclude=List:item", "_sort=subject"),
    "List": ("_include=List:item", "_include:iterate=*"),
    "Practitioner": ("_revinclude=*", "_revinclude:iterate=*"),
}  # fmt: skip
GRAPHQL = (
    '{ PatientList(_count: 5) { id text { div } ObservationList(_reference: "patient") { id text { div } hasMember { '
    "resource(optional: true) { ... on Observation { id text { div } } } } } } }",
    '{ ObservationConnection(code: "CODE", _count: 2) { count first next edges { resource { id text { div } } } } }',
    '{ ObservationList(patient: "ID", code: "CODE") { id text { div } encounter { resource(optional: true) { id } }}}',
    '{ Patient(id: "ID") { id text { div } EncounterConnection(_reference: "subject") { count } } }',
    '{ ObservationConnection(_filter: "subject.family sw Pat") { count } ListList(item: "ID") { id text { div } } }',
)
GRAPHQL_OF = (
    '{ id text { div } ListList(_reference: "item") { id text { div } } }',
    "{ ... on Observation { subject { resource { ... on Patient { id text { div } } } } hasMember { resource(optional: "
    "true) { ... on Observation { text { div } } } } } }",
    '{ ObservationConnection(_reference: "subject") { count edges { resource { text { div } } } } }',
)
VIEW = {"resourceType": "ViewDefinition", "status": "active", "select": [{"column": [
    {"name": "id", "path": "getResourceKey()"}, {"name": "mark", "path": "meta.tag.code.last()"},
]}]}  # fmt: skip
_WORDS = {
    "code": CODES, "family": FAMILIES, "key": KEYS, "value": VALUES, "set": (SET_URL,), "system": (SYSTEM_URL,)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    method: str
    url: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def said(self) -> tuple[str, str]:
        """All that it names."""
        return self.url, json.dumps(self.body)


class Asker:
    """Random questions about a world, mostly of what a caller may search."""

    def __init__(self, told: World, chance: random.Random, caller: access.Caller) -> None:
        self._likely = [one for one in CONDITIONS if access.can(caller, "s", one)] or list(CONDITIONS)
        self._refs = told.ids()
        self._marks = sorted(set().union(*told.markers.values()))
        self._chance = chance
        self._doors: tuple[Callable[[], Ask], ...] = (
            *[self.search] * 8, *[self.instance] * 4, self.history, self.compartment, self.system, self.graphql,
            self.graphql_of, self.view, self.operation, self.terminology, self.in_bundle, self.validate,
        )  # fmt: skip

    def reads(self, count: int) -> Iterator[Ask]:
        """Questions that change nothing: each door at least once."""
        for door in (*dict.fromkeys(self._doors), *self._chance.choices(self._doors, k=count)):
            yield door()

    def _one(self, *of: str) -> str:
        return self._chance.choice(of)

    def _ref(self) -> str:
        return self._chance.choice([*self._refs, *self._refs[:20], f"Patient/{NOBODY}"])

    def _id(self, type: str = "") -> str:
        fitting = [one for one in self._refs if one.startswith(type)]
        return self._chance.choice([*fitting, f"x/{NOBODY}"]).partition("/")[2]

    def _filled(self, text: str) -> str:
        while "{id}" in text:
            text = text.replace("{id}", self._id(), 1)
        for name, values in {**_WORDS, "mark": self._marks, "ref": self._refs}.items():
            text = text.replace(f"{{{name}}}", str(self._chance.choice(list(values))))
        return text

    def criteria(self, type: str, most: int = 2) -> list[str]:
        """Conditions of a search."""
        known = (*CONDITIONS[type], *ANYWHERE) if self._chance.random() < 0.8 else ANYWHERE
        return [self._filled(one) for one in self._chance.sample(known, self._chance.randint(1, most))]

    def search(self) -> Ask:
        wanted = self._likely if self._chance.random() < 0.85 else list(CONDITIONS)
        type = self._chance.choice([*wanted, *[one for one in wanted if one in ("Patient", "Observation")] * 3])
        asked = self.criteria(type) if self._chance.random() < 0.85 else []
        shape = self._one(*SHAPES[""], *SHAPES.get(type, ()), *SHAPES.get(type, ()))
        url = f"/{type}?{'&'.join([*asked, shape])}"
        return Ask("GET", url, headers={"Prefer": "respond-async"} if self._chance.random() < 0.03 else {})

    def instance(self) -> Ask:
        ref = self._ref()
        tail = self._one("", "", "/_history", "/_history/1", "/_history/2", "/_history?_count=1", "?_elements=text")
        accept = {"Accept": "text/plain"} if ref.startswith("Binary") and self._chance.random() < 0.5 else {}
        return Ask("GET", f"/{ref}{tail}", headers={**accept, **self._condition()})

    def _condition(self) -> dict[str, str]:
        if self._chance.random() < 0.7:
            return {}
        return {"If-None-Match": f'W/"{self._one("1", "2")}"'}

    def history(self) -> Ask:
        of = self._one("", "/Patient", "/Observation", "/Binary", "/List", "/Practitioner")
        more = self._one("", "_count=5", "_since=2026-11-23T08:00:09Z", "_at=2026-11-23T08:00:08Z", "_summary=text")
        return Ask("GET", f"{of}/_history?{more}")

    def compartment(self) -> Ask:
        of = self._one("Patient", "Encounter", "Practitioner")
        type = self._one("*", "Observation", "Condition")
        return Ask("GET", f"/{of}/{self._id(of)}/{type}?{self._one('_total=accurate', '_count=2', '_summary=count')}")

    def system(self) -> Ask:
        types = self._one("Patient,Observation", "List,Group,Encounter", "Practitioner,CodeSystem", "")
        shape = self._one("_total=accurate", "_count=4&_total=accurate", "_summary=count", "_include=*")
        asked = self._filled(self._one(*ANYWHERE, "_id={id},{id}", "identifier={key}" if types[:4] == "Pati" else ""))
        return Ask("GET", f"?{'_type=' + types + '&' if types else ''}{asked}&{shape}".replace("?&", "?"))

    def graphql(self) -> Ask:
        query = self._one(*GRAPHQL).replace("CODE", self._one(*CODES)).replace("ID", self._id("Patient"))
        return Ask("POST", "/$graphql", {"query": query})

    def graphql_of(self) -> Ask:
        return Ask("POST", f"/{self._ref()}/$graphql", {"query": self._one(*GRAPHQL_OF)})

    def view(self) -> Ask:
        type = self._one("Patient", "Observation", "Encounter", "Practitioner")
        given: list[dict[str, Any]] = [{"name": "viewResource", "resource": {**VIEW, "resource": type}}]
        if type != "Practitioner" and self._chance.random() < 0.5:
            given.append({"name": "patient", "valueReference": {"reference": f"Patient/{self._id('Patient')}"}})
        return Ask("POST", "/$viewdefinition-run", {"resourceType": "Parameters", "parameter": given})

    def operation(self) -> Ask:
        observations = f"/Observation/{self._id('Observation')}"
        return Ask(
            "GET",
            self._one(
                f"/Patient/{self._id('Patient')}/$everything", f"/Patient/{self._id('Patient')}/$everything?_count=2",
                f"/Encounter/{self._id('Encounter')}/$everything", f"/{self._ref()}/$meta", "/Observation/$meta",
                "/$meta",
                f"{observations}/$diff?fromVersion=1", f"/$diff?from=Patient/{self._id('Patient')}&to=Patient/"
                f"{self._id('Patient')}", f"{observations}/$validate", f"/{self._ref()}/$validate?mode=delete",
            ),
        )  # fmt: skip

    def terminology(self) -> Ask:
        return Ask(
            "GET",
            self._one(
                f"/CodeSystem/$lookup?system={SYSTEM_URL}&code=a", f"/ValueSet/$expand?url={SET_URL}",
                f"/ValueSet/{self._id('ValueSet')}/$expand", f"/CodeSystem/{self._id('CodeSystem')}/$lookup?code=b",
                f"/ValueSet/$validate-code?url={SET_URL}&system={SYSTEM_URL}&code=b", f"/CodeSystem/$subsumes?system="
                f"{SYSTEM_URL}&codeA=a&codeB=b",
            ),
        )  # fmt: skip

    def in_bundle(self) -> Ask:
        asked = [self._one(self.search, self.instance, self.operation)() for _ in range(3)]  # type: ignore[arg-type]
        entries = [entry("GET", one.url.lstrip("/")) for one in asked]
        return Ask("POST", "", bundle(self._one("batch", "transaction"), *entries))

    def validate(self) -> Ask:
        ref = self._ref()
        type, _, id = ref.partition("/")
        body = {"resourceType": type, "id": id}
        return Ask("POST", f"/{ref}/$validate?mode={self._one('update', 'create', 'delete')}", body)

    def exports(self) -> Iterator[str]:
        """Kick-offs of jobs."""
        yield self._one("/$export", "/$export?_since=2026-11-23T08:00:07Z", "/Patient/$export")
        yield f"/Group/{self._id('Group')}/$export"
        yield f"/$export?_type=Observation&_typeFilter=Observation?{self._filled('patient.family={family}')}"

    # ---- what writes

    def writes(self, count: int) -> Iterator[Ask]:
        """Questions that may change something, by criteria and by ids."""
        doors = (self.by_criteria, self.by_criteria, self.by_id, self.transaction)
        for _ in range(count):
            yield self._chance.choice(doors)()

    def _new(self, type: str) -> dict[str, Any]:
        if type == "Patient":
            return {"resourceType": type, "birthDate": "1999-01-01"}
        code = {"coding": [{"system": SYSTEM_URL, "code": "a"}]}
        return {"resourceType": "Observation", "status": "final", "code": code}

    def by_criteria(self) -> Ask:
        type = self._one("Patient", "Observation")
        asked = "&".join(self.criteria(type, 1))
        patch = [{"op": "add", "path": "/language", "value": "fr"}]
        match self._one("POST", "PUT", "PATCH", "DELETE"):
            case "POST":
                return Ask("POST", f"/{type}", self._new(type), {"If-None-Exist": asked})
            case "PUT":
                return Ask("PUT", f"/{type}?{asked}", self._new(type), self._if_match())
            case "PATCH":
                headers = {"Content-Type": "application/json-patch+json"}
                return Ask("PATCH", f"/{type}?{asked}", patch, {**headers, **self._if_match()})
        return Ask("DELETE", f"/{type}?{asked}", headers=self._if_match())

    def by_id(self) -> Ask:
        type = self._one("Patient", "Observation")
        place = f"/{type}/{self._id(type)}"
        match self._one("PUT", "PATCH", "DELETE", "meta"):
            case "PUT":
                return Ask("PUT", place, {**self._new(type), "id": place.rpartition("/")[2]}, self._if_match())
            case "PATCH":
                patch = [{"op": "test", "path": "/language", "value": "fr"}]
                return Ask("PATCH", place, patch, {"Content-Type": "application/json-patch+json", **self._if_match()})
            case "DELETE":
                return Ask("DELETE", place, headers=self._if_match())
        meta = {"name": "meta", "valueMeta": {"tag": [{"code": "new"}]}}
        return Ask("POST", f"{place}/$meta-add", {"resourceType": "Parameters", "parameter": [meta]})

    def _if_match(self) -> dict[str, str]:
        return self._chance.choice([{}, {}, {"If-Match": 'W/"1"'}, {"If-Match": "*"}])

    def transaction(self) -> Ask:
        criteria = self.criteria("Patient", 1)[0]
        linked = {**self._new("Observation"), "subject": {"reference": f"Patient?{criteria}"}}
        entries = [
            entry("POST", "Observation", linked),
            entry("POST", "Patient", self._new("Patient"), ifNoneExist=self.criteria("Patient", 1)[0]),
            entry("DELETE", f"Observation/{self._id('Observation')}"),
            entry("PUT", f"Patient?{self.criteria('Patient', 1)[0]}", self._new("Patient")),
            entry("GET", f"Patient?{criteria}"),
        ]
        return Ask("POST", "", bundle(self._one("transaction", "batch"), *self._chance.sample(entries, 2)))
