"""What does a conversation hold, as a page shows it? Header, members, messages, documents, honest receipts.

MODEL-01, MODEL-02, MODEL-04, DISC-04. FHIR in, values in French out; a handful of searches for a page of messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from markupsafe import Markup

from common import errors
from web import fhir, mailbox, names, papers, people, receipts, words
from web.room import Room
from web.session import SignedIn

Resource = names.Resource

PAGE = 50
_MEDIA = {"mssante": "par MSSanté", "hospital": "de l'hôpital", "api": "logiciel métier"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message as shown. `key` is the identifier that the sender's browser made, to replace what it shows already.

    `text` is safe markup, `spoken` one line for screen readers, `starts_day` the first message of its `day` here.
    """

    id: str
    key: str
    mine: bool
    author: people.Person
    day: str
    starts_day: bool
    hour: str
    when: str
    instant: str
    medium: str
    text: Markup | None
    spoken: str
    documents: list[papers.Paper]
    receipts: list[receipts.Receipt]
    withdrawn: bool
    urgent: bool


@dataclass(frozen=True, slots=True)
class Thread:
    """A page of messages, oldest first; `more` is the query string of the page before, empty at the beginning."""

    messages: list[Message]
    more: str


@dataclass(frozen=True, slots=True)
class Head:
    """What stays in view: title, patient, members.

    `state` and `unread` are those of the person's own inbox entry; software without one may still read (`has_entry`).
    """

    id: str
    title: str
    patient: str
    born: str
    age: str
    members: list[people.Person]
    state: str
    unread: bool
    urgent: bool
    closed: bool
    has_entry: bool


async def head(person: SignedIn, room: Room, id: str) -> Head:
    """The conversation's header. Raises NotFound for a message, or for what the person may not see."""
    header = await person.api.read("Communication", id)
    if "partOf" in header:
        raise errors.NotFound("c'est un message, pas une conversation")
    subject = names.reference(header.get("subject"))
    task, known, patient = await asyncio.gather(
        entry(person, id),
        people.known(person.api, header.get("recipient", ())),
        _patient(person.api, subject),
    )
    status = names.code((task or {}).get("businessStatus"), names.INBOX_STATUS)
    return Head(
        id=id,
        title=mailbox.title(header),
        patient=words.patient_name(patient) if patient else "",
        born=words.born(patient) if patient else "",
        age=words.age(patient, room.local()) if patient else "",
        members=list(known.values()),
        state=mailbox.STATES.get((task or {}).get("status", ""), ""),
        unread=status == "unread",
        urgent=bool({header.get("priority"), (task or {}).get("priority")} & mailbox.URGENT),
        closed=header["status"] == "completed",
        has_entry=task is not None,
    )


async def entry(person: SignedIn, id: str) -> Resource | None:
    """The person's own inbox entry for this conversation."""
    params = [("owner", person.actor), ("code", f"{names.TASK}|inbox"), ("focus", f"Communication/{id}")]
    return next(iter((await person.api.search("Task", params)).matches), None)


async def messages(person: SignedIn, room: Room, id: str, *, after: str = "") -> Thread:
    """The newest page of messages, or the one that `after` leads to."""
    params = [("part-of", f"Communication/{id}"), ("_sort", "-sent"), ("_count", str(PAGE))]
    page = await person.api.search("Communication", params, after=after)
    found = [one for one in reversed(page.matches) if one["status"] != "preparation"]
    return Thread(await shown(person, room, found), urlencode({"suite": page.after}) if page.after else "")


async def newest(person: SignedIn, id: str) -> str:
    """The id of the last message, empty when there is none."""
    params = [("part-of", f"Communication/{id}"), ("_sort", "-sent"), ("_count", "1")]
    return next((one["id"] for one in (await person.api.search("Communication", params)).matches), "")


async def shown(person: SignedIn, room: Room, found: list[Resource]) -> list[Message]:
    """Messages in order, with their authors, documents and receipts."""
    documents, ledger = await asyncio.gather(
        papers.cited(person.api, found), receipts.ledger(person.api, [one["id"] for one in found])
    )
    references = [one["sender"] for one in found if "sender" in one]
    references += [{"reference": _prepared_by(one)} for one in found if _prepared_by(one)]
    references += [task["owner"] for tasks in ledger.values() for task in tasks if "owner" in task]
    known = await people.known(person.api, references)
    result, day = [], ""
    for resource in found:
        message = _message(resource, person.actor, room, known=known, documents=documents, ledger=ledger, after=day)
        day = message.day
        result.append(message)
    return result


def _message(
    resource: Resource,
    actor: str,
    room: Room,
    *,
    known: dict[str, people.Person],
    documents: dict[str, Resource],
    ledger: dict[str, list[Resource]],
    after: str,
) -> Message:
    sender = names.reference(resource.get("sender"))
    instant = str(resource.get("sent") or resource["meta"]["lastUpdated"])
    when = words.parsed(instant)
    day = words.day(when, room.now(), room.zone) if when else ""
    withdrawn = resource["status"] == "entered-in-error"
    payload = [] if withdrawn else resource.get("payload", [])
    texts = [str(one["contentString"]) for one in payload if "contentString" in one]
    return Message(
        id=resource["id"],
        key=_key(resource),
        mine=sender == actor,
        author=_author(sender, _prepared_by(resource), known),
        day=day,
        starts_day=day != after,
        hour=f"{when.astimezone(room.zone):%H:%M}" if when else "",
        when=words.moment(instant, room.now(), room.zone),
        instant=instant,
        medium=_medium(resource),
        text=words.text_markup("\n\n".join(texts)) if texts else None,
        spoken=mailbox.excerpt(resource),
        documents=papers.listed(payload, documents),
        receipts=[receipts.said(one, known, room) for one in ledger.get(resource["id"], ())],
        withdrawn=withdrawn,
        urgent=resource.get("priority") in mailbox.URGENT,
    )


def _author(sender: str, delegate: str, known: dict[str, people.Person]) -> people.Person:
    """The sender; with the name of who sent it for them (ACC-14)."""
    author = known.get(sender) or people.Person("", "Auteur inconnu")
    acting = known.get(delegate)
    return replace(author, name=f"{acting.name} pour {author.name}") if acting else author


def _prepared_by(resource: Resource) -> str:
    held = (one for one in resource.get("extension", ()) if one.get("url") == names.PREPARED_BY)
    return next((names.reference(one.get("valueReference")) for one in held), "")


def _medium(resource: Resource) -> str:
    codes = (names.code(one, names.MEDIUM) for one in resource.get("medium", ()))
    return next((_MEDIA[code] for code in codes if code in _MEDIA), "")


def _key(resource: Resource) -> str:
    mine = (one for one in resource.get("identifier", ()) if one.get("system") == names.URI)
    return next((one["value"].removeprefix("urn:uuid:") for one in mine), "")


async def _patient(api: fhir.Client, ref: str) -> Resource | None:
    if not ref.startswith("Patient/"):
        return None
    return next(iter((await api.search("Patient", [("_id", ref.partition("/")[2])])).matches), None)


def summary(members: Iterable[people.Person], actor: str) -> str:
    """The members on one line, the reader last: "Dr Paul Lefebvre, Karim Benali et vous"."""
    others = [one.name for one in members if one.ref != actor]
    if not others:
        return "Vous seul pour l'instant"
    return ", ".join(others) + " et vous"
