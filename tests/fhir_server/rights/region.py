"""A random region happens to a record, hour by hour, and is written down as plain facts at the same time."""

from __future__ import annotations

import base64
import random
from datetime import timedelta
from typing import Any

import msgspec

from common import errors
from fhir_server import access, changes, dates, query, store
from fhir_server.rights import facts as rights
from fhir_server.rights import sharing
from hub import conversations
from hub.rights import worn
from hub.rules import consent, files, header, members, message
from identity import tokens
from mapping import systems
from tests.fhir_server import worlds
from tests.fhir_server.rights.facts import Decision, Patient, Person, Region, Span, Talk, Thing

SECRET = b"s" * 32
# The rules that make what people see, without those that refuse: what must not happen has to be judged as well.
RULES = (files.rule(), header.rule(SECRET), message.rule(SECRET))
PROFESSIONS = ("10", "60", "41", "999")
_MEASURED: dict[str, Any] = {"status": "final", "code": {"text": "x"}}
CLINICAL: dict[str, tuple[str, dict[str, Any]]] = {
    "medical": ("Condition", {}),
    "traitement": ("MedicationStatement", {"status": "active", "medicationCodeableConcept": {"text": "m"}}),
    "biologie": ("Observation", {**_MEASURED, "category": [{"coding": [{"code": "laboratory"}]}]}),
    "social": ("Observation", {**_MEASURED, "category": [{"coding": [{"code": "social-history"}]}]}),
    "coordination": ("CarePlan", {"status": "active", "intent": "plan"}),
    "formulaire": ("QuestionnaireResponse", {"status": "completed"}),
}  # fmt: skip
LABELS = ("prive", "structure", "partage", "public", "")
MASKS = {"MASQUE_PS": "health", "MASQUE_PSOCIAL": "social"}


def caller(person: Person) -> access.Caller:
    """Somebody who signed in under this hat."""
    identity = tokens.Identity("person", person.role, (person.person,), client="web")
    return worn.caller(identity, worn.Hat(person.structure, person.profession))


class Maker:
    """Makes things happen; each method is one commit, and one more fact."""

    def __init__(self, record: store.Store, hands: worlds.Hands, chance: random.Random) -> None:
        self.record, self.hands, self.chance = record, hands, chance
        self.region = Region()
        self._begin = hands.now
        self._teams: dict[str, str] = {}

    async def happen(self, events: int) -> Region:
        """The whole of it: who there is, then so many events, then the time at which everybody asks."""
        await self._cast()
        kinds = (self.enter, self.decide, self.decide, self.talk, self.say, self.say, self.change_members, self.note,
                 self.note, self.deposit, self.deposit, self.relabel, self.declare_emergency)  # fmt: skip
        for _ in range(events):
            self._pass(self.chance.uniform(0.5, 3))
            await self.chance.choice(kinds)()
        self._pass(self.chance.uniform(1, 30))
        return self.region

    def _pass(self, hours: float) -> None:
        self.hands.forward(hours=round(hours, 2))
        self.region.now = (self.hands.now - self._begin).total_seconds() / 3600

    def _instant(self, hour: float) -> str:
        return (self._begin + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _span(self) -> Span:
        """Around now: begun or not, ended or not, or open."""
        now, chance = self.region.now, self.chance
        start = chance.choice((None, now - 5.3, now - 0.7, now + 8.1, now + 60.7))
        return Span(start, chance.choice((None, None, (start or now) + 4.9, (start or now) + 70.3)))

    def _period(self, span: Span) -> dict[str, str]:
        """As written: the end is a second, which lasts."""
        named = {"start": span.start, "end": span.end}
        return {name: self._instant(hour) for name, hour in named.items() if hour is not None}

    async def _write(self, body: dict[str, Any], who: access.Caller, *more: changes.Change) -> str:
        id = body.get("id") or self.record.new_id(body["resourceType"], body)
        await self.record.commit([changes.Create(body["resourceType"], id, body), *more], caller=who)
        return f"{body['resourceType']}/{id}"

    async def _cast(self) -> None:
        for n in range(7):
            # The first two are hats of one person.
            person = Person(f"PractitionerRole/r{n}", f"Practitioner/p{max(n, 1)}", f"Organization/o{n % 3}", "")
            person = Person(person.role, person.person, person.structure, PROFESSIONS[n % 4])
            self.region.people.append(person)
            role = {"resourceType": "PractitionerRole", "id": f"r{n}", "active": True}
            role |= {"practitioner": {"reference": person.person}, "organization": {"reference": person.structure}}
            await self._write(role, access.SYSTEM)
        for n in range(3):
            ref = await self._write({"resourceType": "Patient", "id": f"x{n}", "active": True}, access.SYSTEM)
            self.region.patients[ref] = Patient(ref)
            self._thing(Thing(ref, ref, level="public", kind="identite"))

    def _thing(self, thing: Thing) -> Thing:
        self.region.things[thing.ref] = thing
        return thing

    def _a_patient(self) -> Patient:
        return self.chance.choice(list(self.region.patients.values()))

    # ---- circles, decisions, emergencies

    async def enter(self) -> None:
        """Somebody, or a structure, enters a circle for some time."""
        patient, person, span = self._a_patient(), self.chance.choice(self.region.people), self._span()
        member = self.chance.choice((person.role, person.role, person.structure))
        patient.circle.append((member, span))
        participants = [
            {"member": {"reference": one}, **({"period": self._period(when)} if self._period(when) else {})}
            for one, when in patient.circle
        ]
        body = {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": patient.ref},
            "participant": participants,
        }
        if patient.ref not in self._teams:
            self._teams[patient.ref] = await self._write(body, access.SYSTEM)
            self._thing(Thing(self._teams[patient.ref], patient.ref, level="public", kind="coordination"))
        else:
            await self._update(self._teams[patient.ref], body)

    async def decide(self) -> None:
        """The patient consents, withdraws, or is against somebody or everybody."""
        patient = self._a_patient()
        active = [one for one in patient.decisions if one.state == "active"]
        if active and self.chance.random() < 0.3:
            decision = self.chance.choice(active)
            decision.state = "ended"
            await self._update(decision.ref, {**await self._read(decision.ref), "status": "inactive"})
            return
        kind = self.chance.choice(
            ("share", "share", "share", "against-some", "against-some", "against-all", "keep-inside")
        )
        span, whom = self._span(), frozenset[str]()
        if kind == "share" and self.chance.random() < 0.6:
            span = Span()
        if kind == "against-some":
            person = self.chance.choice(self.region.people)
            whom = frozenset({self.chance.choice((person.role, person.person, person.structure))})
        names = {"share": rights.DOSSIER, "against-some": rights.EXCLUSION, "against-all": rights.OPPOSITION}
        body = consent.recorded(patient.ref, category=names.get(kind, rights.OUTSIDE), by="PractitionerRole/r0",
                                at=self._instant(self.region.now), actors=tuple(whom))  # fmt: skip
        if kind == "keep-inside":
            body["provision"]["type"] = "deny"
        body["provision"]["period"] = self._period(span) or {"start": "2000-01-01"}
        ref = await self._write(body, access.SYSTEM)
        patient.decisions.append(Decision(ref, kind, span, whom=whom))
        self._thing(Thing(ref, patient.ref, level="public", kind="coordination"))

    async def declare_emergency(self) -> None:
        """Somebody breaks the glass for some hours."""
        patient, person = self._a_patient(), self.chance.choice(self.region.people)
        start = self.region.now - self.chance.choice((0.5, 3))
        span = Span(start, start + self.chance.choice((2.2, 40.3)))
        patient.emergencies.append((person.role, span))
        body = {"resourceType": "Task", "status": "in-progress", "intent": "order", "for": {"reference": patient.ref}}
        body |= {"owner": {"reference": person.role}, "restriction": {"period": self._period(span)}}
        body["code"] = conversations.concept(systems.TASK, sharing.EMERGENCY)
        ref = await self._write(body, access.SYSTEM)
        self._thing(Thing(ref, patient.ref, level="partage", kind="coordination"))

    # ---- conversations

    async def talk(self) -> None:
        """A conversation begins, most of them about a patient."""
        patient = self._a_patient().ref if self.chance.random() < 0.8 else None
        names = [one.role for one in self.chance.sample(self.region.people, self.chance.choice((2, 3)))]
        body = conversations.header("t", patient=patient, members=names, category="patient" if patient else "group")
        ref = await self._write(body, access.SYSTEM)
        talk = Talk(ref, patient, list(names))
        talk.around.append(self._thing(Thing(ref, patient, named=set(names))))
        team = await self._found("CareTeam", f"{sharing.CARE_TEAM}|{sharing.CONVERSATION}", set(self.region.things))
        talk.around.append(self._thing(Thing(team, patient, named=set(names))))
        if patient:
            self.region.things[patient].named |= set(names)
        self.region.talks.append(talk)
        await self._entries(talk)

    async def say(self) -> None:
        """A member writes, sometimes with a document; who may not write any more is refused."""
        if not self.region.talks:
            return
        talk = self.chance.choice(self.region.talks)
        person = next((one for one in self.region.people if one.role in talk.members), None)
        if person is None:
            return
        cited = await self.deposit(person, talk.patient) if self.chance.random() < 0.4 else []
        documents = [one.ref for one in cited if one.ref.startswith("DocumentReference/")]
        body = conversations.message(
            talk.ref, sender=person.role, sent=self.hands.now, text="m", documents=documents, medium="app"
        )
        if talk.patient:
            body["subject"] = {"reference": talk.patient}
        try:
            ref = await self._write(body, caller(person))
        except errors.HubError:
            return
        named = set(talk.members)
        for thing in cited:
            thing.named |= named
        if talk.patient:
            self.region.things[talk.patient].named |= named
        written = self._thing(Thing(ref, talk.patient, author=person, named=named))
        talk.messages.append((self.region.now, written, cited))

    async def change_members(self) -> None:
        """Somebody joins, with some of the past or none, or leaves."""
        if not self.region.talks:
            return
        talk = self.chance.choice(self.region.talks)
        others = [one.role for one in self.region.people if one.role not in talk.members]
        body = await self._read(talk.ref)
        if others and self.chance.random() < 0.6:
            new, rule = self.chance.choice(others), self.chance.choice(("all", "from-joining", "date"))
            since = self.region.now - 24
            value = {"valueDate": self._instant(since)[:10]} if rule == "date" else {"valueCode": rule}
            body["recipient"].append({"reference": new, "extension": [{"url": members.HISTORY, **value}]})
            first = {"all": -1e9, "from-joining": 1e9}.get(rule, self._midnight(value.get("valueDate", "")))
            self._join(talk, new, first)
        elif len(talk.members) > 1:
            gone = self.chance.choice(talk.members)
            talk.members.remove(gone)
            body["recipient"] = [one for one in body["recipient"] if one["reference"] != gone]
        await self._update(talk.ref, body)
        await self._entries(talk)

    def _join(self, talk: Talk, new: str, first: float) -> None:
        talk.members.append(new)
        for thing in talk.around:
            thing.named.add(new)
        if talk.patient:
            self.region.things[talk.patient].named.add(new)
        for hour, written, cited in talk.messages:
            if hour >= first:
                for thing in (written, *cited):
                    thing.named.add(new)

    def _midnight(self, day: str) -> float:
        if not day:
            return 0.0
        return (dates.span(day)[0] / 1e6 - self._begin.timestamp()) / 3600

    async def _entries(self, talk: Talk) -> None:
        """Each member's inbox entry is theirs alone."""
        for role in talk.members:
            found = await self._all("Task", [("focus", talk.ref), ("owner", role), ("code", "inbox")])
            for ref in found:
                if ref not in self.region.things:
                    self._thing(Thing(ref, talk.patient, named={role}))

    # ---- what the dossier holds

    async def note(self) -> None:
        """A clinical resource, with a label or with what its kind is for."""
        patient, person = self._a_patient(), self.chance.choice(self.region.people)
        kind, label = self.chance.choice(list(CLINICAL)), self.chance.choice(LABELS)
        type, content = CLINICAL[kind]
        body: dict[str, Any] = {"resourceType": type, **content, "subject": {"reference": patient.ref}}
        if label:
            body["meta"] = {"security": [{"system": sharing.LEVEL, "code": label}]}
        ref = await self._write(body, caller(person))
        self._thing(Thing(ref, patient.ref, author=person, level=label or "partage", kind=kind))

    async def deposit(self, person: Person | None = None, patient: str | None = "any") -> list[Thing]:
        """A document with its file; without a label it is its author's, and of whom it is sent to."""
        person = person or self.chance.choice(self.region.people)
        patient = self._a_patient().ref if patient == "any" else patient
        label, mask = self.chance.choice(LABELS), self.chance.choice((None, None, *MASKS))
        is_note = self.chance.random() < 0.3
        raw = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"x").decode()}
        raw["id"] = self.record.new_id("Binary", raw)
        body: dict[str, Any] = {"resourceType": "DocumentReference", "status": "current"}
        body["content"] = [{"attachment": {"contentType": "text/plain", "url": f"Binary/{raw['id']}"}}]
        if patient:
            body["subject"] = {"reference": patient}
        if label:
            body["meta"] = {"security": [{"system": sharing.LEVEL, "code": label}]}
        if mask:
            body["securityLabel"] = [{"coding": [{"system": sharing.VISIBILITY, "code": mask}]}]
        if is_note:
            body["type"] = {"coding": [{"system": sharing.LIAISON_NOTE, "code": "OBS"}]}
        ref = await self._write(body, caller(person), changes.Create("Binary", str(raw["id"]), raw))
        level = label or ("partage" if is_note else "prive")
        hidden = frozenset({MASKS[mask]}) if mask else frozenset[str]()
        kind = "liaison" if is_note else "medical"
        made = [
            Thing(one, patient, person, level=level, kind=kind, hidden_from=hidden)
            for one in (ref, f"Binary/{raw['id']}")
        ]
        return [self._thing(one) for one in made]

    async def relabel(self) -> None:
        """An author changes with whom a document is shared; its file follows."""
        mine = [one for one in self.region.things.values() if one.ref.startswith("DocumentReference/") and one.author]
        if not mine:
            return
        thing, label = self.chance.choice(mine), self.chance.choice(LABELS[:-1])
        body = await self._read(thing.ref)
        body["meta"] = {"security": [{"system": sharing.LEVEL, "code": label}]}
        await self._update(thing.ref, body)
        url = body["content"][0]["attachment"]["url"]
        for one in (thing, self.region.things[url]):
            one.level = label

    # ---- the record

    async def _read(self, ref: str) -> dict[str, Any]:
        type, _, id = ref.partition("/")
        body: dict[str, Any] = msgspec.json.decode((await self.record.read(type, id, caller=access.SYSTEM)).body)
        return body

    async def _update(self, ref: str, body: dict[str, Any]) -> None:
        type, _, id = ref.partition("/")
        await self.record.commit([changes.Update(type, id, {**body, "id": id})], caller=access.SYSTEM)

    async def _all(self, type: str, params: list[tuple[str, str]]) -> list[str]:
        asked = query.parse(type, [*params, ("_count", "500")], self.record.definitions.search, now=self.hands.now)
        return [row.ref for row in (await self.record.search(asked.query, caller=access.SYSTEM)).rows]

    async def _found(self, type: str, category: str, known: set[str]) -> str:
        return next(one for one in await self._all(type, [("category", category)]) if one not in known)
