"""What does a search URL ask for?

Pure: names and values in, a `conditions.Query` and what the answer needs besides out. FHIR R4 search,
https://hl7.org/fhir/R4/search.html; `criteria.py` reads the value of one parameter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from common import clock, errors
from fhir_server import chains, conditions, criteria, filters, following, index, sort_values
from fhir_server.criteria import refusal
from fhir_server.r4.search_params import SearchTables

DEFAULT_COUNT = 20
MOST_COUNT = 1000

MOST_PARAMETERS = 200

# A contained resource has no life of its own: it is found, shown and protected with the resource that holds it.
_REFUSED = {
    "_contained": "une ressource contenue se trouve avec celle qui la contient",
    "_containedType": "une ressource contenue se trouve avec celle qui la contient",
    "_type": "ne s'emploie qu'à la racine du serveur ou d'un compartiment",
}

Include = following.Include


@dataclass(frozen=True, slots=True)
class Parsed:
    """A search that was understood.

    `applied` are the parameters for the self link, with the count that is really used; `ignored` the names that
    lenient handling left out. `summary_count`: no entries, only the total. `pretty` None: not asked.
    """

    query: conditions.Query
    includes: tuple[Include, ...]
    revincludes: tuple[Include, ...]
    applied: list[tuple[str, str]]
    ignored: list[str]
    summary_count: bool
    elements: tuple[str, ...]
    summary: str
    format: str | None
    pretty: bool | None


def parse(
    type: str,
    params: Iterable[tuple[str, str]],
    tables: SearchTables,
    *,
    now: datetime,
    lenient: bool = False,
    base: str = "",
    iterate: bool = False,
    types: tuple[str, ...] = (),
    codes: criteria.Codes | None = None,
) -> Parsed:
    """Read the parameters of a search on `type`, URL-decoded, those of the query and of a POST body together.

    `types` are searched instead of `type` when there are any. Unknown parameters are refused unless `lenient`;
    `iterate` says that the caller follows `:iterate`. `now` is for `ap`, `codes` for `:in` and the like
    (`terminology/in_search.py`). Raises errors.Unreadable with every parameter that cannot be answered as it was asked.
    """
    setting = criteria.Setting(tables, base.rstrip("/"), clock.micros(now), {} if codes is None else codes)
    draft = _Draft(types or (type,), setting, iterate, several=bool(types))
    issues: list[errors.Issue] = []
    for number, (name, value) in enumerate(params):
        if number == MOST_PARAMETERS:
            raise refusal(f"au plus {MOST_PARAMETERS} paramètres", name[:64], "too-costly")
        try:
            _read(draft, name, value, lenient=lenient)
        except errors.Unreadable as problem:
            issues += problem.issues
    if issues:
        raise errors.Unreadable(issues[0].text, at=issues[0].expression, issues=tuple(issues))
    return draft.done()


def _read(draft: _Draft, name: str, value: str, *, lenient: bool) -> None:
    _check_characters(name, value)
    if read := _CONTROLS.get(name.partition(":")[0]):
        read(draft, name, value)
        return
    try:
        if lenient and not value:
            raise chains.Unknown("")
        found = _condition(draft, name, value)
        draft.where += found.of if isinstance(found, conditions.And) else [found]
    except chains.Unknown as unknown:
        if not lenient:
            raise refusal(unknown.text, name, "not-supported") from None
        draft.ignored.append(name)
    else:
        draft.applied.append((name, value))


def _condition(draft: _Draft, name: str, value: str) -> conditions.Condition:
    """Raises chains.Unknown for a name that cannot be asked here."""
    code, _, modifier = name.partition(":")
    if reason := _REFUSED.get(code):
        raise chains.Unknown(f"{code} : {reason}")
    if code == "_filter":
        if modifier:
            raise refusal("_filter n'a pas de modificateur", name, "not-supported")
        return filters.condition(draft.types, value, draft.setting)
    if draft.several and not name.startswith(("_has:", "_list")):
        _check_shared(draft, code.partition(".")[0])
    if chains.is_chain(name):
        return chains.condition(draft.types, name, value, draft.setting)
    if draft.several:
        return chains.leaf(draft.types, name, value, draft.setting, at=name)
    param = draft.setting.tables.param(draft.types[0], code)
    if param is None:
        raise chains.Unknown(_unknown(draft, code))
    if param.refusal:
        raise chains.Unknown(f"{code} : {param.refusal}")
    return criteria.condition(param, modifier, value, draft.setting)


def _check_shared(draft: _Draft, code: str) -> None:
    """Several types are searched by what they share (search.html#all): else some would be left out in silence."""
    for type in draft.types:
        if draft.setting.tables.param(type, code) is None:
            raise chains.Unknown(f"Paramètre de recherche inconnu pour {type} : « {code[:64]} » ; précisez _type")


def referring(includes: Sequence[Include], references: Sequence[str], *, count: int) -> conditions.Query:
    """The search that runs some `_revinclude`: resources that refer to one of `references` (`Type/id`)."""
    addresses = [(index.address(one), one) for one in references]
    keys = dict.fromkeys(
        index.reference_mask(include.type, include.param) ^ address
        for include in includes
        for address, one in addresses
        if include.target is None or one.startswith(f"{include.target}/")
    )
    types = tuple(dict.fromkeys(include.type for include in includes))
    condition = conditions.Keys(tuple(keys) or (index.NOTHING,), ordered=True)
    return conditions.Query(types[0], (condition,), count=count, types=types if len(types) > 1 else ())


def stating(addresses: Iterable[str], types: Sequence[str], tables: SearchTables, *, count: int) -> conditions.Query:
    """The search for resources of these types whose `url` is one of `addresses`, whatever their version."""
    able = tuple(one for one in types if (param := tables.param(one, "url")) and param.kind == "uri")
    urls = dict.fromkeys(one.partition("|")[0] for one in addresses)
    keys = tuple(index.uri_key(type, "url", url) for type in able for url in urls)
    return conditions.Query("", (conditions.Keys(keys or (index.NOTHING,)),), count=count, types=able)


@dataclass(slots=True)
class _Draft:
    """What has been read so far."""

    types: tuple[str, ...]
    setting: criteria.Setting
    iterate: bool
    several: bool
    where: list[conditions.Condition] = field(default_factory=list)
    sort: list[conditions.Sort] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    revincludes: list[Include] = field(default_factory=list)
    applied: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    single: dict[str, str] = field(default_factory=dict)

    def done(self) -> Parsed:
        count = min(int(self.single.get("_count", DEFAULT_COUNT)), MOST_COUNT)
        summary_count = count == 0 or self.single.get("_summary") == "count"
        pretty = self.single.get("_pretty")
        if not summary_count or count == 0:
            self.applied.append(("_count", str(count)))
        query = conditions.Query(
            type="" if self.several else self.types[0],
            types=self.types if self.several else (),
            where=tuple(self.where),
            sort=tuple(self.sort),
            count=0 if summary_count else count,
            after=self.single.get("_after"),
            total=summary_count or self.single.get("_total", "none") != "none",
        )
        return Parsed(
            query=query,
            includes=tuple(dict.fromkeys(self.includes)),
            revincludes=tuple(dict.fromkeys(self.revincludes)),
            applied=self.applied,
            ignored=self.ignored,
            summary_count=summary_count,
            elements=tuple(one for one in self.single.get("_elements", "").split(",") if one),
            summary=self.single.get("_summary", ""),
            format=self.single.get("_format"),
            pretty=None if pretty is None else pretty == "true",
        )


# ---- what is wrong with a name -------------------------------------------------------------------------------------


def _check_characters(name: str, value: str) -> None:
    """NUL and halves of surrogate pairs are in no valid FHIR value, and no database takes them."""
    text = name + value
    if "\0" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
        raise refusal("La recherche contient des caractères interdits", "", "invalid")


def _unknown(draft: _Draft, code: str) -> str:
    known = [one.code for one in draft.setting.tables.searchable(draft.types[0])] + list(_CONTROLS)
    near = difflib.get_close_matches(code[:64], known, n=3)
    hint = f" ; voulez-vous dire {', '.join(near)} ?" if near else ""
    return f"Paramètre de recherche inconnu pour {draft.types[0]} : « {code[:64]} »{hint}"


# ---- parameters about the answer ------------------------------------------------------------------------------------

Read = Callable[[_Draft, str, str], None]


def _once(allowed: str, expected: str, *, in_self_link: bool = True) -> Read:
    """A parameter that has one value, of the form `allowed`."""
    form = re.compile(allowed, re.ASCII | re.DOTALL)

    def read(draft: _Draft, name: str, value: str) -> None:
        if not form.fullmatch(value):
            raise refusal(f"{name} : {expected}", name)
        if draft.single.setdefault(name, value) != value:
            raise refusal(f"{name} est donné deux fois avec des valeurs différentes", name)
        if in_self_link and (name, value) not in draft.applied:
            draft.applied.append((name, value))

    return read


def _plain(read: Read) -> Read:
    """No modifier is possible."""

    def checked(draft: _Draft, name: str, value: str) -> None:
        if ":" in name:
            raise refusal(f"{name.partition(':')[0]} n'a pas de modificateur", name, "not-supported")
        read(draft, name, value)

    return checked


def _summary(draft: _Draft, name: str, value: str) -> None:
    _once("true|text|data|count|false", "attendu true, text, data, count ou false")(draft, name, value)


def _sort(draft: _Draft, name: str, value: str) -> None:
    for item in value.split(","):
        code = item.removeprefix("-")
        draft.sort.append(_sort_key(draft, code, descending=item.startswith("-")))
    draft.applied.append((name, value))


def _sort_key(draft: _Draft, code: str, *, descending: bool) -> conditions.Sort:
    if code == "_lastUpdated":
        return conditions.Sort("updated", descending)
    if code == "_id":
        return conditions.Sort("id", descending)
    first, *others = [_sort_key_of(draft, type, code, descending=descending) for type in draft.types]
    if not others or all(one.by == first.by == "sort_date" for one in others):
        return first
    kinds = {"dat" if one.by == "sort_date" else one.by for one in (first, *others)}
    if len(kinds) > 1:
        raise refusal(f"_sort : {code} n'est pas de même nature sur tous ces types", "_sort", "not-supported")
    return replace(first, by=kinds.pop(), also=tuple(one.param for one in others))


def _sort_key_of(draft: _Draft, type: str, code: str, *, descending: bool) -> conditions.Sort:
    tables = draft.setting.tables
    param = tables.param(type, code)
    if param is None and draft.several:
        raise refusal(f"_sort : {type} n'a pas de paramètre « {code[:64]} »", "_sort", "not-supported")
    if param is None:
        raise refusal(_unknown(draft, code), "_sort", "not-supported")
    if param.refusal or param.is_phonetic or param.kind in ("composite", "special"):
        text = f"_sort : tri impossible par {code}, qui n'a pas d'ordre"
        raise refusal(text, "_sort", "not-supported")
    if param.kind in ("number", "quantity") and not param.union:
        return conditions.Sort("num", descending, param.number)
    if param.kind in sort_values.KINDS:
        read = sort_values.reader(tables, param, base=draft.setting.base, descending=descending)
        return conditions.Sort("body", descending, param.number, read)
    if param.kind == "string":
        return conditions.Sort("str", descending, param.number)
    is_main = tables.sort_date(type)[:1] == (code,)
    return conditions.Sort("sort_date" if is_main else "dat", descending, param.number)


# ---- _include and _revinclude ---------------------------------------------------------------------------------------


def _include(draft: _Draft, name: str, value: str) -> None:
    _check_iterate(draft, name)
    draft.includes += following.included(draft.setting.tables, draft.types, name, value)
    draft.applied.append((name, value))


def _revinclude(draft: _Draft, name: str, value: str) -> None:
    _check_iterate(draft, name)
    draft.revincludes += following.referring(draft.setting.tables, draft.types, name, value)
    draft.applied.append((name, value))


def _check_iterate(draft: _Draft, name: str) -> None:
    code, _, modifier = name.partition(":")
    if modifier in ("iterate", "recurse") and not draft.iterate:
        raise refusal(f"{code} : {modifier} n'est pas disponible ici", name, "not-supported")


_CONTROLS: dict[str, Read] = {
    "_count": _plain(_once(r"\d{1,9}", "attendu un nombre entier", in_self_link=False)),
    "_after": _plain(_once(r".+", "attendu la valeur du lien next", in_self_link=False)),
    "_total": _plain(_once("none|estimate|accurate", "attendu none, estimate ou accurate")),
    "_summary": _plain(_summary),
    "_elements": _plain(_once(r"[\w,.]*", "attendu des noms d'éléments séparés par des virgules")),
    "_format": _plain(_once(r".+", "attendu un format")),
    "_pretty": _plain(_once("true|false", "attendu true ou false")),
    "_sort": _plain(_sort),
    "_include": _include,
    "_revinclude": _revinclude,
}
