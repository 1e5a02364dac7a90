"""Who was in this conversation, from when to when, and from when on do they read it? (MODEL-05, DISC-07, DISC-08)

Beside each header stands a CareTeam (category `conversation`) with a dated entry for each membership; leaving and
coming back are two. Whoever adds a member says on the recipient what of the past they read: `from-joining` (the
default), `all`, or from a date. What was exchanged during a membership stays readable by whoever took part.
"""

from __future__ import annotations

from dataclasses import replace

from common import clock, errors
from fhir_server import changes, dates, query
from fhir_server.rights import sharing
from hub import conversations
from hub.rules import draft, inbox
from mapping import systems

Resource = conversations.Resource
HISTORY = f"{systems.HUB}/StructureDefinition/history"
ALL, FROM_JOINING = "all", "from-joining"
_PAGE = 500


async def kept(
    header: str, before: Resource | None, body: Resource, room: draft.Draft, *, secret: bytes
) -> list[changes.Change]:
    """What the members' CareTeam becomes with this header (`Communication/x`), and what of the past newcomers read.

    Takes the history rules off the header's recipients: they are kept with the membership. Raises Invalid for a rule
    that means nothing.
    """
    asked = _rules(body)
    id = inbox.derived_id(secret, f"members|{header}", body.get("subject"), type="CareTeam")
    held = await room.stored([f"CareTeam/{id}"])
    version, team = held.get(f"CareTeam/{id}", (None, None))
    now = clock.instant(room.view.now())
    present, had = conversations.members(body), conversations.members(before) if before else []
    entries: list[Resource] = [dict(one) for one in (team or {}).get("participant", ())]
    if team is None:
        entries = [_entry(one, now, FROM_JOINING) for one in had]  # a conversation from before there were such teams
    for one in entries:
        if "end" not in one["period"] and one["member"]["reference"] not in present:
            one["period"] = {**one["period"], "end": now}
    open_now = {one["member"]["reference"] for one in entries if "end" not in one["period"]}
    came = [one for one in present if one not in open_now]
    entries += [_entry(one, now, asked.get(one, FROM_JOINING)) for one in came]
    if team and entries == team["participant"]:
        return []
    readers = frozenset(present)
    after = _team(id, body, entries)
    result: list[changes.Change] = [changes.Create("CareTeam", id, after, readers)]
    if team:
        result = [changes.Update("CareTeam", id, after, version, readers)]
    if came and "subject" in body:
        result.append(_shared(body["subject"]["reference"], frozenset(came)))
    past = {one: asked[one] for one in came if one in asked} if before else {}
    return [*result, *await _past(header, past, room)]


def _rules(body: Resource) -> dict[str, str]:
    """What each recipient is to read of the past: `all`, or a date."""
    found: dict[str, str] = {}
    recipients = []
    for place, one in enumerate(body.get("recipient", ())):
        said = [extension for extension in one.get("extension", ()) if extension.get("url") == HISTORY]
        for extension in said:
            rule = extension.get("valueCode") or extension.get("valueDate") or ""
            if rule not in (ALL, FROM_JOINING) and not _is_date(rule):
                at = f"Communication.recipient[{place}].extension"
                raise errors.Invalid(f"reprise attendue : {ALL}, {FROM_JOINING}, ou une date (valueDate)", at=at)
            if rule != FROM_JOINING:
                found[str(one.get("reference"))] = str(rule)
        plain = {name: value for name, value in one.items() if name != "extension"}
        rest = [extension for extension in one.get("extension", ()) if extension not in said]
        recipients.append({**plain, "extension": rest} if rest else plain)
    if "recipient" in body:
        body["recipient"] = recipients
    return found


def _is_date(text: str) -> bool:
    try:
        dates.span(text)
    except ValueError:
        return False
    return True


def _entry(member: str, now: str, rule: str) -> Resource:
    value = {"valueCode": rule} if rule in (ALL, FROM_JOINING) else {"valueDate": rule}
    return {
        "extension": [{"url": HISTORY, **value}],
        "member": conversations.reference(member),
        "period": {"start": now},
    }


def _team(id: str, header: Resource, entries: list[Resource]) -> Resource:
    team: Resource = {
        "resourceType": "CareTeam",
        "id": id,
        "identifier": [{"system": f"{systems.HUB}/NamingSystem/conversation-members", "value": id}],
        "status": "active" if header["status"] == "in-progress" else "inactive",
        "category": [conversations.concept(sharing.CARE_TEAM, sharing.CONVERSATION)],
        "participant": entries,
    }
    return {**team, "subject": header["subject"]} if "subject" in header else team


async def _past(header: str, asked: dict[str, str], room: draft.Draft) -> list[changes.Change]:
    """The earlier messages that newcomers are to read, with their documents and these documents' files."""
    if not asked:
        return []
    result: list[changes.Change] = []
    since = {member: dates.BEGINNING if rule == ALL else dates.span(rule)[0] for member, rule in asked.items()}
    for message in await _messages(header, room):
        sent = dates.span(message["sent"])[1] if "sent" in message else dates.BEGINNING
        readers = frozenset(member for member, first in since.items() if sent >= first)
        if message["status"] == "preparation" or not readers:
            continue
        cited = [one["contentReference"]["reference"] for one in message["payload"] if "contentReference" in one]
        files = [
            str(content["attachment"].get("url", ""))
            for _, document in (await room.stored(cited)).values()
            for content in document.get("content", ())
        ]
        refs = [f"Communication/{message['id']}", *cited, *(one for one in files if one.startswith("Binary/"))]
        result += [_shared(ref, readers) for ref in refs]
    return result


def _shared(ref: str, readers: frozenset[str]) -> changes.Share:
    type, _, id = ref.partition("/")
    return changes.Share(type, id, readers)


async def _messages(header: str, room: draft.Draft) -> list[Resource]:
    view, found = room.view, list[Resource]()
    params, after = [("part-of", header), ("_count", str(_PAGE))], None
    while True:
        asked = query.parse("Communication", params, view.definitions.search, now=view.now()).query
        page = await view.search(asked if after is None else replace(asked, after=after))
        found += [draft.decode(row.body) for row in page.rows]
        if page.after is None:
            return found
        after = page.after
