"""What would a record answer that had never held what somebody may not see?

A random world is written twice: whole, and for one caller as a twin that was never given what this caller may not see.
Whatever is asked, both must give the same answer. Every version of every resource carries a marker of its own.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from common import clock, errors
from fhir_server import access, app, store
from fhir_server.changes import Change, Create, Delete, Share, Subscribe, Update
from fhir_server.jobs import job, runner
from fhir_server.subscriptions import operations, reading, writing
from fhir_server.subscriptions.matching import Matcher
from fhir_server.subscriptions.topics import Topic
from tests.fhir_server import worlds
from tests.fhir_server.http.samples import BASE

GROUPS = ("nadia", "paul", "karim")
NADIA, PAUL, KARIM = (f"PractitionerRole/{one}" for one in GROUPS)
_HEARS = ("user/Subscription.cruds", "user/Patient.rs", "user/Observation.rs")
CALLERS = {
    "nadia": access.person(NADIA),
    "paul": access.person(PAUL),
    "karim": access.person(KARIM),
    "patients": access.person(NADIA, scopes=("user/Patient.cruds",)),
    "mixed": access.person(PAUL, scopes=("patient/*.cruds", "user/Observation.rs", "user/Encounter.r", "user/List.s")),
    "viewer": access.person(KARIM, scopes=("user/*.rs",)),
    "hears": access.person(PAUL, client="hears", scopes=_HEARS),
    "launched": access.person(NADIA, scopes=("patient/*.cruds", "openid")),
    "software": access.Caller(actor=None, client="lgc"),
    "reader": access.Caller(None, "reader", memberships=None, scopes=("system/Observation.rs", "system/Patient.rs")),
    "system": access.SYSTEM,
}
LISTENERS = ("nadia", "paul", "karim", "hears")
TOPICS = {"urn:any": Topic("urn:any", "any", None)}

FAMILIES, CODES, VALUES = ("Pat-Un", "Pat-Deux", "Pat-Trois"), ("a", "b", "c"), (1, 2, 3, 4)
KEYS = tuple(f"k{n}" for n in range(6))  # of identifiers: shared, so that criteria meet seen and unseen ones
STATUSES = {
    "Observation": ("final", "amended"), "Encounter": ("planned", "finished"), "List": ("current", "retired"),
}  # fmt: skip
SYSTEM_URL, SET_URL = "http://x.test/cs", "http://x.test/vs"
ID, MARKER = re.compile(r"r\d{3}z"), re.compile(r"marq\d{3}v\d{3}x")
_CHANGES = (Create, Update, Delete, Share)


@dataclass(slots=True)
class World:
    """What happens: commits in order; who may read each resource in the end; the markers and ids of each."""

    commits: list[list[Change]]
    readers: dict[str, set[str]]
    markers: dict[str, set[str]]
    named: dict[str, set[str]]

    def seen(self, caller: access.Caller) -> set[str]:
        """The resources that a caller may see in some way."""
        return {ref for ref in self.readers if self._sees(caller, ref)}

    def _sees(self, caller: access.Caller, ref: str) -> bool:
        type = ref.partition("/")[0]
        if not (access.can(caller, "r", type) or access.can(caller, "s", type)):
            return False
        keys = {access.key(one) for one in self.readers[ref]} | ({access.EVERYONE} & _everyone(type))
        return caller.memberships is None or not keys.isdisjoint(caller.memberships)

    def ids(self) -> list[str]:
        """Every `Type/id`, in order."""
        return list(self.readers)


def _everyone(type: str) -> set[int]:
    return {access.EVERYONE} if type in access.OPEN_TYPES else set()


def world(chance: random.Random) -> World:
    """Some thirty resources of few values, with references among them; then some are changed, shared and deleted."""
    made = World([], {}, {}, {})
    kinds = ["Practitioner"] * 2 + ["Patient"] * 5 + ["Encounter"] * 4 + ["Observation"] * 9 + ["Condition"] * 4
    kinds += ["Group", "Group", "List", "List", "Binary", "Binary", "CodeSystem", "ValueSet"]
    refs = [f"{type}/r{n:03d}z" for n, type in enumerate(kinds)]
    for start in range(0, len(refs), 8):
        made.commits.append([_created(made, chance, ref, refs) for ref in refs[start : start + 8]])
    version = dict.fromkeys(refs, 1)
    for _ in range(4):
        some = chance.sample(refs, 8)
        made.commits.append([_later(made, chance, ref, (refs, version)) for ref in some])
    return made


def _created(made: World, chance: random.Random, ref: str, refs: list[str]) -> Change:
    type, _, id = ref.partition("/")
    readers = frozenset(f"PractitionerRole/{one}" for one in chance.sample(GROUPS, chance.choice((0, 1, 1, 2))))
    made.readers[ref] = set(readers)
    return Create(type, id, _body(made, chance, ref, (refs, 1)), readers)


def _later(made: World, chance: random.Random, ref: str, known: tuple[list[str], dict[str, int]]) -> Change:
    type, _, id = ref.partition("/")
    what = chance.choice(("update", "update", "share", "delete"))
    is_terms = type in ("CodeSystem", "ValueSet")
    if what == "share" or is_terms:
        more = frozenset({f"PractitionerRole/{chance.choice(GROUPS)}"})
        made.readers[ref] |= more
        return Share(type, id, more)
    refs, version = known
    version[ref] += 1
    if what == "delete":
        return Delete(type, id)
    return Update(type, id, _body(made, chance, ref, (refs, version[ref])))


def _body(made: World, chance: random.Random, ref: str, known: tuple[list[str], int]) -> dict[str, Any]:
    refs, version = known
    type, _, id = ref.partition("/")
    mark = f"marq{id[1:4]}v{version:03d}x"

    def to(*types: str) -> dict[str, str]:
        return {"reference": chance.choice([one for one in refs if one.partition("/")[0] in types])}

    body = {"resourceType": type, "id": id, **_content(chance, type, mark, to)}
    if type != "Binary":
        body["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{mark} et</div>'}
        body["meta"] = {"tag": [{"system": "http://x.test/tag", "code": chance.choice(CODES)}, {"code": mark}]}
    if type not in ("Binary", "CodeSystem", "ValueSet"):
        body["identifier"] = [{"system": "http://x.test/ipp", "value": chance.choice(KEYS)}]
    made.markers.setdefault(ref, set()).add(mark)
    made.named.setdefault(ref, set()).update(ID.findall(repr(body)))
    return body


def _content(chance: random.Random, type: str, mark: str, to: Any) -> dict[str, Any]:
    code = {"coding": [{"system": SYSTEM_URL, "code": chance.choice(CODES)}]}
    about = {"subject": to("Patient"), **({"encounter": to("Encounter")} if chance.random() < 0.5 else {})}
    status = {"status": chance.choice(STATUSES.get(type, ("active",)))}
    match type:
        case "Patient" | "Practitioner":
            doctor = {"generalPractitioner": [to("Practitioner")]} if type == "Patient" else {}
            born = f"19{chance.choice((70, 80, 90))}-05-11"
            return {"name": [{"family": chance.choice(FAMILIES)}], "birthDate": born, **doctor}
        case "Encounter":
            kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
            return {**status, "class": kind, "subject": to("Patient"), "partOf": to("Encounter")}
        case "Observation":
            more = {"valueQuantity": {"value": chance.choice(VALUES), "unit": "kg"}, "performer": [to("Practitioner")]}
            when = f"2026-0{chance.choice((1, 2, 3))}-01"
            return {
                **status,
                "code": code,
                **about,
                **more,
                "hasMember": [to("Observation")],
                "effectiveDateTime": when,
            }
        case "Condition":
            return {"code": code, **about}
        case "Group":
            members = [{"entity": to("Patient", "Group")} for _ in range(3)]
            return {"type": "person", "actual": True, "member": members}
        case "List":
            items = [{"item": to("Observation", "Patient", "Condition")} for _ in range(3)]
            return {**status, "mode": "working", "entry": items}
        case "Binary":
            return {"contentType": "text/plain", "data": base64.b64encode(mark.encode()).decode()}
        case "CodeSystem":
            concepts = [{"code": one, "display": f"{mark} {one}"} for one in CODES]
            return {**status, "url": SYSTEM_URL, "content": "complete", "concept": concepts}
    return {**status, "url": SET_URL, "compose": {"include": [{"system": SYSTEM_URL, "concept": [{"code": "a"}]}]}}


@dataclass(slots=True)
class Served:
    """A record behind the whole surface, with jobs and subscriptions."""

    record: store.Store
    transport: httpx.ASGITransport
    jobs: runner.Runner
    matcher: Matcher

    def client(self, name: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {name}", "X-Request-Id": "asked"}
        return httpx.AsyncClient(transport=self.transport, base_url=BASE, headers=headers)

    async def close(self) -> None:
        await self.jobs.stop()
        await self.record.close()


async def authenticate(token: str) -> access.Caller:
    """A token is the name of a caller."""
    if token not in CALLERS:
        raise errors.Unauthenticated("Jeton inconnu ou expiré", at="http.Authorization")
    return CALLERS[token]


async def served(database: str, definitions: Any, folder: Path, hands: worlds.Hands) -> Served:
    """The surface over an empty record, its clock set to the beginning."""
    hands.now = worlds.START
    setting = reading.Setting(definitions, TOPICS, lambda _: "", hands, BASE)
    record = await store.Store.open(database, definitions, base=BASE, clock=hands, rules=(writing.rule(setting),))
    jobs = runner.Runner(record, job.Limits(folder, settle_seconds=0.0))
    made = app.build_app(
        record, authenticate=authenticate, operations=operations.operations(setting, b"s"), jobs=jobs, now=hands
    )
    jobs.start()
    return Served(record, httpx.ASGITransport(made, raise_app_exceptions=True), jobs, Matcher(record, setting, "one"))


async def fill(into: Served, told: World, hands: worlds.Hands, caller: access.Caller = access.SYSTEM) -> None:
    """Everything that this caller may see happens, at the same moments as in the whole world."""
    seen = told.seen(caller)
    now = clock.micros(hands.now)
    assert await into.record.notices.hold("one", now=now, until=now + 10**12)
    await into.matcher.begin()
    for name in LISTENERS:
        hands.forward(seconds=1)
        if caller.memberships is None or CALLERS[name].actor == caller.actor:
            await _subscribe(into.record, name, clock.micros(hands.now))
    await _step(into.matcher)
    for commit in told.commits:
        hands.forward(seconds=1)
        mine = [one for one in commit if isinstance(one, _CHANGES) and f"{one.type}/{one.id}" in seen]
        if mine:
            await into.record.commit(mine, caller=access.SYSTEM)
    hands.forward(seconds=1)
    await _step(into.matcher)


async def _subscribe(record: store.Store, name: str, at: int) -> None:
    """Somebody wants to hear of observations and patients."""
    id = f"sub-{name}"
    content = {"url": f"{reading.BACKPORT}backport-payload-content", "valueCode": "full-resource"}
    wanted = {"url": f"{reading.BACKPORT}backport-filter-criteria"}
    filters = [{**wanted, "valueString": one} for one in ("Observation?code=a,b", "Patient?_id:missing=false")[:1]]
    body: dict[str, Any] = {"resourceType": "Subscription", "id": id, "status": "requested", "reason": "r"}
    body |= {"criteria": "urn:any", "_criteria": {"extension": filters}}
    body["channel"] = {"type": "websocket", "payload": "application/fhir+json", "_payload": {"extension": [content]}}
    await record.commit([Create("Subscription", id, body)], caller=CALLERS[name])
    active = Update("Subscription", id, {**body, "status": "active"})
    await record.commit([active, Subscribe(id, "active", at)], caller=writing.SERVER)


async def _step(matcher: Matcher) -> None:
    while (await matcher.step())[1]:
        pass


class Told:
    """Answers without what is never twice the same: cursors, ids that the server gives, ids of jobs."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def __call__(self, answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
        """The status, the headers and the text."""
        for id in _located(answer):
            if not ID.fullmatch(id) and not id.startswith("sub-"):
                self._given.setdefault(id, f"NEW{len(self._given)}")
        headers = sorted(
            (name, self._plain(value)) for name, value in answer.headers.items() if name != "content-length"
        )
        return answer.status_code, headers, self._plain(answer.text)

    def _plain(self, text: str) -> str:
        for id, name in self._given.items():
            text = text.replace(id, name)
        return _VOLATILE.sub("…", text)


# The moment up to which a history is complete is an engine's own to say.
_VOLATILE = re.compile(
    r'(?<=_after=)[^"&]+|(?<="next":")[\w-]+(?=")|(?<="first":")[\w-]+(?=")|\b[0-9a-f]{32}\b|(?<=urn:uuid:)[0-9a-f-]+'
    r'|(?<="type":"history","meta":\{"lastUpdated":")[^"]+'
)


def _located(answer: httpx.Response) -> Iterator[str]:
    """The ids in Location headers and in the answers to the entries of a bundle."""
    found = re.findall(r'"location":"([^"]+)"', answer.text)
    for place in [answer.headers.get("location", ""), *found]:
        if "/_history/" in place:
            yield place.split("/")[-3]


def foreign(text: str, told: World, caller: access.Caller, asked: Sequence[str]) -> set[str]:
    """Markers in a text that this caller may not see, and ids that neither what they see nor their question names."""
    seen = told.seen(caller)
    markers = set().union(*(told.markers[ref] for ref in seen))
    ids = set().union(*(told.named[ref] for ref in seen))
    said = " ".join(asked)  # links say again what was asked
    return (set(MARKER.findall(text)) - markers - set(MARKER.findall(said))) | (
        set(ID.findall(text)) - ids - set(ID.findall(said))
    )
