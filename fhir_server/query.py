"""What does a search URL ask for?

Pure: names and values in, a `conditions.Query` and what the answer needs besides out. FHIR R4 search,
https://hl7.org/fhir/R4/search.html; `criteria.py` reads the value of one parameter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from common import clock
from fhir_server import conditions, criteria, index
from fhir_server.criteria import refusal
from fhir_server.r4.search_params import Param, SearchTables

DEFAULT_COUNT = 20
MOST_COUNT = 1000

_NOT_YET = {
    "_has": "la recherche par ce qui désigne la ressource (_has)",
    "_list": "la recherche par liste (_list)",
    "_contained": "la recherche dans les ressources contenues",
    "_containedType": "la recherche dans les ressources contenues",
    "_type": "la recherche sur plusieurs types (_type)",
}


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: follow `param` of resources of `type`, to `target` only when it is set."""

    type: str
    param: str
    target: str | None = None
    iterate: bool = False


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
    codes: criteria.Codes | None = None,
) -> Parsed:
    """Read the parameters of a search on `type`, URL-decoded, those of the query and of a POST body together.

    Unknown parameters are refused unless `lenient`; `iterate` says that the caller follows `:iterate`. `now` is for
    `ap`, `codes` for `:in` and the like (`terminology/in_search.py`). Raises errors.Unreadable for anything that cannot
    be answered exactly as it was asked.
    """
    draft = _Draft(type, criteria.Setting(tables, base.rstrip("/"), clock.micros(now), codes or {}), iterate)
    for name, value in params:
        _check_characters(name, value)
        code, _, modifier = name.partition(":")
        if read := _CONTROLS.get(code):
            read(draft, name, value)
            continue
        if (problem := _problem(draft, name)) or (lenient and not value):
            if not lenient:
                raise refusal(problem, name, "not-supported")
            draft.ignored.append(name)
            continue
        param = tables.by_type[type][code]
        draft.where.append(criteria.condition(param, modifier, value, draft.setting))
        draft.applied.append((name, value))
    return draft.done()


def referring(include: Include, references: Iterable[str], *, count: int) -> conditions.Query:
    """The search that runs one `_revinclude`: resources that refer to one of `references` (`Type/id`)."""
    keys = tuple(index.reference_key(include.type, include.param, one) for one in references)
    return conditions.Query(include.type, (conditions.Keys(keys or (index.NOTHING,), ordered=True),), count=count)


@dataclass(slots=True)
class _Draft:
    """What has been read so far."""

    type: str
    setting: criteria.Setting
    iterate: bool
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
            type=self.type,
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
            format=self.single.get("_format"),
            pretty=None if pretty is None else pretty == "true",
        )


# ---- what is wrong with a name -------------------------------------------------------------------------------------


def _check_characters(name: str, value: str) -> None:
    """NUL and halves of surrogate pairs are in no valid FHIR value, and no database takes them."""
    text = name + value
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise refusal("La recherche contient des caractères interdits", "", "invalid")


def _problem(draft: _Draft, name: str) -> str:
    """Why this parameter cannot be answered, in French; empty when it can."""
    tables, code = draft.setting.tables, name.partition(":")[0]
    if code in _NOT_YET:
        return f"{code} : {_NOT_YET[code]} n'est pas encore disponible"
    param = tables.param(draft.type, code)
    if param is None or "." in name:
        chained = tables.param(draft.type, code.partition(".")[0])
        if "." in name and chained and chained.kind == "reference":
            return f"{name} : la recherche à travers une référence (chaînage) n'est pas encore disponible"
        return _unknown(draft, code)
    return f"{code} : {param.refusal}" if param.refusal else ""


def _unknown(draft: _Draft, code: str) -> str:
    known = [one.code for one in draft.setting.tables.searchable(draft.type)] + list(_CONTROLS)
    near = difflib.get_close_matches(code[:64], known, n=3)
    hint = f" ; voulez-vous dire {', '.join(near)} ?" if near else ""
    return f"Paramètre de recherche inconnu pour {draft.type} : « {code[:64]} »{hint}"


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
    if value in ("true", "text", "data"):
        raise refusal(f"_summary={value} n'est pas encore disponible", name, "not-supported")
    _once("count|false", "attendu count ou false")(draft, name, value)


def _sort(draft: _Draft, name: str, value: str) -> None:
    for item in value.split(","):
        code = item.removeprefix("-")
        draft.sort.append(_sort_key(draft, code, descending=item.startswith("-")))
    draft.applied.append((name, value))


def _sort_key(draft: _Draft, code: str, *, descending: bool) -> conditions.Sort:
    tables = draft.setting.tables
    if code == "_lastUpdated":
        return conditions.Sort("updated", descending)
    if code == "_id":
        return conditions.Sort("id", descending)
    param = tables.param(draft.type, code)
    if param is None:
        raise refusal(_unknown(draft, code), "_sort", "not-supported")
    if param.refusal or param.kind not in ("date", "string"):
        text = f"_sort : tri impossible par {code} ; possibles : _id, _lastUpdated, les dates et les textes"
        raise refusal(text, "_sort", "not-supported")
    if param.kind == "string":
        return conditions.Sort("str", descending, param.number)
    is_main = tables.sort_date(draft.type)[:1] == (code,)
    return conditions.Sort("sort_date" if is_main else "dat", descending, param.number)


# ---- _include and _revinclude ---------------------------------------------------------------------------------------


def _include(draft: _Draft, name: str, value: str) -> None:
    iterate = _iterates(draft, name)
    source, param, target = _include_parts(draft, name, f"{draft.type}:*" if value == "*" else value)
    if source != draft.type and not iterate:
        raise refusal(f"{name} : {source} n'est pas le type cherché ({draft.type}), rien ne serait inclus", name)
    params = [one for one in _followed(draft, name, source, param) if target is None or one.may_be(target)]
    if not params:
        raise refusal(f"{name} : {source}:{param} ne désigne jamais {target}", name)
    draft.includes += [Include(source, one.code, target, iterate) for one in params]
    draft.applied.append((name, value))


def _revinclude(draft: _Draft, name: str, value: str) -> None:
    iterate = _iterates(draft, name)
    if value == "*":
        raise refusal(f"{name}=* n'est pas disponible ; nommez le type et le paramètre", name, "not-supported")
    source, param, target = _include_parts(draft, name, value)
    wanted = target or draft.type
    params = [one for one in _followed(draft, name, source, param) if one.may_be(wanted)]
    if not params or (wanted != draft.type and not iterate):
        raise refusal(f"{name} : {value} ne désigne jamais {draft.type}", name)
    draft.revincludes += [Include(source, one.code, target, iterate) for one in params]
    draft.applied.append((name, value))


def _iterates(draft: _Draft, name: str) -> bool:
    code, _, modifier = name.partition(":")
    if modifier in ("iterate", "recurse") and not draft.iterate:
        raise refusal(f"{code} : {modifier} n'est pas encore disponible", name, "not-supported")
    if modifier not in ("", "iterate", "recurse"):
        raise refusal(f"{code} : le modificateur « {modifier[:64]} » n'existe pas", name, "not-supported")
    return bool(modifier)


def _include_parts(draft: _Draft, name: str, value: str) -> tuple[str, str, str | None]:
    parts = value.split(":")
    types = draft.setting.tables.by_type
    if len(parts) not in (2, 3) or parts[0] not in types or (len(parts) == 3 and parts[2] not in types):
        raise refusal(f"{name} : attendu Type:paramètre ou Type:paramètre:TypeDésigné", name)
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _followed(draft: _Draft, name: str, source: str, code: str) -> list[Param]:
    tables = draft.setting.tables
    if code == "*":
        return [one for one in tables.searchable(source) if one.kind == "reference"]
    param = tables.param(source, code)
    if param is None or param.kind != "reference" or param.refusal:
        raise refusal(f"{name} : {source} n'a pas de paramètre référence « {code[:64]} »", name)
    return [param]


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
