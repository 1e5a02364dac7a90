"""What does a Subscription ask for?

R4 subscription.html, and the profile `backport-subscription` of the Subscriptions R5 Backport for R4. Everything that
cannot be done exactly as it was asked is refused, with the place of the element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from common import clock, errors
from fhir_server import conditions, dates, media, query
from fhir_server.changes import Resource
from fhir_server.r4 import load
from fhir_server.subscriptions import secrets
from fhir_server.subscriptions.topics import Topic

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
CONTENTS = ("empty", "id-only", "full-resource")
MOST_AT_ONCE = 100
MOST_FILTERS = 20
MOST_TIMEOUT = 60
LEAST_HEARTBEAT = 1

_JSON = frozenset({"application/fhir+json", "application/json"})
_XML = frozenset({"application/fhir+xml", "application/xml"})
# About an answer, not about a resource.
_NOT_CRITERIA = frozenset("_count _sort _total _summary _elements _after _format _pretty _include _revinclude".split())
_KNOWN = frozenset(
    f"{BACKPORT}backport-{name}"
    for name in "filter-criteria heartbeat-period timeout max-count channel-type payload-content".split()
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What reading needs besides the resource. `refusal` says in French why an endpoint is not called, "" if it is."""

    definitions: load.Definitions
    topics: Mapping[str, Topic]
    refusal: Callable[[str], str]
    now: clock.Clock
    base: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Subscription that was understood.

    `queries` has the search of each resource type that it may hear of. `topic` is set for a backport one, whose
    notifications are Bundles with `content`; a plain R4 one sends the resource itself as `media` (json or xml), or
    nothing when that is empty. `most` is how many events one notification holds, `heartbeat` and `timeout` are seconds,
    0 when not asked for.
    """

    id: str
    status: str
    channel: str
    endpoint: str
    media: str
    queries: Mapping[str, conditions.Query]
    topic: Topic | None = None
    content: str = "id-only"
    heartbeat: int = 0
    timeout: int = 0
    most: int = 1
    end: int | None = None


def read(resource: Resource, setting: Setting) -> Wanted:
    """Understand a valid Subscription. Raises Invalid with every problem."""
    reader = _Reader(resource, setting)
    wanted = reader.wanted()
    if reader.issues:
        raise errors.Invalid(reader.issues[0].text, issues=tuple(reader.issues))
    return wanted


@dataclass(slots=True)
class _Reader:
    resource: Resource
    setting: Setting
    issues: list[errors.Issue] = field(default_factory=list)

    def wanted(self) -> Wanted:
        self._refuse_unknown_extensions()
        channel = self.resource["channel"]
        topic, queries = self._criteria()
        kind = channel["type"]
        if kind not in ("rest-hook", "websocket"):
            self._wrong("channel.type", f"canal {kind} : pas disponible ; rest-hook ou websocket", "not-supported")
        self.issues += secrets.problems(channel.get("header", []))
        return Wanted(
            id=self.resource.get("id", ""),
            status=self.resource["status"],
            channel=kind,
            endpoint=self._endpoint(kind, channel.get("endpoint", "")),
            media=self._media(kind, channel.get("payload", ""), is_backport=topic is not None),
            queries=queries,
            topic=topic,
            content=self._content(channel) if topic else "id-only",
            heartbeat=self._number(channel, "heartbeat-period", "UnsignedInt", least=LEAST_HEARTBEAT, most=86_400),
            timeout=self._number(channel, "timeout", "UnsignedInt", least=1, most=MOST_TIMEOUT),
            most=self._most(channel) if topic else 1,
            end=self._end(),
        )

    def _wrong(self, place: str, text: str, code: str = "value") -> None:
        self.issues.append(errors.Issue(text, f"Subscription.{place}", code))

    # --- criteria

    def _criteria(self) -> tuple[Topic | None, dict[str, conditions.Query]]:
        criteria = self.resource["criteria"]
        filters = [one.get("valueString", "") for one in _extensions(self.resource.get("_criteria"), "filter-criteria")]
        topic = self.setting.topics.get(criteria)
        if topic:
            return topic, self._filtered(topic, filters)
        if ":" in criteria.partition("?")[0]:
            text = f"sujet inconnu : {criteria[:200]} ; ceux de ce serveur sont dans son CapabilityStatement"
            self._wrong("criteria", text, "not-supported")
        elif filters:
            self._wrong("criteria", "un filtre (backport-filter-criteria) demande un sujet (URL canonique)")
        else:
            type, _, rest = criteria.removeprefix("/").partition("?")
            if found := self._query(type, [rest], "criteria"):
                return None, {type: found}
        return None, {}

    def _filtered(self, topic: Topic, filters: list[str]) -> dict[str, conditions.Query]:
        """The searches of a topic; the filters of one type must all hold."""
        asked: dict[str, list[str]] = {topic.type: []} if topic.type else {}
        if len(filters) > MOST_FILTERS:
            self._wrong("criteria.extension", f"{MOST_FILTERS} filtres au plus", "too-long")
        for one in filters[:MOST_FILTERS]:
            type, mark, rest = one.partition("?")
            if not mark:
                type, rest = (topic.type or "", one) if "=" in one else (one, "")
            if topic.type and type != topic.type:
                self._wrong("criteria.extension", f"filtre de {type[:64]} : ce sujet porte sur {topic.type}")
            else:
                asked.setdefault(type, []).append(rest)
        if not asked:
            self._wrong("criteria.extension", "ce sujet demande un filtre : Type?paramètre=valeur", "required")
        found = {}
        for type, texts in asked.items():
            if one_query := self._query(type, [topic.criteria, *texts], "criteria.extension"):
                found[type] = one_query
        return found

    def _query(self, type: str, texts: list[str], place: str) -> conditions.Query | None:
        tables, now = self.setting.definitions.search, self.setting.now()
        if type not in tables.by_type:
            self._wrong(place, f"type inconnu : « {type[:64]} » ; attendu Type?paramètre=valeur")
            return None
        try:
            params = [pair for text in texts for pair in media.parameters(text.encode())]
            for name, _ in params:
                if name.partition(":")[0] in _NOT_CRITERIA:
                    self._wrong(place, f"{name[:64]} n'est pas un critère de recherche", "not-supported")
                    return None
            return query.parse(type, params, tables, now=now, base=self.setting.base).query
        except errors.Unreadable as problem:
            self.issues += [replace(one, expression=f"Subscription.{place}") for one in problem.issues]
            return None

    # --- channel

    def _endpoint(self, kind: str, endpoint: str) -> str:
        if kind == "websocket" and endpoint:
            self._wrong("channel.endpoint", "websocket : pas d'adresse, le client se connecte", "business-rule")
        elif kind == "rest-hook":
            if not endpoint:
                self._wrong("channel.endpoint", "rest-hook : l'adresse à appeler est obligatoire", "required")
            elif problem := self.setting.refusal(endpoint):
                self._wrong("channel.endpoint", problem, "business-rule")
        return endpoint

    def _media(self, kind: str, payload: str, *, is_backport: bool) -> str:
        base, _, rest = payload.partition(";")
        found = "json" if base.strip() in _JSON else "xml" if base.strip() in _XML else ""
        if payload and (not found or rest.replace(" ", "") not in ("", "fhirVersion=4.0", "charset=utf-8")):
            text = f"payload {payload[:64]} : application/fhir+json ou application/fhir+xml"
            self._wrong("channel.payload", text, "not-supported")
        if payload and kind == "websocket" and not is_backport:
            text = "websocket sans sujet : le serveur n'envoie que « ping », pas de payload"
            self._wrong("channel.payload", text, "not-supported")
        return found or ("json" if is_backport else "")

    def _content(self, channel: Resource) -> str:
        given = [one.get("valueCode") for one in _extensions(channel.get("_payload"), "payload-content")]
        if len(given) != 1 or given[0] not in CONTENTS:
            text = f"extension backport-payload-content : une, parmi {', '.join(CONTENTS)}"
            self._wrong("channel.payload", text, "required" if not given else "value")
            return "empty"
        return str(given[0])

    def _most(self, channel: Resource) -> int:
        return self._number(channel, "max-count", "PositiveInt", least=1, most=MOST_AT_ONCE) or MOST_AT_ONCE

    def _number(self, channel: Resource, name: str, kind: str, *, least: int, most: int) -> int:
        given = [one.get(f"value{kind}") for one in _extensions(channel, name)]
        if not given:
            return 0
        number = given[0]
        if len(given) > 1 or not isinstance(number, int) or not least <= number <= most:
            self._wrong("channel.extension", f"backport-{name} : un nombre, de {least} à {most}")
            return 0
        return number

    # --- the rest

    def _end(self) -> int | None:
        if "end" not in self.resource:
            return None
        end: int = dates.span(self.resource["end"])[0]
        return end

    def _refuse_unknown_extensions(self) -> None:
        """An extension of the backport that this server does not follow would change what is sent."""
        for place, element in _elements(self.resource):
            for one in element.get("extension", ()):
                if one["url"].startswith(BACKPORT) and one["url"] not in _KNOWN:
                    self._wrong(f"{place}extension", f"extension non prise en charge : {one['url']}", "not-supported")


def _elements(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    channel = resource["channel"]
    yield "", resource
    yield "criteria.", resource.get("_criteria") or {}
    yield "channel.", channel
    yield "channel.type.", channel.get("_type") or {}
    yield "channel.payload.", channel.get("_payload") or {}


def _extensions(element: Mapping[str, Any] | None, name: str) -> Iterable[Mapping[str, Any]]:
    wanted = f"{BACKPORT}backport-{name}"
    return [one for one in (element or {}).get("extension", ()) if one["url"] == wanted]


def is_over(wanted: Wanted, now: datetime) -> bool:
    """Has its `end` passed?"""
    return wanted.end is not None and wanted.end <= clock.micros(now)
