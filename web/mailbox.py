"""Which conversations does this person have, and what does each line of the list say? (MODEL-03, DISC-05)

One search gives the entries with their headers and patients; one gives the last messages, one the senders' names.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlencode

from web import fhir, names, people, words
from web.room import Room
from web.session import SignedIn

Resource = names.Resource

PAGE = 40
VIEWS = {"": "Toutes", "non-lues": "Non lues", "a-traiter": "À traiter"}
URGENT = frozenset({"urgent", "asap", "stat"})


@dataclass(frozen=True, slots=True)
class Line:
    """One conversation of the list. `when` is in words, `instant` for machines; `excerpt` may be empty."""

    id: str
    title: str
    patient: str
    birth: str
    author: str
    excerpt: str
    when: str
    instant: str
    unread: bool
    state: str  # "", "a-traiter" or "traite"
    urgent: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A page of the list; `view` is a key of VIEWS, `more` the query string of the next page or an empty string."""

    lines: list[Line]
    unread: int
    view: str
    more: str


async def listed(person: SignedIn, room: Room, *, view: str = "", after: str = "", patient: str = "") -> Mailbox:
    """One page of the person's list, newest first; of one patient (`Patient/x`) if one is named."""
    view = view if view in VIEWS else ""
    entries = [*_entries(person.actor), *([("patient", patient)] if patient else [])]
    page, unread = await asyncio.gather(
        person.api.search("Task", [*entries, *_VIEW_PARAMS[view], *_PAGE_PARAMS], after=after),
        person.api.count("Task", [*entries, *_VIEW_PARAMS["non-lues"]]),
    )
    headers = {ref: one for ref, one in page.included.items() if ref.startswith("Communication/")}
    last = await _last_messages(person.api, list(headers))
    known = await people.known(person.api, [one["sender"] for one in last.values() if "sender" in one])
    lines = []
    for task in page.matches:
        ref = names.reference(task.get("focus"))
        if ref in headers:
            subject = page.included.get(names.reference(headers[ref].get("subject")))
            message = last.get(ref)
            author = _author(message, known, person.actor)
            lines.append(_line(task, headers[ref], patient=subject, message=message, author=author, room=room))
    more = urlencode({"vue": view, "suite": page.after}) if page.after else ""
    return Mailbox(lines, unread, view, more)


def _entries(actor: str) -> list[tuple[str, str]]:
    return [("owner", actor), ("code", f"{names.TASK}|inbox")]


def _line(
    task: Resource,
    header: Resource,
    *,
    patient: Resource | None,
    message: Resource | None,
    author: str,
    room: Room,
) -> Line:
    instant = (message or {}).get("sent") or task.get("lastModified") or task["meta"]["lastUpdated"]
    return Line(
        id=header["id"],
        title=title(header),
        patient=words.patient_name(patient) if patient else "",
        birth=words.birth(patient, room.local()) if patient else "",
        author=author,
        excerpt=excerpt(message) if message else "",
        when=words.moment(instant, room.now(), room.zone),
        instant=instant,
        unread=names.code(task.get("businessStatus"), names.INBOX_STATUS) == "unread",
        state=STATES.get(task["status"], ""),
        urgent=task.get("priority") in URGENT or header.get("priority") in URGENT,
        closed=header["status"] == "completed",
    )


def title(header: Resource) -> str:
    """The conversation's title, never empty."""
    return str(header.get("topic", {}).get("text") or "Conversation sans titre")


def excerpt(message: Resource) -> str:
    """One line that says what the last message holds."""
    if message["status"] == "entered-in-error":
        return "Message retiré"
    texts = [one["contentString"] for one in message.get("payload", ()) if "contentString" in one]
    documents = sum("contentString" not in one for one in message.get("payload", ()))
    if texts:
        return words.one_line(" ".join(texts))
    return "Document joint" if documents == 1 else f"{documents} documents joints" if documents else "Message vide"


async def _last_messages(api: fhir.Client, headers: list[str]) -> dict[str, Resource]:
    """The newest message of each conversation, by the header's reference.

    A busy conversation may fill the first page alone: those still missing are asked for once more, then left without
    an excerpt rather than asked for one by one.
    """
    last: dict[str, Resource] = {}
    for _ in range(2):
        missing = [ref for ref in headers if ref not in last]
        if not missing:
            break
        params = [("part-of", ",".join(missing)), ("_sort", "-sent"), ("_count", str(3 * len(missing)))]
        page = await api.search("Communication", params)
        for message in page.matches:
            if message["status"] != "preparation":
                last.setdefault(_header_of(message), message)
        if not page.after:
            break
    return last


def _header_of(message: Resource) -> str:
    return names.reference(next(iter(message.get("partOf", ())), None))


def _author(message: Resource | None, known: dict[str, people.Person], actor: str) -> str:
    ref = names.reference((message or {}).get("sender"))
    if not ref:
        return ""
    return "Vous" if ref == actor else known[ref].name


STATES = {"in-progress": "a-traiter", "completed": "traite"}
_VIEW_PARAMS: dict[str, list[tuple[str, str]]] = {
    "": [],
    "non-lues": [("business-status", f"{names.INBOX_STATUS}|unread")],
    "a-traiter": [("status", "in-progress")],
}
# `modified` is when the last message came; _lastUpdated would move a conversation up each time it is read.
_PAGE_PARAMS = [
    ("_include", "Task:focus"),
    ("_include", "Task:patient"),
    ("_sort", "-modified"),
    ("_count", str(PAGE)),
]
