"""What does the server demand of a write of a Subscription, and what does it keep apart?

R4 subscription.html#status: a client asks with `requested`, the server makes it `active` or `error`; `off` ends it. The
owner is whoever wrote it last: a write by others than the owner (the machine's operator) changes no rights, so that
nobody's endpoint ever receives with more rights than its owner has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from common import clock, errors
from fhir_server import access, conditions
from fhir_server.changes import Change, Create, Resource, Subscribe, Update
from fhir_server.rules import Rule, View
from fhir_server.subscriptions import owner, reading, secrets
from fhir_server.subscriptions.kept import Subscriber

# The server's own hand: it sets the status, and what it writes is not asked for again.
SERVER = access.Caller(actor=None, client="hub", memberships=None, name="Abonnements")
MOST_OF_ONE = 200  # that one person sees, which are mostly their own
_WATCHED = ("criteria", "_criteria", "channel", "end")


def rule(setting: reading.Setting) -> Rule:
    """The rule for the store."""

    async def run(wanted: list[Change], caller: access.Caller, view: View) -> list[Change]:
        if caller is SERVER:
            return wanted
        done: list[Change] = []
        if caller.memberships is not None:
            await _check_count(wanted, caller, view)
        for change in wanted:
            if isinstance(change, (Create, Update)) and change.type == "Subscription":
                done += await _written(change, caller, view, setting)
            else:
                done.append(change)
        return done

    return Rule(frozenset({"Subscription"}), run)


async def _check_count(wanted: list[Change], caller: access.Caller, view: View) -> None:
    """Each costs a search whenever something changes: nobody slows down all others. Raises TooMany."""
    new = sum(isinstance(one, Create) and one.type == "Subscription" for one in wanted)
    if new:
        asked = conditions.Query("Subscription", count=MOST_OF_ONE)
        there = (await view.search(asked, caller=replace(caller, scopes=()))).rows
        if len(there) + new > MOST_OF_ONE:
            raise errors.TooMany(f"{MOST_OF_ONE} abonnements au plus : supprimez ceux qui ne servent plus")


async def _written(
    change: Create | Update, caller: access.Caller, view: View, setting: reading.Setting
) -> list[Change]:
    kept = await view.subscriber(change.id) if isinstance(change, Update) else None
    before = await _before(change, view)
    body: Resource = msgspec.json.decode(msgspec.json.encode(change.body))
    wanted = reading.read(body, setting)
    status = _status(body, before, kept)
    if status == "requested" and reading.is_over(wanted, setting.now()):
        text = "end : la date de fin est déjà passée"
        raise errors.Invalid(text, issues=(errors.Issue(text, "Subscription.end", "business-rule"),))
    channel = body["channel"]
    old = before.get("channel", {}).get("endpoint", "") if kept else ""
    same = secrets.place(old) == secrets.place(channel.get("endpoint", ""))
    shown, secret = secrets.apart(channel.get("header", []), kept.secrets if kept else "", same_place=same)
    if shown:
        channel["header"] = shown
    body["status"] = status
    body.pop("error", None)
    if "error" in before and status != "requested":
        body["error"] = before["error"]
    new = type(change)(change.type, change.id, body, *_rest(change))
    state = Subscribe(change.id, status, clock.micros(view.now()), _owner(caller, kept), secret)
    if kept and status == kept.state in ("active", "error"):
        return [new]
    return [new, state]


def _rest(change: Create | Update) -> tuple[Any, ...]:
    return (change.version, change.readers) if isinstance(change, Update) else (change.readers,)


def _owner(caller: access.Caller, kept: Subscriber | None) -> str | None:
    if kept and kept.owner and caller.memberships is None:
        return None
    return owner.text(caller)


async def _before(change: Create | Update, view: View) -> Resource:
    if isinstance(change, Create):
        return {}
    found = (await view.many([f"Subscription/{change.id}"])).values()
    resource: Resource = next((msgspec.json.decode(one.body) for one in found), {})
    return resource


def _status(body: Resource, before: Resource, kept: Subscriber | None) -> str:
    """The status to store. Raises Invalid for one that only the server sets."""
    given: str = body["status"]
    if given in ("requested", "off"):
        return given
    if kept is None or given != before.get("status"):
        text = f"status {given} : fixé par le serveur ; demandez « requested », ou « off » pour arrêter"
        raise errors.Invalid(text, issues=(errors.Issue(text, "Subscription.status", "business-rule"),))
    changed = any(body.get(name) != before.get(name) for name in _WATCHED)
    return "requested" if changed else given
